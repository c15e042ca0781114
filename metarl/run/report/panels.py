"""The report's panels: one task each, many of them side by side on the same scale."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from metarl.run.log.measures import Measure
from metarl.run.report.axes import measure_axis, whole_numbers
from metarl.run.report.html import Look
from metarl.run.report.svg import colour, draw
from metarl.run.results.pictures import Array, Fit

TRUTH, GOAL = Look("truth", "", "-", 5), Look("goal", "X", "-", 0)
CROSS: Any = {"marker": "X", "markersize": 8, "markeredgewidth": 0.8, "linewidth": 0}


def trace(name: str, paths: Sequence[Array], goal: Array | None, box: Array, title: str, role: str) -> str:
    """Draw paths in the plane of one task.

    Args:
        paths: one path "time 2" an episode.
        goal: the goal "2", or None.
        box: what the panel shows, [[left, bottom], [right, top]]: the same for all.
        title: the words of the panel; ``role`` the colour of its paths.
    """

    def paint(axes: Axes) -> None:
        for path in paths:
            _fading(axes, path, colour(role))
        if goal is not None:
            axes.plot(*goal, color=colour("goal"), markeredgecolor=colour("paper"), **CROSS)
        axes.set(xlim=box[:, 0], ylim=box[:, 1], aspect="equal", xticklabels=[], yticklabels=[])
        axes.spines[:].set_visible(True)

    return draw(name, (132, 150), title, paint, (1, 1, 19, 1), 10.5, f"paths {title}")


def _fading(axes: Axes, path: Array, shade: str) -> None:
    """Draw a path that begins faint at a ring and ends strong at a dot."""
    cuts = np.linspace(0, len(path) - 1, 4).round().astype(int)
    for alpha, start, stop in zip((0.25, 0.45, 0.75), cuts, cuts[1:], strict=False):
        axes.plot(*path[start : stop + 1].T, color=shade, linewidth=0.9, alpha=alpha)
    axes.plot(*path[:1].T, "o", markersize=3.5, color=colour("paper"), markeredgecolor=colour("ink"))
    axes.plot(*path[-1:].T, "o", markersize=2, color=shade)


def fit_looks(curves: int) -> list[Look]:
    """Return the looks of so many predictions: before adaptation, after some steps, after the last."""
    before = Look("before", "", (0, (5, 2.5)), 1.4)
    between = Look("agent-0", "", (0, (1, 1.3)), 1.4)
    return [before, *[between] * (curves - 2), Look("agent-0", "", "-", 1.8)][:curves]


def fit(name: str, x: Array, task: Fit, box: Array) -> str:
    """Draw one task of regression: the truth, the support and what was predicted after some steps.

    Args:
        x: the grid "g" of all curves.
        box: what the panel shows, [[left, bottom], [right, top]]: the same for all tasks.
    """

    def paint(axes: Axes) -> None:
        axes.plot(x, task.truth, color=colour(TRUTH.role), linewidth=TRUTH.width, solid_capstyle="butt")
        for look, values in zip(fit_looks(len(task.predictions)), task.predictions.values(), strict=True):
            axes.plot(x, values, color=colour(look.role), linestyle=look.dashes, linewidth=look.width)
        axes.plot(*task.support.T, color=colour("goal"), markeredgecolor=colour("paper"), **CROSS)
        axes.set(xlim=box[:, 0], ylim=box[:, 1])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))

    steps = " and ".join(map(str, task.predictions))
    described = f"true curve, support points and predictions after {steps} steps"
    return draw(name, (252, 176), "", paint, (26, 6, 6, 20), described=described)


def one_task(name: str, title: str, values: Array, box: tuple[float, float], measure: Measure) -> str:
    """Draw one task's values "seed step", each seed as a hair, and their mean; ``box`` is the y axis."""

    def paint(axes: Axes) -> None:
        steps = np.arange(values.shape[1])
        for row in values:
            axes.plot(steps, row, color=colour("agent-0"), linewidth=0.8, alpha=0.5)
        axes.plot(steps, values.mean(0), color=colour("agent-0"), linewidth=1.8)
        measure_axis(axes, measure, [np.array(box)])
        axes.set_ylim(box)
        whole_numbers(axes, 3)
        axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))

    described = f"{title}: {measure.of_task} after each step"
    return draw(name, (150, 104), title, paint, (40, 6, 20, 18), 10.5, described)
