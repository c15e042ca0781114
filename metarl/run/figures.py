"""The figures of the report: arrays in, one SVG string out. See `svg` for names, colours and sizes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from metarl.run.svg import Number, colour, draw, plain, spread, tick

Array = NDArray[np.float64]
WIDE, NARROW = 800, 360  # a desktop's and a phone's column
LONGEST = 300  # points of a line over iterations


class Style(NamedTuple):
    """How an agent is drawn; each is told apart without colour as well."""

    role: str
    marker: str
    dashes: Any


KNOWN = {
    "meta": Style("agent-0", "o", "-"),
    "pretrained": Style("agent-1", "s", (0, (5, 2))),
    "random": Style("agent-2", "^", (0, (1, 1.5))),
    "oracle": Style("agent-3", "D", (0, (6, 2, 1, 2))),
}
SPARE = (
    Style("agent-4", "v", (0, (3, 1))),
    Style("agent-5", "P", (0, (4, 1, 1, 1, 1, 1))),
    Style("agent-6", "X", (0, (8, 2))),
)


class Curve(NamedTuple):
    """An agent's mean and interval at every step: "k" each, NaN where unknown."""

    name: str
    mean: Array
    low: Array
    high: Array


class Line(NamedTuple):
    """A value over iterations: "n" each, in order of x."""

    name: str
    x: Array
    y: Array


def agent_style(name: str, names: Sequence[str]) -> Style:
    """The known agents keep their style, the others of `names` take the spare ones in turn."""
    others = [other for other in names if other not in KNOWN]
    return KNOWN[name] if name in KNOWN else SPARE[others.index(name) % len(SPARE)]


