"""The figures of the report: arrays in, one SVG string out. See `svg` for names, colours and sizes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from metarl.run.measures import Measure
from metarl.run.report_axes import Line, direct_labels, in_groups, measure_axis, over_time
from metarl.run.report_pictures import Array
from metarl.run.svg import Number, colour, draw, plain, tick

WIDE, NARROW = 800, 360  # a desktop's and a phone's column
MANY = 150  # tasks that are no longer drawn one by one


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
    "nearest": Style("agent-7", "*", (0, (2, 2))),
}
SPARE = (
    Style("agent-4", "v", (0, (3, 1))),
    Style("agent-5", "P", (0, (4, 1, 1, 1, 1, 1))),
    Style("agent-6", "X", (0, (8, 2))),
)


# Groups of runs, in turn.
GROUPS = (*list(KNOWN.values())[:4], *SPARE, KNOWN["nearest"])


class Curve(NamedTuple):
    """An agent's mean and interval at every step: "k" each, NaN where unknown."""

    name: str
    mean: Array
    low: Array
    high: Array


def agent_style(name: str, names: Sequence[str]) -> Style:
    """The known agents keep their style, the others of `names` take the spare ones in turn."""
    others = [other for other in names if other not in KNOWN]
    return KNOWN[name] if name in KNOWN else SPARE[others.index(name) % len(SPARE)]


