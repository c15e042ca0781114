"""The figures of the report: arrays in, one SVG string out. See `svg` for colours and sizes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from metarl.run.svg import colour, draw, plain, spread, tick

Array = NDArray[np.float64]
WIDE, NARROW = 720, 360  # a desktop's and a phone's column
KNOWN: dict[str, tuple[int, str, Any]] = {  # colour, marker, dashes: told apart without colour as well
    "meta": (0, "o", "-"),
    "pretrained": (1, "s", (0, (5, 2))),
    "random": (2, "^", (0, (1, 1.5))),
    "oracle": (3, "D", (0, (6, 2, 1, 2))),
}
SPARE: tuple[tuple[int, str, Any], ...] = (
    (4, "v", (0, (3, 1))),
    (5, "P", (0, (4, 1, 1, 1, 1, 1))),
    (6, "X", (0, (8, 2))),
)


class Curve(NamedTuple):
    """An agent's mean and interval at every step: "k" each, NaN where unknown."""

    name: str
    mean: Array
    low: Array
    high: Array


class Line(NamedTuple):
    """A value over iterations: "n" each, finite, in order of x."""

    name: str
    x: Array
    y: Array


def agent_style(name: str, names: Sequence[str]) -> dict[str, Any]:
    """How an agent is drawn: the known ones keep their style, others of `names` take the spare ones in turn."""
    others = [other for other in names if other not in KNOWN]
    index, marker, dashes = KNOWN[name] if name in KNOWN else SPARE[others.index(name) % len(SPARE)]
    return {"color": colour(f"agent-{index}"), "marker": marker, "linestyle": dashes}


