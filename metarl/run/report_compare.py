"""The page of a comparison: adaptation of every group, and each against the first, task by task."""

from collections.abc import Sequence
from html import escape

from metarl.run import figures
from metarl.run.admission import command
from metarl.run.comparison import (
    Comparison,
    Versus,
    better_words,
    chances,
    coverage_words,
    grouped,
    seeds_words,
)
from metarl.run.figures import Curve, Style
from metarl.run.figures_groups import Gap, paired
from metarl.run.pooled import Pooled, form
from metarl.run.report_html import both, figure, page, section, table
from metarl.run.report_numbers import Form, count, form_of, is_whole, number
from metarl.run.report_sections import SHAPES, pairs

INTERVALS = (
    "IQM: interquartile mean, without the lowest and the highest quarter of all values (Agarwal et al. "
    "2021). Intervals are Student’s t, from leaving out seeds and tasks one by one. Used: what of each task "
    "an agent has adapted to before."
)


def render(comparison: Comparison) -> str:
    """The page as text; the same comparison gives the same bytes."""
    labels = comparison.labels
    title = " and ".join(labels) if len(labels) < 3 else f"{', '.join(labels[:-1])} and {labels[-1]}"
    protocol = comparison.groups[0].evaluation.protocol
    parts = [
        f"<h1>{escape(title)} on {escape(str(protocol.get('family')))}</h1>",
        f'<p class="lead">{escape(_headline(comparison))}</p>',
        section("Adaptation", 2, _adaptation(comparison)),
        section(f"Against {labels[0]}", 2, _against(comparison)),
        section("Runs", 2, _runs(comparison)),
        section("Protocol", 2, _protocol(comparison)),
    ]
    return page("metarl compare", title, "<article>\n" + "\n".join(parts) + "\n</article>")


def styles(groups: int) -> list[Style]:
    """How each group is drawn."""
    return [figures.GROUPS[i % len(figures.GROUPS)] for i in range(groups)]


def mark(style: Style, label: str) -> str:
    """A group's name behind its mark, as HTML."""
    look = f'class="mark" style="color: var(--{style.role})" aria-hidden="true"'
    return f"<span {look}>{SHAPES[style.marker]}</span>{escape(label)}"


def _headline(comparison: Comparison) -> str:
    """What each group is against the first after the last step."""
    shown, told = _gaps(comparison), []
    for label, versus in zip(comparison.labels[1:], comparison.versus, strict=True):
        gap, (low, high) = float(versus.difference[-1]), map(float, versus.difference_ci[-1])
        bounds = f"{shown.change(low)} to {shown.change(high)}" if low <= high else "no interval"
        bounds += ", which holds 0" if low <= 0 <= high else ""
        chance = chances(versus, -1).split(" ")[0]
        way = f"{shown.change(abs(gap))} {'above' if gap > 0 else 'below'} it ({bounds})"
        told += [f"{label} is {way} and does better on a task with probability {chance}"]
    steps = count(len(comparison.pooled[0].mean) - 1, "step")
    name = comparison.measure.of_tasks
    return f"{name.capitalize()} after {steps}, against {comparison.labels[0]}: {'; '.join(told)}."


def _gaps(comparison: Comparison) -> Form:
    values = [float(v) for one in comparison.versus for v in (*one.difference, *one.difference_ci.flat)]
    return form_of(comparison.measure, values)


def _adaptation(comparison: Comparison) -> str:
    looks, measure = styles(len(comparison.groups)), comparison.measure
    curves = [
        Curve(label, one.mean, *one.ci.T)
        for label, one in zip(comparison.labels, comparison.pooled, strict=True)
    ]
    episodes = comparison.groups[0].evaluation.protocol.get("episodes")
    xlabel = "steps of adaptation" + (f" ({count(episodes, 'episode')} each)" if is_whole(episodes) else "")

    def draw(salt: str, width: int) -> str:
        return figures.adaptation(salt, curves, measure, xlabel, width, looks)

    caption = f"{measure.of_tasks.capitalize()} after each step; {better_words(measure)}. Bars and bands: "
    caption += f"{coverage_words(comparison)}. {INTERVALS}"
    numbers = adaptation_table(
        comparison.labels, comparison.pooled, comparison.steps, comparison.metric, looks
    )
    return f"{figure(both('groups-adaptation', draw), caption)}\n{numbers}"