def adaptation(
    name: str,
    curves: Sequence[Curve],
    measure: Measure,
    xlabel: str,
    width: int = WIDE,
    looks: Sequence[Style] = (),
) -> str:
    """Mean over tasks after each inner step with its interval, one curve an agent; ``looks`` are their styles
    where they are no agents of one run.
    """
    names = [curve.name for curve in curves]
    styles = list(looks) or [agent_style(name, names) for name in names]
    lines = [Line(curve.name, np.arange(len(curve.mean), dtype=np.float64), curve.mean) for curve in curves]
    last = max(len(curve.mean) for curve in curves) - 1
    few = slice(None, None, 1 + last // 16)  # more bars and marks would hide the lines
    dot = float(np.clip(0.5 * (width - 140) / len(range(last + 1)[few]), 3, 6.5))

    def paint(axes: Axes) -> None:
        axes.set(xlim=(-0.04 * last - 0.01, 1.04 * last + 0.01), xlabel=xlabel)
        axes.xaxis.set_major_locator(MaxNLocator(11, integer=True, steps=[1, 2, 5, 10]))
        for i, (curve, line, style) in enumerate(zip(curves, lines, styles, strict=True)):
            shade = colour(style.role)
            nudged = line.x + min(0.008 * last, 0.04) * (i - (len(curves) - 1) / 2)  # keeps bars apart
            axes.fill_between(line.x, curve.low, curve.high, color=shade, alpha=0.12, linewidth=0)
            axes.vlines(nudged[few], curve.low[few], curve.high[few], color=shade, linewidth=1.5)
            axes.plot(nudged, curve.mean, color=shade, linewidth=2, linestyle=style.dashes)
            look: Any = {"color": shade, "linewidth": 0, "marker": style.marker, "markersize": dot}
            axes.plot(nudged[few], curve.mean[few], **look)
        measure_axis(axes, measure, [curve.mean for curve in curves])
        direct_labels(axes, lines, [colour(style.role) for style in styles])

    described = f"{measure.of_tasks} after each step of adaptation: {', '.join(names)}"
    size = width, _height(width)
    return draw(name, size, measure.of_tasks, paint, _margins(lines), described=described)


def learning(
    name: str,
    steps: Sequence[Line],
    validation: Line | None,
    best: Number | None,
    drawn: Line,
    measure: Measure,
    width: int = WIDE,
) -> str:
    """The training tasks' value over iterations, with validation and the best checkpoint.

    Args:
        steps: before adaptation first, then after ever more steps.
        best: the best checkpoint's iteration, or None.
        drawn: what was drawn until each iteration, by its name; may be empty.
    """
    lines = [*steps, validation] if validation else list(steps)
    roles = ["before" if len(steps) > 1 else "agent-0"] + ["agent-0"] * (len(steps) - 1) + ["agent-1"]
    shades = [colour(role) for role in roles[: len(lines)]]

    def paint(axes: Axes) -> None:
        shown = []
        for i, (line, shade) in enumerate(zip(lines, shades, strict=True)):
            marker = "s" if line is validation and len(line.x) <= 50 else None
            alpha = 0.4 if 0 < i < len(steps) - 1 else 1
            shown += [over_time(axes, line, shade, linewidth=1.5, alpha=alpha, marker=marker, markersize=4.5)]
        axes.set(xlabel=f"iteration, {drawn.name}" if len(drawn.x) else "iteration")
        axes.xaxis.set_major_locator(
            MaxNLocator(6 if width > NARROW else 3, integer=True, steps=[1, 2, 5, 10])
        )
        axes.xaxis.set_major_formatter(FuncFormatter(_iterations(drawn)))
        axes.margins(x=0.01)
        if best is not None:
            place, top = axes.get_xaxis_transform(), 1.02  # x in iterations, y in heights of the axes
            axes.axvline(best, color=colour("muted"), linewidth=1, linestyle=(0, (2, 2)))
            axes.text(best, top, f"best: {tick(best)}", transform=place, ha="center", color=colour("muted"))
        measure_axis(axes, measure, [line.y for line in shown])
        direct_labels(axes, shown, shades)

    margins, pad = _margins(lines, top=46, bottom=54), 8 if best is None else 24
    size, described = (width, _height(width) + 32), f"{measure.of_tasks} over iterations"
    return draw(name, size, measure.of_tasks, paint, margins, title_pad=pad, described=described)


def _iterations(drawn: Line) -> Any:
    """Tick labels: the iteration and beneath it what was drawn until then, at first nothing."""
    iterations, until = np.insert(drawn.x, 0, 0), np.insert(drawn.y, 0, 0)

    def label(x: float, _position: object = None) -> str:
        return f"{x:.0f}\n{tick(np.interp(x, iterations, until))}" if len(drawn.x) else f"{x:.0f}"

    return label


def per_task(
    name: str, before: Array, after: Array, good: NDArray[np.bool_], measure: Measure, width: int = WIDE
) -> str:
    """Each task before (ring) and after adaptation, in order of the latter; not `good` ones set apart.

    Of more than `MANY` tasks: after it as a line, before it as median and middle 80 % of neighbours.
    """
    order = [i for i in np.argsort(after, kind="stable") if np.isfinite(before[i] + after[i])]
    before, after, good = before[order], after[order], good[order]
    many = len(order) > MANY

    def paint(axes: Axes) -> None:
        axes.set(xlim=(-0.8, len(order) - 0.2), xticks=[])
        axes.set(xlabel="tasks, in order of their value after adaptation")
        if many:
            _many_tasks(axes, before, after, good, measure)
        else:
            _few_tasks(axes, before, after, good, measure, width)

    margins = _margins([Line("before", after, before)] if many else [], bottom=28)
    size, described = (
        (width, _height(width) - 30),
        f"{measure.of_task} of every task before and after adaptation",
    )
    return draw(name, size, measure.of_task, paint, margins, described=described)


def _few_tasks(
    axes: Axes, before: Array, after: Array, good: NDArray[np.bool_], measure: Measure, width: int
) -> None:
    rank = np.arange(len(after))
    dot = float(np.clip((width - 80) / max(len(rank), 1) * 0.5, 2, 6))
    for here, role, marker in ((good, "agent-0", "o"), (~good, "agent-1", "v")):
        shade = colour(role)
        axes.vlines(rank[here], before[here], after[here], color=shade, alpha=0.6)
        axes.plot(rank[here], after[here], marker, color=shade, markersize=dot)
    axes.plot(rank, before, "o", markersize=dot, color=colour("paper"), markeredgecolor=colour("before"))
    measure_axis(axes, measure, [before, after])


def _many_tasks(axes: Axes, before: Array, after: Array, good: NDArray[np.bool_], measure: Measure) -> None:
    rank = np.arange(len(after), dtype=np.float64)
    shades = [colour("before"), colour("agent-0")]
    shown = [in_groups(axes, Line("before", rank, before), MANY // 5, shades[0], linewidth=1.5)]
    shown += [Line("after", rank, after)]
    axes.plot(rank, after, color=shades[1], linewidth=2)
    axes.plot(rank[~good], after[~good], "v", color=colour("agent-1"), markersize=4)
    measure_axis(axes, measure, [before, after])
    direct_labels(axes, shown, shades)


def small(name: str, line: Line) -> str:
    """One diagnostic over iterations."""

    def paint(axes: Axes) -> None:
        over_time(axes, line, colour("agent-0"), linewidth=1.2)
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
