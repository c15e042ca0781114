"""The page of a comparison: adaptation of every group, and each against the first, task by task."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from metarl.run.config.admission import command
from metarl.run.report.figures import Gap, differences
from metarl.run.report.html import figure, looks, mark, page, pairs, section, table
from metarl.run.report.together import INTERVALS, pooled_adaptation
from metarl.run.results.comparison import (
    Comparison,
    Versus,
    better_words,
    compare_runs,
    coverage_words,
    grouped,
    seeds_words,
)
from metarl.run.results.numbers import count, number
from metarl.run.results.pooled import shared_protocol


def compare(runs: Sequence[str | Path]) -> Comparison:
    """Put groups of runs side by side: those that differ in their seed alone form a group.

    The first run's group comes first, and the others are held against it; ``save`` writes a page.

    Args:
        runs: directories of evaluated runs or agents of the zoo, of at least two configurations.

    Raises:
        RequestError: fewer than two groups, a run that has not been evaluated, or protocols that differ.
    """
    return compare_runs(runs, render)


def render(comparison: Comparison) -> str:
    """Return the page as text; the same comparison gives the same bytes."""
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


def _headline(comparison: Comparison) -> str:
    """Return what each group is against the first after the last step."""
    write, clauses = comparison.gap_form.change, []
    for label, versus in zip(comparison.labels[1:], comparison.versus, strict=True):
        gap, (low, high) = float(versus.difference[-1]), map(float, versus.difference_ci[-1])
        bounds = f"{write(low)} to {write(high)}" if low <= high else "no interval"
        bounds += ", which holds 0" if low <= 0 <= high else ""
        chance = number(float(versus.improvement[-1]), 2)
        way = f"{write(abs(gap))} {'above' if gap > 0 else 'below'} it ({bounds})"
        clauses += [f"{label} is {way} and does better on a task with probability {chance}"]
    steps = count(len(comparison.pooled[0].mean) - 1, "step")
    name = comparison.measure.of_tasks
    return f"{name.capitalize()} after {steps}, against {comparison.labels[0]}: {'; '.join(clauses)}."


def _adaptation(comparison: Comparison) -> str:
    measure = comparison.measure
    caption = f"{measure.of_tasks.capitalize()} after each step; {better_words(measure)}. Bars and bands: "
    caption += f"{coverage_words(comparison)}. {INTERVALS}"
    first, labels = comparison.groups[0], comparison.labels
    return pooled_adaptation("groups-adaptation", first, labels, comparison.pooled, caption)


def _against(comparison: Comparison) -> str:
    write, first, steps = comparison.gap_form.change, comparison.labels[0], comparison.steps
    chosen = looks(len(comparison.groups))[1:]
    others = list(zip(comparison.labels[1:], comparison.versus, chosen, strict=True))
    box = _box([versus.per_task[:, -1] for versus in comparison.versus])
    drawings, rows = [], []
    for i, (label, versus, look) in enumerate(others):
        gap = Gap(versus.per_task[:, -1], float(versus.difference[-1]), *map(float, versus.difference_ci[-1]))
        title = f"{comparison.measure.of_task}: {label} less {first}"
        drawings += [differences(f"groups-gap-{i}", gap, look, title, box)]
        change, low, high = versus.difference, *versus.difference_ci.T
        gaps = [f"{write(change[k])}<small>{write(low[k])} to {write(high[k])}</small>" for k in steps]
        rows += [[mark(look, label), *gaps]]
        rows += [["<small>P(better)</small>", *(_chance(versus, k) for k in steps)]]
    caption = "After the last step. Each mark is a task, of the means over seeds. Dashed line and band: mean "
    caption += "and interval, "
    caption += f"{grouped({label: f'over {v.covers}' if v.covers else 'none' for label, v, _ in others})}. "
    caption += f"P(better): probability that a run does better than one of {first} on the same task, equals "
    caption += "counted half (Mann-Whitney U; Agarwal et al. 2021)."
    numbers = table("numbers", ["", *(f"step {k}" for k in steps)], rows)
    return f"{figure(''.join(drawings), caption)}\n{numbers}"


def _box(gaps: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the y axis of all differences, 0 included."""
    known = np.concatenate([[0.0], *(gap[np.isfinite(gap)] for gap in gaps)])
    room = 0.12 * float(known.max() - known.min()) or 1.0
    return float(known.min()) - room, float(known.max()) + room


def _chance(versus: Versus, step: int) -> str:
    """Return the probability of improvement after a step, with its interval beneath it."""
    low, high = map(float, versus.improvement_ci[step])
    return f"{number(float(versus.improvement[step]), 2)}<small>{number(low, 2)} to {number(high, 2)}</small>"


def _runs(comparison: Comparison) -> str:
    rows = []
    for group, look in zip(comparison.groups, looks(len(comparison.groups)), strict=True):
        paths = "<br>".join(escape(str(run.path)) for run in group.runs)
        rows += [[mark(look, group.label), seeds_words(group), paths]]
    return table("pairs", ["group", "seeds", "runs"], rows)


def _protocol(comparison: Comparison) -> str:
    paths = [str(run.path) for group in comparison.groups for run in group.runs]
    shared = pairs("Evaluation", shared_protocol(comparison.groups[0]))
    return f"{shared}\n<p>To make this page again:</p>\n<pre>{escape(command('compare', *paths))}</pre>"
