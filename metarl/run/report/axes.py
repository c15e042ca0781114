"""Axes of the report's figures: long lines made short, and a metric's scale."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from metarl.run.log.measures import Measure
from metarl.run.results.numbers import percent, tick
from metarl.run.results.pictures import Array
from metarl.run.results.read import Series

LONGEST = 300  # points of a line over iterations


def whole_numbers(axes: Axes, most: int) -> None:
    """Number the x axis by round integers, so many at most."""
    axes.xaxis.set_major_locator(MaxNLocator(most, integer=True, steps=[1, 2, 5, 10]))


def measure_axis(axes: Axes, measure: Measure, values: Sequence[Array]) -> None:
    """Set the y axis: shares in percent; errors on a log scale where they span more than one decade, else
    from 0.
    """
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


def over_time(axes: Axes, line: Series, shade: str, **look: Any) -> Array:
    """Draw a line, a long one as median and middle 80 % of neighbouring points; return the heights drawn."""
    if len(line.x) > LONGEST:
        return in_groups(axes, line, LONGEST // 2, shade, **look)
    axes.plot(line.x, line.y, color=shade, **look)
    return line.y


def in_groups(axes: Axes, line: Series, groups: int, shade: str, **look: Any) -> Array:
    """Draw median and middle 80 % of neighbouring points; return the medians."""
    parts = np.array_split(np.arange(len(line.x)), groups)
    low, middle, high = np.array([np.quantile(line.y[part], [0.1, 0.5, 0.9]) for part in parts]).T
    x = np.array([np.median(line.x[part]) for part in parts])
    axes.fill_between(x, low, high, color=shade, alpha=0.2, linewidth=0)
    axes.plot(x, middle, color=shade, **look)
    heights: Array = middle
    return heights
