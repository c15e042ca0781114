"""Building blocks of a page. What a user or a file named is escaped; cells and contents are HTML already."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
SIGNS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖", "*": "★"}


class Look(NamedTuple):
    """The look of a line: its colour's role, matplotlib's marker ("" for none) and dashes, and its width."""

    role: str
    marker: str
    dashes: Any
    width: float = 1.6


# Agents of a run and groups of a comparison, by position; told apart without colour as well.
LOOKS = (
    Look("agent-0", "o", "-"),
    Look("agent-1", "s", (0, (5, 2))),
    Look("agent-2", "^", (0, (1, 1.5))),
    Look("agent-3", "D", (0, (6, 2, 1, 2))),
    Look("agent-4", "v", (0, (3, 1))),
    Look("agent-5", "P", (0, (4, 1, 1, 1, 1, 1))),
    Look("agent-6", "X", (0, (8, 2))),
    Look("agent-7", "*", (0, (2, 2))),
)


def looks(n: int) -> list[Look]:
    """Return the looks of so many agents or groups."""
    return [LOOKS[i % len(LOOKS)] for i in range(n)]


def page(kicker: str, title: str, body: str) -> str:
    """Return a whole page around what is HTML already."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    whole = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)} – metarl</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<p class="kicker">{escape(kicker)}</p>\n{body}\n</body>\n</html>\n'
    )
    return whole.encode(errors="replace").decode()  # JSON may hold half characters, which no file can


def section(title: str, level: int, content: str) -> str:
    """Return a section with its heading; nothing where there is nothing to show."""
    return f"<section>\n<h{level}>{escape(title)}</h{level}>\n{content}\n</section>" if content else ""


def table(kind: str, heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a row's first cell is its name. A wide table scrolls alone."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heads)
    cells = [(first, "".join(f"<td>{cell}</td>" for cell in rest)) for first, *rest in rows]
    body = "".join(f'<tr><th scope="row">{first}</th>{rest}</tr>\n' for first, rest in cells)
    text = f'<table class="{kind}"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'
    return f'<div class="scroll" tabindex="0">{text}</div>'


def pairs(title: str, values: Mapping[str, Any], meanings: Mapping[str, str] | None = None) -> str:
    """Return a table of names and values, nested ones by dotted names, with meanings beneath the values."""
    rows = []
    for name, value in flat(values).items():
        meaning = escape((meanings or {}).get(name, ""))
        about = f"<small>{meaning}</small>" if meaning else ""
        rows += [[escape(name.replace("_", " ")), cell(value) + about]]
    return table("pairs", [title, ""], rows) if rows else ""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one with dotted names."""
    entries: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, dict) and value
        entries |= flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return entries


def cell(value: Any) -> str:
    """Return a value of a configuration as people write it."""
    words = {None: "–", True: "yes", False: "no"}
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(entry) for entry in value) or "–"
    if isinstance(value, dict):
        return "–"
    return words[value] if value is None or isinstance(value, bool) else escape(str(value))


def figure(content: str, caption: str) -> str:
    """Return a drawing with the words beneath it."""
    return f"<figure>{content}\n<figcaption>{escape(caption)}</figcaption></figure>"


def grid(panels: Iterable[str], kind: str = "") -> str:
    """Return panels side by side, as many in a row as there is room for."""
    return f'<div class="grid {kind}">{"".join(f"<div>{panel}</div>" for panel in panels)}</div>'


def mark(look: Look, label: str) -> str:
    """Return a name behind its mark."""
    sign = (
        f'<span class="mark" style="color: var(--{look.role})" aria-hidden="true">{SIGNS[look.marker]}</span>'
    )
    return f"{sign}{escape(label)}"


def legend(entries: Iterable[tuple[str, Look]]) -> str:
    """Return what lines and marks mean, to stand above a figure; a line of no width is left out."""
    spans = []
    for label, look in entries:
        kind = "solid" if look.dashes == "-" else "dotted" if look.dashes[1][0] <= 1 else "dashed"
        line = f'<i style="border-top: {kind} {max(look.width, 2):g}px var(--{look.role})"></i>'
        sign = f'<i style="color: var(--{look.role})">{SIGNS[look.marker]}</i>' if look.marker else ""
        drawn = f'<span aria-hidden="true">{line if look.width else ""}{sign}</span>'
        spans += [f"<span>{drawn}{escape(label)}</span>"]
    return f'<p class="legend">{"".join(spans)}</p>'
