"""What the report's figures draw on their axes: lines with names at their ends, and a metric's scale."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from metarl.run.measures import Measure
from metarl.run.report_pictures import Array
from metarl.run.svg import percent, plain, spread, tick

LONGEST = 300  # points of a line over iterations


class Line(NamedTuple):
    """A value over iterations: "n" each, in order of x."""

    name: str
    x: Array
    y: Array


def measure_axis(axes: Axes, measure: Measure, values: Sequence[Array]) -> None:
    """Shares in percent; errors by their order of magnitude where they span more than one, else from 0."""
    if measure.share:
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
    if not measure.lower_is_better:
        return
    known = np.concatenate([value[np.isfinite(value)] for value in values])
    if not len(known) or known.min() <= 0 or known.max() <= 10 * known.min():
        axes.set_ylim(bottom=0)
        return
    axes.set_yscale("log")
    close = known.max() < 1e3 * known.min()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if close else (1,)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(tick))


def over_time(axes: Axes, line: Line, shade: str, **look: Any) -> Line:
    """Draw a line, a long one as median and middle 80 % of neighbouring points; returns what was drawn."""
    if len(line.x) > LONGEST:
        return in_groups(axes, line, LONGEST // 2, shade, **look)
    axes.plot(line.x, line.y, color=shade, **look)
    return line


def in_groups(axes: Axes, line: Line, groups: int, shade: str, **look: Any) -> Line:
    """Draw median and middle 80 % of neighbouring points; returns the medians."""
    parts = np.array_split(np.arange(len(line.x)), groups)
    low, middle, high = np.array([np.quantile(line.y[part], [0.1, 0.5, 0.9]) for part in parts]).T
    line = Line(line.name, np.array([np.median(line.x[part]) for part in parts]), middle)
    axes.fill_between(line.x, low, high, color=shade, alpha=0.2, linewidth=0)
    axes.plot(line.x, line.y, color=shade, **look)
    return line


def direct_labels(axes: Axes, lines: Sequence[Line], shades: Sequence[str]) -> None:
    """Each line's name right of its last point, moved until none overlaps, with a hair back to the point."""
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # fixed from here on
    (_, floor), (edge, ceiling) = axes.transAxes.transform([(0, 0), (1, 1)])
    ends = []
    for line, shade in zip(lines, shades, strict=True):
        known = np.flatnonzero(np.isfinite(line.y))[-1:]
        ends += [(line.name, shade, *axes.transData.transform((line.x[i], line.y[i]))) for i in known]
    heights = spread([y for *_, y in ends], 15, floor, ceiling)
    pixels: Any = {"xycoords": "figure pixels", "textcoords": "figure pixels", "annotation_clip": False}
    for (name, shade, x, y), height in zip(ends, heights, strict=True):
        hair = {"arrowstyle": "-", "color": shade, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0}
        place: Any = {"xy": (x + 5, y), "xytext": (edge + 12, height), "va": "center"}
        axes.annotate(plain(name), **place, **pixels, color=shade, arrowprops=hair)
