"""The figures of the report: arrays in, one SVG string out, without a legend, which is HTML above it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from metarl.run.log.measures import Measure
from metarl.run.report.axes import in_groups, measure_axis, over_time, whole_numbers
from metarl.run.report.html import LOOKS, Look
from metarl.run.report.svg import colour, draw
from metarl.run.results.numbers import Number, tick
from metarl.run.results.pictures import Array
from metarl.run.results.read import Series

SIZE = (420, 240)  # legible on a phone's column, where it shrinks, and on a desktop's, where it grows
MANY = 150  # tasks that are no longer drawn one by one
BEFORE, AFTER, WORSE = Look("before", "o", "-", 1.2), LOOKS[0], Look("agent-1", "v", "-", 0)
VALIDATION, BEST = Look("agent-1", "s", "-", 1.2), Look("muted", "", (0, (2, 2)), 1)


class Band(NamedTuple):
    """A name's mean and interval at every step: "k" each, NaN where unknown."""

    name: str
    mean: Array
    low: Array
    high: Array


def adaptation(name: str, bands: Sequence[Band], looks: Sequence[Look], measure: Measure, xlabel: str) -> str:
    """Draw the mean over tasks after each inner step with its interval, a curve a name."""
    last = max(len(band.mean) for band in bands) - 1
    few = slice(None, None, 1 + last // 16)  # more bars and marks would hide the lines
    dot = float(np.clip(200 / len(range(last + 1)[few]), 3, 5))

    def paint(axes: Axes) -> None:
        axes.set(xlim=(-0.04 * last - 0.01, 1.04 * last + 0.01), xlabel=xlabel)
        whole_numbers(axes, 11)
        for i, (band, look) in enumerate(zip(bands, looks, strict=True)):
            shade, steps = colour(look.role), np.arange(len(band.mean), dtype=np.float64)
            x = steps + min(0.008 * last, 0.04) * (i - (len(bands) - 1) / 2)  # keeps bars apart
            axes.fill_between(steps, band.low, band.high, color=shade, alpha=0.12, linewidth=0)
            axes.vlines(x[few], band.low[few], band.high[few], color=shade, linewidth=1)
            axes.plot(x, band.mean, color=shade, linewidth=look.width, linestyle=look.dashes)
            axes.plot(x[few], band.mean[few], look.marker, color=shade, markersize=dot)
        measure_axis(axes, measure, [band.mean for band in bands])

    described = f"{measure.of_tasks} after each step: {', '.join(band.name for band in bands)}"
    return draw(name, SIZE, measure.of_tasks, paint, described=described)


def learning_looks(steps: int) -> list[Look]:
    """Return the looks of so many curves over iterations: before adaptation, after some steps, after all."""
    between = Look("agent-0", "", (0, (1, 1.3)), 1)
    first = [Look("before", "", "-", 1.2)] if steps > 1 else []
    return [*first, *[between] * (steps - 2), Look("agent-0", "", "-", 1.2)]


def learning(
    name: str,
    steps: Sequence[Series],
    validation: Series | None,
    best: Number | None,
    samples: Series,
    samples_name: str,
    measure: Measure,
) -> str:
    """Draw the training tasks' value over iterations, with validation and the best checkpoint.

    Args:
        steps: before adaptation first, then after ever more steps.
        best: the best checkpoint's iteration, or None.
        samples: what was drawn until each iteration, called ``samples_name``; may be empty.
    """

    def paint(axes: Axes) -> None:
        heights = []
        for line, look in zip(steps, learning_looks(len(steps)), strict=True):
            kind: Any = {"linewidth": look.width, "linestyle": look.dashes}
            heights += [over_time(axes, line, colour(look.role), **kind)]
        if validation is not None:
            marks: Any = {"marker": "s", "markersize": 3} if len(validation.x) <= 50 else {}
            shade = colour(VALIDATION.role)
            heights += [over_time(axes, validation, shade, linewidth=VALIDATION.width, **marks)]
        if best is not None:
            axes.axvline(best, color=colour(BEST.role), linewidth=1, linestyle=BEST.dashes)
        axes.set(xlabel=f"iteration, {samples_name}" if len(samples.x) else "iteration")
        whole_numbers(axes, 6)
        axes.xaxis.set_major_formatter(FuncFormatter(_iterations(samples)))
        axes.margins(x=0.01)
        measure_axis(axes, measure, heights)

    described = f"{measure.of_tasks} over iterations"
    return draw(name, SIZE, measure.of_tasks, paint, (46, 8, 24, 50), described=described)


def _iterations(samples: Series) -> Any:
    """Return tick labels: the iteration and beneath it what was drawn until then, at first nothing."""
    iterations, until = np.insert(samples.x, 0, 0), np.insert(samples.y, 0, 0)

    def label(x: float, _position: object = None) -> str:
        return f"{x:.0f}\n{tick(np.interp(x, iterations, until))}" if len(samples.x) else f"{x:.0f}"

    return label


def per_task(name: str, before: Array, after: Array, good: NDArray[np.bool_], measure: Measure) -> str:
    """Draw each task before (ring) and after adaptation, in order of the latter; not `good` ones set apart.

    Of more than `MANY` tasks: after it as a line, before it as median and middle 80 % of neighbours.
    """
    order = [i for i in np.argsort(after, kind="stable") if np.isfinite(before[i] + after[i])]
    before, after, good = before[order], after[order], good[order]

    def paint(axes: Axes) -> None:
        axes.set(xlim=(-0.8, len(order) - 0.2), xticks=[])
        axes.set(xlabel="tasks, in order of their value after adaptation")
        (_many_tasks if len(order) > MANY else _few_tasks)(axes, before, after, good)
        measure_axis(axes, measure, [before, after])

    described = f"{measure.of_task} of every task before and after adaptation"
    return draw(name, SIZE, measure.of_task, paint, described=described)


def _few_tasks(axes: Axes, before: Array, after: Array, good: NDArray[np.bool_]) -> None:
    rank = np.arange(len(after))
    dot = float(np.clip(200 / max(len(rank), 1), 1.5, 4.5))
    for chosen, look in ((good, AFTER), (~good, WORSE)):
        shade = colour(look.role)
        axes.vlines(rank[chosen], before[chosen], after[chosen], color=shade, alpha=0.6, linewidth=1)
        axes.plot(rank[chosen], after[chosen], look.marker, color=shade, markersize=dot)
    axes.plot(rank, before, "o", markersize=dot, color=colour("paper"), markeredgecolor=colour("before"))


def _many_tasks(axes: Axes, before: Array, after: Array, good: NDArray[np.bool_]) -> None:
    rank = np.arange(len(after), dtype=np.float64)
    in_groups(axes, Series(rank, before), MANY // 5, colour("before"), linewidth=1.2)
    axes.plot(rank, after, color=colour(AFTER.role), linewidth=1.6)
    axes.plot(rank[~good], after[~good], "v", color=colour(WORSE.role), markersize=3)


def small(name: str, title: str, line: Series) -> str:
    """Draw one diagnostic over iterations."""

    def paint(axes: Axes) -> None:
        over_time(axes, line, colour("agent-0"), linewidth=1.2)
        whole_numbers(axes, 2)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.margins(x=0.02)

    return draw(name, (192, 124), title, paint, (48, 14, 24, 20), described=f"{title} over iterations")


class Gap(NamedTuple):
    """A group's differences from another one: "task" each, their mean and its interval."""

    per_task: Array
    mean: float
    low: float
    high: float


def differences(name: str, gap: Gap, look: Look, title: str, box: tuple[float, float]) -> str:
    """Draw the differences on each task by size, their mean and interval; ``box`` is the y axis."""
    values = np.sort(gap.per_task[np.isfinite(gap.per_task)])
    shade, rank = colour(look.role), np.arange(len(values))

    def paint(axes: Axes) -> None:
        axes.axhspan(gap.low, gap.high, color=shade, alpha=0.14, linewidth=0)
        axes.axhline(gap.mean, color=shade, linewidth=1.2, linestyle=(0, (5, 2)))
        axes.axhline(0, color=colour("ink"), linewidth=0.8)
        axes.vlines(rank, 0, values, color=shade, alpha=0.6, linewidth=1)
        dot = float(np.clip(160 / max(len(rank), 1), 1.5, 4))
        axes.plot(rank, values, look.marker, color=shade, markersize=dot)
        axes.set(ylim=box, xlim=(-0.8, len(gap.per_task) - 0.2), xticks=[])
        axes.set(xlabel="tasks, in order of the difference")

    return draw(name, (SIZE[0], 180), title, paint, (46, 8, 24, 22))


def training(name: str, seeds: Sequence[Series], over: Series, interval: Array, measure: Measure) -> str:
    """Draw a value over iterations: each seed as a hair, and their mean with its interval "point 2"."""

    def paint(axes: Axes) -> None:
        shade = colour("agent-0")
        for line in seeds:
            axes.plot(line.x, line.y, color=shade, linewidth=0.7, alpha=0.5)
        axes.fill_between(over.x, *interval.T, color=shade, alpha=0.16, linewidth=0)
        axes.plot(over.x, over.y, color=shade, linewidth=1.6)
        measure_axis(axes, measure, [over.y])
        values = np.concatenate([line.y for line in seeds])
        if np.isfinite(values).any() and not measure.lower_is_better:
            least, most = np.nanmin(values), np.nanmax(values)
            room = 0.5 * (most - least)  # a band of three seeds may be far wider than what they did
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, least - room), min(high, most + room))
        axes.set(xlabel="iteration")
        whole_numbers(axes, 5)
        axes.margins(x=0.01)

    return draw(name, SIZE, measure.of_tasks, paint, described=f"{measure.of_tasks}, training")
