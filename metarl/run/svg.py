"""Matplotlib as a maker of SVG strings that live inside a page.

Figures are drawn in placeholder colours that end up as CSS custom properties (`var(--ink)`), so the page
decides how they look in light, in dark and on paper. Sizes are CSS pixels. Same data, same bytes.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, SupportsFloat

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

Number = int | float
ROLES = ("ink", "muted", "grid", "paper", "before", "goal", "truth", *(f"agent-{i}" for i in range(8)))


def colour(role: str) -> str:
    """The placeholder that ends up as `var(--role)`."""
    return f"#0a0b{ROLES.index(role):02x}"


def plain(text: object, width: int = 22) -> str:
    """`text` as one short printable line: XML knows no control characters, labels have little room."""
    line = "".join(c for c in str(text) if c.isprintable())
    return line if len(line) <= width else line[: width - 1] + "…"


def tick(given: SupportsFloat, _position: object = None) -> str:
    """A number as a tick label: 12k, 1.5M, −0.004, 2e−5."""
    value = float(given)
    size, unit = next(((s, u) for s, u in ((1e9, "G"), (1e6, "M"), (1e4, "k")) if abs(value) >= s), (1.0, ""))
    value = value / (1e3 if unit == "k" else size)
    rounded = round(value, 2 if abs(value) < 10 else 1) if unit else value
    text = f"{rounded:.2g}" if 0 < abs(rounded) < 1e-3 else f"{rounded:.4g}"
    return text.replace("e-0", "e-").replace("-", "−") + unit


def percent(given: SupportsFloat, _position: object = None) -> str:
    """A share as a tick label: 95 %."""
    return f"{tick(100 * float(given))}\u202f%"


def spread(wanted: Sequence[Number], gap: Number, low: Number, high: Number) -> list[float]:
    """Positions at least `gap` apart within [low, high], as near to the wanted ones as least squares allows.

    Without the bounds this is isotonic regression on wanted[i] - i * gap, solved by pooling neighbours;
    clipping its solution gives the bounded optimum. With too little room the lower bound holds.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    pools: list[tuple[Number, int]] = []  # sum and count
    for rank, i in enumerate(order):
        total, count = wanted[i] - rank * gap, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / count:
            total, count = total + pools[-1][0], count + pools[-1][1]
            pools.pop()
        pools.append((total, count))
    flat = [total / count for total, count in pools for _ in range(count)]
    room = high - (len(wanted) - 1) * gap
    placed = [0.0] * len(wanted)
    for rank, i in enumerate(order):
        placed[i] = float(max(min(flat[rank], room), low) + rank * gap)
    return placed


def draw(
    name: str,
    size: tuple[int, int],
    title: str,
    paint: Callable[..., None],
    margins: tuple[Number, Number, Number, Number],
    font: Number = 12,
    rows: int = 1,
    title_pad: Number = 8,
    described: str = "",
) -> str:
    """One SVG element.

    Args:
        name: unique within the page; the ids inside the figure begin with it.
        size: width and height.
        title: what the y axis shows, written across its top: nobody has to turn the head.
        paint: called with `rows` axes, one below the other.
        margins: left, right, top and bottom of the axes.
        font: text size.
        rows: how many axes.
        title_pad: between the axes and the title.
        described: what a screen reader says.
    """
    (width, height), (left, right, top, bottom) = size, margins
    with _style(name, font):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)  # the SVG backend counts 72 pixels an inch
        grid = figure.add_gridspec(rows, 1, hspace=0.06)
        grid.update(left=left / width, right=1 - right / width, top=1 - top / height, bottom=bottom / height)
        panels = [figure.add_subplot(grid[row]) for row in range(rows)]
        for axes in panels:
            axes.xaxis.set_major_formatter(FuncFormatter(tick))
            axes.yaxis.set_major_formatter(FuncFormatter(tick))
        panels[0].set_title(plain(title, 60), pad=title_pad)
        paint(*panels)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _for_page(buffer.getvalue(), name, size, described or title)


@contextmanager
def _style(salt: str, font: Number) -> Iterator[None]:
    """Matplotlib's own defaults plus ours, whatever a user's matplotlibrc says, and only for this figure."""
    ink, muted, grid = colour("ink"), colour("muted"), colour("grid")
    style: dict[Any, Any] = (
        {"svg.fonttype": "none", "svg.hashsalt": salt, "text.parse_math": False}
        | {"font.size": font, "text.color": ink, "axes.titlesize": font, "axes.titlelocation": "left"}
        | {"axes.titlecolor": muted, "axes.labelcolor": muted, "axes.edgecolor": grid, "axes.linewidth": 0.8}
        | {"axes.grid": True, "grid.color": grid, "grid.linewidth": 0.8, "axes.axisbelow": True}
        | {"axes.spines.top": False, "axes.spines.right": False}
        | {f"{axis}tick.labelcolor": muted for axis in "xy"}
        | {f"{axis}tick.major.size": 0 for axis in "xy"}
    )
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the browser chooses the font, not matplotlib
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style)
        yield


def _for_page(svg: str, name: str, size: tuple[int, int], label: str) -> str:
    """The bare element: no prologue, own ids, CSS colours, the page's font, coordinates of two decimals."""

    def tag(match: re.Match[str]) -> str:
        text = re.sub(r'^<g id="[^"]*"', "<g", match[0])
        text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text)
        text = re.sub(r'(; |")font-family: [^;"]*', r"\1", text)
        text = re.sub(r"((?:fill|stroke): )#0a0b(..)", lambda m: f"{m[1]}var(--{ROLES[int(m[2], 16)]})", text)
        text = re.sub(r' transform="rotate\(-0 [^"]*"', "", text)
        return re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]), text)

    width, height = size
    head = f'<svg role="img" aria-label="{escape(plain(label, 200))}" style="max-width: {width}px"'
    head += f' viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg"'
    head += ' xmlns:xlink="http://www.w3.org/1999/xlink">'
    body = re.sub(r"<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = body[body.index(">") + 1 :]
    return head + re.sub(r"\s*\n\s*", " ", re.sub(r"<[^>]+>", tag, body)).strip()
