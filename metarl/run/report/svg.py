"""Matplotlib as a maker of SVG strings that live inside a page.

Figures are drawn in placeholder colours that end up as CSS custom properties (`var(--ink)`), so the page
decides how they look in light, in dark and on paper. Same data, same bytes.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from metarl.run.results.numbers import Number, tick

ROLES = ("ink", "muted", "grid", "paper", "before", "goal", "truth", *(f"agent-{i}" for i in range(8)))


def colour(role: str) -> str:
    """Return the placeholder that ends up as `var(--role)`."""
    return f"#0a0b{ROLES.index(role):02x}"


def plain(text: object, width: int) -> str:
    """Return `text` as one short printable line: XML knows no control characters, titles have little room."""
    line = "".join(c for c in str(text) if c.isprintable())
    return line if len(line) <= width else line[: width - 1] + "…"


def draw(
    name: str,
    size: tuple[int, int],
    title: str,
    paint: Callable[[Axes], None],
    margins: tuple[Number, Number, Number, Number] = (46, 20, 24, 36),
    font: Number = 11,
    described: str = "",
) -> str:
    """Draw one SVG element.

    Args:
        name: unique within the page; the ids inside the figure are made from it.
        size: width and height in CSS pixels; the page may scale it.
        title: what the y axis shows, written across its top: nobody has to turn the head.
        paint: called with the axes.
        margins: left, right, top and bottom of the axes.
        font: text size.
        described: what a screen reader says; by default the title.
    """
    (width, height), (left, right, top, bottom) = size, margins
    with _style(name, font):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)  # the SVG backend counts 72 pixels an inch
        figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
        axes = figure.add_subplot()
        axes.xaxis.set_major_formatter(FuncFormatter(tick))
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
        axes.set_title(plain(title, 60))
        paint(axes)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    label = escape(plain(described or title, 200))
    head = f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}"'
    head += ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    body = buffer.getvalue().split("</style>\n </defs>", 1)[1]
    return head + re.sub(r"\s*\n\s*", " ", re.sub(r"<[^>]+>", _tag, body)).strip()


def _tag(match: re.Match[str]) -> str:
    """Return a tag in the page's colours, without a group's id, which every figure has, and long decimals."""
    tag = re.sub(r'^<g id="[^"]*"', "<g", match[0])
    tag = re.sub(r"#0a0b(..)", lambda role: f"var(--{ROLES[int(role[1], 16)]})", tag)
    return re.sub(r"(\.\d\d)\d+", r"\1", tag)


@contextmanager
def _style(salt: str, font: Number) -> Iterator[None]:
    """Set matplotlib's own defaults plus ours, whatever a user's matplotlibrc says, for this figure alone."""
    ink, muted, grid = colour("ink"), colour("muted"), colour("grid")
    style: dict[Any, Any] = (
        {"svg.fonttype": "none", "svg.hashsalt": salt, "text.parse_math": False}
        | {"font.size": font, "text.color": ink, "axes.titlesize": font, "axes.titlelocation": "left"}
        | {"axes.titlecolor": muted, "axes.labelcolor": muted, "axes.edgecolor": grid, "axes.linewidth": 0.8}
        | {"axes.grid": True, "grid.color": grid, "grid.linewidth": 0.8, "axes.axisbelow": True}
        | {"axes.spines.top": False, "axes.spines.right": False, "axes.titlepad": 8}
        | {f"{axis}tick.labelcolor": muted for axis in "xy"}
        | {f"{axis}tick.major.size": 0 for axis in "xy"}
    )
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the browser chooses the font, not matplotlib
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style)
        yield
