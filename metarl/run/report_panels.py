"""The report's panels: one task each, many of them side by side on the same scale."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from metarl.run.report_pictures import Array, Fit
from metarl.run.svg import Number, colour, draw, plain

CROSS: Any = {"markersize": 8, "markeredgewidth": 0.8}


def trace(
    name: str,
    before: Sequence[Array],
    after: Sequence[Array],
    mark: Array | None,
    box: Array,
    labels: tuple[str, str],
) -> str:
    """Paths in the plane of one task, before adaptation above and after it below.

    Args:
        before: one path "time 2" an episode; after: likewise.
        mark: the goal "2", or None.
        box: what the panels show, [[left, bottom], [right, top]]: the same for all tasks.
        labels: what the two panels are called.
    """

    def paint(*panels: Axes) -> None:
        shades = colour("before"), colour("agent-0")
        for axes, paths, shade, label in zip(panels, (before, after), shades, labels, strict=True):
            for path in paths:
                _fading(axes, path, shade)
            if mark is not None:
                axes.plot(*mark, "X", color=colour("goal"), markeredgecolor=colour("paper"), **CROSS)
            axes.set(xlim=box[:, 0], ylim=box[:, 1], aspect="equal", xticklabels=[], yticklabels=[])
            axes.spines[:].set_visible(True)
            axes.text(0.04, 0.96, plain(label), transform=axes.transAxes, va="top", color=colour("muted"))

    described = f"paths {labels[0]} and {labels[1]}"
    return draw(name, (132, 267), "", paint, (1, 1, 1, 1), font=10.5, rows=2, described=described)


def _fading(axes: Axes, path: Array, shade: str) -> None:
    """A path that begins faint at a ring and ends strong at a dot."""
    cuts = np.linspace(0, len(path) - 1, 4).round().astype(int)
    for alpha, start, stop in zip((0.25, 0.45, 0.75), cuts, cuts[1:], strict=False):
        axes.plot(*path[start : stop + 1].T, color=shade, linewidth=0.9, alpha=alpha)
    axes.plot(*path[:1].T, "o", markersize=3.5, color=colour("paper"), markeredgecolor=colour("ink"))
    axes.plot(*path[-1:].T, "o", markersize=2, color=shade)


def fit(name: str, x: Array, task: Fit, box: Array) -> str:
    """One task of regression: the truth, the support and what was predicted after some numbers of steps.

    Args:
        x: the grid "g" of all curves.
        box: what the panel shows, [[left, bottom], [right, top]]: the same for all tasks.
    """

    def paint(axes: Axes) -> None:
        axes.plot(x, task.truth, color=colour("truth"), linewidth=5, solid_capstyle="butt")
        for look, values in zip(fit_looks(len(task.predictions)), task.predictions.values(), strict=True):
            axes.plot(x, values, color=colour(look.role), linestyle=look.dashes, linewidth=look.width)
        axes.plot(*task.support.T, "X", color=colour("goal"), markeredgecolor=colour("paper"), **CROSS)
        axes.set(xlim=box[:, 0], ylim=box[:, 1])
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))

    steps = " and ".join(map(str, task.predictions))
    described = f"true curve, support points and predictions after {steps} steps"
    return draw(name, (252, 176), "", paint, (26, 6, 6, 20), font=11, described=described)


class Look(NamedTuple):
    """How a curve of predictions is drawn; ``css`` says the same to the style sheet."""

    role: str
    dashes: Any
    width: Number
    css: str


def fit_looks(curves: int) -> list[Look]:
    """The looks of so many curves: before adaptation, after each number of steps between, after the last."""
    before = Look("before", (0, (5, 2.5)), 1.4, "dashed")
    between = Look("agent-0", (0, (1, 1.3)), 1.4, "dotted")
    last = Look("agent-0", "-", 1.8, "solid")
    return [before, *[between] * (curves - 2), last][:curves]