def adaptation(name: str, curves: Sequence[Curve], title: str, xlabel: str, width: int = WIDE) -> str:
    """Mean over tasks after each inner step with its interval, one curve an agent."""
    names = [curve.name for curve in curves]
    last = max((len(curve.mean) for curve in curves), default=1) - 1

    def paint(axes: Axes) -> None:
        axes.set(xlim=(-0.04 * last - 0.01, 1.04 * last + 0.01), xlabel=xlabel)
        axes.set_xticks(range(0, last + 1, 1 + last // 11))
        for i, curve in enumerate(curves):
            style = agent_style(curve.name, names)
            steps = np.arange(len(curve.mean), dtype=np.float64)
            nudged = steps + 0.008 * last * (i - (len(curves) - 1) / 2)  # bars of several agents stay apart
            axes.fill_between(steps, curve.low, curve.high, color=style["color"], alpha=0.12, linewidth=0)
            axes.vlines(nudged, curve.low, curve.high, color=style["color"], linewidth=1.5)
            axes.plot(nudged, curve.mean, linewidth=2, markersize=6, **style)
        _title(axes, title)
        _direct_labels(axes, [Line(c.name, np.arange(len(c.mean), dtype=np.float64), c.mean) for c in curves],
                       [agent_style(n, names)["color"] for n in names])

    described = f"{title} after each step of adaptation: {', '.join(names)}"
    return draw(name, (width, _height(width)), described, paint, _margins(names))


def learning(
    name: str,
    steps: Sequence[Line],
    validation: Line | None,
    best: float | None,
    env_steps: Line,
    title: str,
    width: int = WIDE,
) -> str:
    """Training value over iterations, before (first of `steps`) and after adaptation; validation and its best."""
    colours = [colour("before")] + [colour("agent-0")] * (len(steps) - 1)
    lines = list(steps) + ([validation] if validation else [])

    def paint(axes: Axes) -> None:
        for i, (line, shade) in enumerate(zip(steps, colours, strict=True)):
            alpha = 1 if i in (0, len(steps) - 1) else 0.35 + 0.3 * i / len(steps)
            axes.plot(line.x, line.y, color=shade, linewidth=1.5, alpha=alpha)
        if validation:
            style = agent_style("pretrained", [])
            axes.plot(validation.x, validation.y, linewidth=1.5, markersize=4.5, **style)
        axes.set(xlabel="iteration, environment steps" if len(env_steps.x) else "iteration")
        axes.xaxis.set_major_locator(MaxNLocator(6 if width > NARROW else 3, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(_iterations(env_steps)))
        axes.margins(x=0.01)
        if best is not None:
            axes.axvline(best, color=colour("muted"), linewidth=1, linestyle=(0, (2, 2)))
            axes.annotate(f"best: {tick(best)}", (best, 1), xycoords=("data", "axes fraction"), ha="center",
                          xytext=(0, 3), textcoords="offset points", color=colour("muted"))
        _title(axes, title, pad=24)
        _direct_labels(axes, lines, [*colours, colour("agent-1")])

    margins = _margins([line.name for line in lines], top=46, bottom=54)
    return draw(name, (width, _height(width) + 32), f"{title} over training", paint, margins)


def _iterations(env_steps: Line) -> Any:
    """Tick labels: the iteration and beneath it the environment steps used until then."""

    def label(x: float, _position: object = None) -> str:
        return f"{x:.0f}\n{tick(np.interp(x, env_steps.x, env_steps.y))}" if len(env_steps.x) else f"{x:.0f}"

    return label


def trace(
    name: str, before: Sequence[Array], after: Sequence[Array], mark: Array | None, box: Array, labels: tuple[str, str]
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
                axes.plot(*mark, marker="X", markersize=9, color=colour("goal"), markeredgecolor=colour("paper"))
            axes.set(xlim=box[:, 0], ylim=box[:, 1], aspect="equal", xticklabels=[], yticklabels=[])
            axes.spines[:].set_visible(True)
            axes.text(0.04, 0.96, plain(label), transform=axes.transAxes, va="top", color=colour("muted"))

    return draw(name, (160, 324), f"paths {labels[0]} and {labels[1]}", paint, (1, 1, 1, 1), font=11, rows=2)


def _fading(axes: Axes, path: Array, shade: str) -> None:
    """A path that begins faint at a ring and ends strong at a dot."""
    cuts = np.linspace(0, len(path) - 1, 4).round().astype(int)
    for alpha, start, stop in zip((0.25, 0.45, 0.75), cuts, cuts[1:], strict=False):
        axes.plot(*path[start : stop + 1].T, color=shade, linewidth=0.9, alpha=alpha)
    axes.plot(*path[:1].T, marker="o", markersize=4, color=colour("paper"), markeredgecolor=colour("ink"))
    axes.plot(*path[-1:].T, marker="o", markersize=2.5, color=shade)


def per_task(name: str, before: Array, after: Array, good: NDArray[np.bool_], title: str, width: int = WIDE) -> str:
    """Each task's value before (ring) and after (dot) adaptation, tasks in order of the latter."""
    order = np.argsort(after, kind="stable")
    rank = np.arange(len(order))

    def paint(axes: Axes) -> None:
        size = float(np.clip((width - 80) / max(len(order), 1) * 0.5, 2, 6))
        for kept, shade in ((True, "agent-0"), (False, "agent-1")):
            here = good[order] == kept
            axes.vlines(rank[here], before[order][here], after[order][here], color=colour(shade), alpha=0.6)
            axes.plot(rank[here], after[order][here], "o" if kept else "v", color=colour(shade), markersize=size)
        ring = {"markerfacecolor": colour("paper"), "markeredgecolor": colour("before")}
        axes.plot(rank, before[order], "o", markersize=size, **ring)
        axes.set(xlim=(-0.8, len(order) - 0.2), xlabel="tasks, in order of their value after adaptation", xticks=[])
        axes.grid(False, axis="x")
        _title(axes, title)

    return draw(name, (width, _height(width) - 30), f"{title} of every task before and after", paint, _margins([], bottom=28))


def small(name: str, line: Line) -> str:
    """One diagnostic over iterations."""

    def paint(axes: Axes) -> None:
        axes.plot(line.x, line.y, color=colour("agent-0"), linewidth=1.2)
        axes.xaxis.set_major_locator(MaxNLocator(2, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.margins(x=0.02)
        _title(axes, line.name)

    return draw(name, (200, 130), f"{line.name} over iterations", paint, (42, 10, 24, 20), font=11)


def _height(width: int) -> int:
    return 360 if width > NARROW else 300


def _margins(labels: Sequence[str], top: float = 28, bottom: float = 40) -> tuple[float, float, float, float]:
    """Room for the labels at the right ends of lines."""
    longest = max((len(plain(label)) for label in labels), default=0)
    return 46, 20 + 6.6 * longest, top, bottom


def _title(axes: Axes, text: str, pad: float = 8) -> None:
    """The y axis's name, across its top: nobody turns the head."""
    axes.set_title(plain(text, 60), parse_math=False, pad=pad)


def _direct_labels(axes: Axes, lines: Sequence[Line], colours: Sequence[str]) -> None:
    """Each line's name right of its last point, moved up or down until none overlaps, with a hair back to it."""
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # fixed from here on
    (_, floor), (edge, ceiling) = axes.transAxes.transform([(0, 0), (1, 1)])
    ends = []
    for line, shade in zip(lines, colours, strict=True):
        known = np.flatnonzero(np.isfinite(line.y))[-1:]
        ends += [(line.name, shade, *axes.transData.transform((line.x[i], line.y[i]))) for i in known]
    heights = spread([y for *_, y in ends], 15, floor, ceiling)
    for (name, shade, x, y), height in zip(ends, heights, strict=True):
        hair = {"arrowstyle": "-", "color": shade, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0}
        axes.annotate(
            plain(name), (x + 5, y), (edge + 12, height), xycoords="figure pixels", textcoords="figure pixels",
            va="center", color=shade, parse_math=False, annotation_clip=False, arrowprops=hair,
        )
