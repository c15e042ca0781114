"""What stands where in a figure."""

import xml.etree.ElementTree as ElementTree


def texts(svg: str) -> list[str]:
    """The words and numbers of a figure."""
    return [e.text or "" for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("}text")]


def places(svg: str, role: str, tag: str = "use") -> list[tuple[float, float]]:
    """Where the markers of one colour stand: (x, y), y growing downwards."""
    found = [e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith(f"}}{tag}")]
    mine = [e for e in found if f"var(--{role})" in e.get("style", "")]
    return [(float(e.get("x", "")), float(e.get("y", ""))) for e in mine]


def heights(svg: str, role: str) -> list[list[float]]:
    """The y of each point of each line of one colour."""
    drawn = [e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("}path")]
    lines = [
        e for e in drawn if f"stroke: var(--{role})" in e.get("style", "") and "none" in e.get("style", "")
    ]
    paths = [e.get("d", "").replace("M", "").split("L") for e in lines]
    return [[float(point.split()[1]) for point in path] for path in paths if len(path) > 1]