def adaptation(name: str, curves: Sequence[Curve], title: str, xlabel: str, width: int = WIDE) -> str:
    """Mean over tasks after each inner step with its interval, one curve an agent."""
    names = [curve.name for curve in curves]
    styles = [agent_style(name, names) for name in names]
    lines = [Line(curve.name, np.arange(len(curve.mean), dtype=np.float64), curve.mean) for curve in curves]
    last = max(len(curve.mean) for curve in curves) - 1

    def paint(axes: Axes) -> None:
        axes.set(xlim=(-0.04 * last - 0.01, 1.04 * last + 0.01), xlabel=xlabel)
        axes.set_xticks(range(0, last + 1, 1 + last // 11))
        for i, (curve, line, style) in enumerate(zip(curves, lines, styles, strict=True)):
            shade = colour(style.role)
            nudged = line.x + min(0.008 * last, 0.04) * (i - (len(curves) - 1) / 2)  # keeps bars apart
            axes.fill_between(line.x, curve.low, curve.high, color=shade, alpha=0.12, linewidth=0)
            axes.vlines(nudged, curve.low, curve.high, color=shade, linewidth=1.5)
            axes.plot(nudged, curve.mean, color=shade, linewidth=2, linestyle=style.dashes)
            axes.plot(nudged, curve.mean, color=shade, linewidth=0, marker=style.marker, markersize=6.5)
        _direct_labels(axes, lines, [colour(style.role) for style in styles])

    described = f"{title} after each step of adaptation: {', '.join(names)}"
    return draw(name, (width, _height(width)), title, paint, _margins(lines), described=described)


def learning(
    name: str,
    steps: Sequence[Line],
    validation: Line | None,
    best: Number | None,
    env_steps: Line,
    title: str,
    width: int = WIDE,
) -> str:
    """The training tasks' value over iterations, with validation and the best checkpoint.

    Args:
        steps: before adaptation first, then after ever more steps.
        best: the best checkpoint's iteration, or None.
        env_steps: environment steps used until each iteration; may be empty.
    """
    lines = [*steps, validation] if validation else list(steps)
    roles = ["before" if len(steps) > 1 else "agent-0"] + ["agent-0"] * (len(steps) - 1) + ["agent-1"]
    shades = [colour(role) for role in roles[: len(lines)]]

    def paint(axes: Axes) -> None:
        shown = []
        for i, (line, shade) in enumerate(zip(lines, shades, strict=True)):
            marker = "s" if line is validation and len(line.x) <= 50 else None
            alpha = 0.4 if 0 < i < len(steps) - 1 else 1
            shown += [
                _over_time(axes, line, shade, linewidth=1.5, alpha=alpha, marker=marker, markersize=4.5)
            ]
        axes.set(xlabel="iteration, environment steps" if len(env_steps.x) else "iteration")
        axes.xaxis.set_major_locator(
            MaxNLocator(6 if width > NARROW else 3, integer=True, steps=[1, 2, 5, 10])
        )
        axes.xaxis.set_major_formatter(FuncFormatter(_iterations(env_steps)))
        axes.margins(x=0.01)
        if best is not None:
            place, top = axes.get_xaxis_transform(), 1.02  # x in iterations, y in heights of the axes
            axes.axvline(best, color=colour("muted"), linewidth=1, linestyle=(0, (2, 2)))
            axes.text(best, top, f"best: {tick(best)}", transform=place, ha="center", color=colour("muted"))
        _direct_labels(axes, shown, shades)

    margins = _margins(lines, top=46, bottom=54)
    size, described = (width, _height(width) + 32), f"{title} over iterations"
    return draw(name, size, title, paint, margins, title_pad=8 if best is None else 24, described=described)


def _over_time(axes: Axes, line: Line, shade: str, **look: Any) -> Line:
    """Draw a line, a long one as median and middle 80 % of neighbouring points; returns what was drawn."""
    if len(line.x) > LONGEST:
        parts = np.array_split(np.arange(len(line.x)), LONGEST // 2)
        low, middle, high = np.array([np.quantile(line.y[part], [0.1, 0.5, 0.9]) for part in parts]).T
        line = Line(line.name, np.array([np.median(line.x[part]) for part in parts]), middle)
        axes.fill_between(line.x, low, high, color=shade, alpha=0.2, linewidth=0)
    axes.plot(line.x, line.y, color=shade, **look)
    return line


def _iterations(env_steps: Line) -> Any:
    """Tick labels: the iteration and beneath it the environment steps used until then."""

    def label(x: float, _position: object = None) -> str:
        return f"{x:.0f}\n{tick(np.interp(x, env_steps.x, env_steps.y))}" if len(env_steps.x) else f"{x:.0f}"

    return label


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
                cross: Any = {"markersize": 8, "markeredgewidth": 0.8}
                axes.plot(*mark, "X", color=colour("goal"), markeredgecolor=colour("paper"), **cross)
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


def per_task(
    name: str, before: Array, after: Array, good: NDArray[np.bool_], title: str, width: int = WIDE
) -> str:
    """Each task before (ring) and after adaptation, in order of the latter; not `good` ones set apart."""
    order = np.argsort(after, kind="stable")
    rank, before, after, good = np.arange(len(order)), before[order], after[order], good[order]
    dot = float(np.clip((width - 80) / max(len(order), 1) * 0.5, 2, 6))

    def paint(axes: Axes) -> None:
        for here, role, marker in ((good, "agent-0", "o"), (~good, "agent-1", "v")):
            shade = colour(role)
            axes.vlines(rank[here], before[here], after[here], color=shade, alpha=0.6)
            axes.plot(rank[here], after[here], marker, color=shade, markersize=dot)
        axes.plot(rank, before, "o", markersize=dot, color=colour("paper"), markeredgecolor=colour("before"))
        axes.set(xlim=(-0.8, len(order) - 0.2), xticks=[])
        axes.set(xlabel="tasks, in order of their value after adaptation")

    size, described = (width, _height(width) - 30), f"{title} of every task before and after adaptation"
    return draw(name, size, title, paint, _margins([], bottom=28), described=described)


def small(name: str, line: Line) -> str:
    """One diagnostic over iterations."""

    def paint(axes: Axes) -> None:
        _over_time(axes, line, colour("agent-0"), linewidth=1.2)
        axes.xaxis.set_major_locator(MaxNLocator(2, integer=True, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.margins(x=0.02)

    label = f"{line.name} over iterations"
    return draw(name, (192, 124), line.name, paint, (48, 14, 24, 20), font=11, described=label)


def _height(width: int) -> int:
    return 360 if width > NARROW else 300


def _margins(
    lines: Sequence[Line], top: Number = 28, bottom: Number = 40
) -> tuple[Number, Number, Number, Number]:
    """With room for the lines' names on the right."""
    longest = max((len(plain(line.name)) for line in lines), default=0)
    return 54, 20 + 6.6 * longest, top, bottom


def _direct_labels(axes: Axes, lines: Sequence[Line], shades: Sequence[str]) -> None:
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
