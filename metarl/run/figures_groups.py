"""The figures of groups of runs: paired differences, training over seeds, and tasks one by one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from metarl.run.figures import NARROW, WIDE, Style
from metarl.run.measures import Measure
from metarl.run.report_axes import Line, measure_axis
from metarl.run.report_pictures import Array
from metarl.run.svg import colour, draw, plain

PANEL = 150  # pixels of one group's differences


class Gap(NamedTuple):
    """A group's differences from another one: "task" each, their mean and its interval."""

    label: str
    per_task: Array
    mean: float
    low: float
    high: float
    style: Style


def paired(name: str, gaps: Sequence[Gap], title: str, width: int = WIDE) -> str:
    """The differences on each task in order of size, one panel a group; line and band: mean and interval."""

    def paint(*panels: Axes) -> None:
        known = np.concatenate([gap.per_task[np.isfinite(gap.per_task)] for gap in gaps])
        least, most = min([0.0, *known]), max([0.0, *known])
        room = 0.12 * (most - least) or 1.0
        for axes, gap in zip(panels, gaps, strict=True):
            _differences(axes, gap, width)
            axes.set(ylim=(least - room, most + 2.2 * room), xlim=(-0.8, len(gap.per_task) - 0.2), xticks=[])
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            place: Any = {"transform": axes.transAxes, "va": "top", "color": colour(gap.style.role)}
            axes.text(0.01, 0.97, plain(gap.label, 44), **place)
        panels[-1].set_xlabel("tasks, in order of the difference")

    size = width, PANEL * len(gaps) + 60
    described = f"{title}: {', '.join(gap.label for gap in gaps)}"
    return draw(name, size, title, paint, (54, 14, 28, 30), rows=len(gaps), described=described)


def _differences(axes: Axes, gap: Gap, width: int) -> None:
    values = np.sort(gap.per_task[np.isfinite(gap.per_task)])
    shade, rank = colour(gap.style.role), np.arange(len(values))
    dot = float(np.clip((width - 80) / max(len(rank), 1) * 0.4, 1.5, 5))
    axes.axhspan(gap.low, gap.high, color=shade, alpha=0.14, linewidth=0)
    axes.axhline(gap.mean, color=shade, linewidth=1.2, linestyle=(0, (5, 2)))
    axes.axhline(0, color=colour("ink"), linewidth=0.8)
    axes.vlines(rank, 0, values, color=shade, alpha=0.6, linewidth=1.2)
    axes.plot(rank, values, gap.style.marker, color=shade, markersize=dot)


def training(
    name: str, seeds: Sequence[Line], over: Line, interval: Array, measure: Measure, width: int = WIDE
) -> str:
    """A value over iterations: each seed as a hair, and their mean ``over`` with its interval "point 2"."""

    def paint(axes: Axes) -> None:
        shade = colour("agent-0")
        for line in seeds:
            axes.plot(line.x, line.y, color=shade, linewidth=0.7, alpha=0.5)
        axes.fill_between(over.x, *interval.T, color=shade, alpha=0.16, linewidth=0)
        axes.plot(over.x, over.y, color=shade, linewidth=2)
        measure_axis(axes, measure, [over.y])
        if (
            np.isfinite(lines := np.concatenate([line.y for line in seeds])).any()
            and not measure.lower_is_better
        ):
            least, most = np.nanmin(lines), np.nanmax(lines)
            room = 0.5 * (most - least)  # a band of three seeds may be far wider than what they did
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, least - room), min(high, most + room))
        axes.set(xlabel="iteration")
        axes.xaxis.set_major_locator(MaxNLocator(6 if width > NARROW else 3, integer=True))
        axes.margins(x=0.01)

    size = width, 320 if width > NARROW else 270
    return draw(
        name, size, measure.of_tasks, paint, (54, 14, 28, 40), described=f"{measure.of_tasks}, training"
    )


def one_task(name: str, title: str, values: Array, box: tuple[float, float], measure: Measure) -> str:
    """One task's values "seed step", each seed as a hair, and their mean; ``box`` is the y axis of all."""

    def paint(axes: Axes) -> None:
        steps = np.arange(values.shape[1])
        for row in values:
            axes.plot(steps, row, color=colour("agent-0"), linewidth=0.8, alpha=0.5)
        axes.plot(steps, values.mean(0), color=colour("agent-0"), linewidth=1.8)
        measure_axis(axes, measure, [np.array(box)])
        axes.set_ylim(box)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))

    described = f"{title}: {measure.of_task} after each step"
    return draw(name, (150, 104), title, paint, (40, 6, 20, 18), font=10.5, title_pad=4, described=described)