def adaptation_table(
    labels: Sequence[str], pooled: Sequence[Pooled], steps: Sequence[int], metric: str, looks: Sequence[Style]
) -> str:
    """Mean and interquartile mean with their intervals, and what had been consumed, as an HTML table."""
    shown = form(pooled, metric)
    rows = []
    for label, one, style in zip(labels, pooled, looks, strict=True):
        for name, values, ci in (("mean", one.mean, one.ci), ("IQM", one.iqm, one.iqm_ci)):
            cells = [f"{shown(values[k])}<small>{shown.interval(*ci[k])}</small>" for k in steps]
            rows += [[mark(style, label) if name == "mean" else "<small>IQM</small>", *cells]]
    used = {"episodes used": pooled[0].episodes, "env steps used": pooled[0].episode_env_steps}
    for title, amount in used.items():
        if amount is not None:
            rows += [[title, *(number(float(amount[k]), 0) for k in steps)]]
    return table("numbers", ["", *(f"step {k}" for k in steps)], rows)


def _against(comparison: Comparison) -> str:
    looks, shown, first = styles(len(comparison.groups))[1:], _gaps(comparison), comparison.labels[0]
    others = list(zip(comparison.labels[1:], comparison.versus, looks, strict=True))
    gaps = []
    for label, versus, style in others:
        low, high = map(float, versus.difference_ci[-1])
        gaps += [Gap(label, versus.per_task[:, -1], float(versus.difference[-1]), low, high, style)]

    def draw(salt: str, width: int) -> str:
        return paired(
            salt, gaps, f"{comparison.measure.of_task} less that of {first}, after the last step", width
        )

    rows = []
    for label, versus, style in others:
        change, low, high = versus.difference, *versus.difference_ci.T
        cells = [
            f"{shown.change(change[k])}<small>{shown.change(low[k])} to {shown.change(high[k])}</small>"
            for k in comparison.steps
        ]
        rows += [[mark(style, label), *cells]]
        rows += [["<small>P(better)</small>", *(chance_cell(versus, k) for k in comparison.steps)]]
    caption = "Each dot is a task, of the means over seeds. Dashed line and band: mean and interval, "
    caption += f"{grouped({label: f'over {v.covers}' if v.covers else 'none' for label, v, _ in others})}. "
    caption += f"P(better): probability that a run does better than one of {first} on the same task, equals "
    caption += "counted half (Mann-Whitney U; Agarwal et al. 2021)."
    numbers = table("numbers", ["", *(f"step {k}" for k in comparison.steps)], rows)
    return f"{figure(both('groups-paired', draw), caption)}\n{numbers}"


def chance_cell(versus: Versus, step: int) -> str:
    """The probability of improvement after a step, with its interval beneath it."""
    low, high = map(float, versus.improvement_ci[step])
    return f"{number(float(versus.improvement[step]), 2)}<small>{number(low, 2)} to {number(high, 2)}</small>"


def _runs(comparison: Comparison) -> str:
    rows = []
    for group, style in zip(comparison.groups, styles(len(comparison.groups)), strict=True):
        paths = "<br>".join(escape(str(run.path)) for run in group.runs)
        rows += [[mark(style, group.label), seeds_words(group), paths]]
    return table("pairs", ["group", "seeds", "runs"], rows)


def _protocol(comparison: Comparison) -> str:
    paths = [str(run.path) for group in comparison.groups for run in group.runs]
    again = escape(command("compare", *paths))
    shared = comparison.as_dict()["protocol"]
    return f"{pairs('Evaluation', shared)}\n<p>To make this page again:</p>\n<pre>{again}</pre>"
