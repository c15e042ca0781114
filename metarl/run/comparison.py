"""Groups of runs side by side: adaptation, differences on the same tasks, probability of improvement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarl.core.errors import RequestError
from metarl.run.files import check_writable, harmless, to_json, write_atomic
from metarl.run.groups import Group, check_comparable, find_groups, run_dirs
from metarl.run.measures import Measure, measure_of
from metarl.run.pooled import Pooled, about, cells, consumed_rows, form, interval_words, pooled
from metarl.run.report_data import read_run
from metarl.run.report_numbers import form_of, number, shown_steps
from metarl.run.report_pictures import Array
from metarl.run.results import aligned
from metarl.run.statistics import covered, difference, improvement, t_interval


@dataclass(frozen=True)
class Versus:
    """A group against the first one: "step" each, intervals "step 2".

    Attributes:
        difference: its mean less that of the first group, on the same tasks.
        per_task: the same "task step", of the means over seeds.
        improvement: the probability that a run of it does better than one of the first group on a task.
        covers: what the intervals cover.
    """

    difference: Array
    difference_ci: Array
    per_task: Array
    improvement: Array
    improvement_ci: Array
    covers: str


@dataclass(frozen=True)
class Comparison:
    """Groups of runs that were evaluated under one protocol; ``versus[i]`` is ``groups[i + 1]``'s."""

    groups: tuple[Group, ...]
    pooled: tuple[Pooled, ...]
    versus: tuple[Versus, ...]

    @property
    def metric(self) -> str:
        """What was measured."""
        return self.groups[0].evaluation.metric

    @property
    def measure(self) -> Measure:
        """How it is called and which way is better."""
        return measure_of(self.metric)

    @property
    def labels(self) -> list[str]:
        """What the groups are called."""
        return [group.label for group in self.groups]

    @property
    def steps(self) -> list[int]:
        """The steps that tables show."""
        return shown_steps(len(self.pooled[0].mean) - 1)

    def table(self) -> str:
        """Mean and interquartile mean of every group, and what each is against the first, as text."""
        steps, shown = self.steps, form(self.pooled, self.metric)
        rows = [["", "", *(f"step {k}" if k else "before" for k in steps)]]
        rows += consumed_rows(self.pooled[0], steps)
        for group, one in zip(self.groups, self.pooled, strict=True):
            rows += [
                [f"{group.label} ({seeds_words(group)})", "mean", *cells(shown, one.mean, one.ci, steps)]
            ]
            rows += [["", "IQM", *cells(shown, one.iqm, one.iqm_ci, steps)]]
        for label, versus in zip(self.labels[1:], self.versus, strict=True):
            rows += self._against(label, versus)
        title = f"{self.metric} {about(self.groups[0])}; {better_words(self.measure)}"
        return harmless("\n".join([title, coverage_words(self), *aligned(rows, left=(0, 1))]))

    __str__ = table

    def _against(self, label: str, versus: Versus) -> list[list[str]]:
        gap, ci = versus.difference, versus.difference_ci
        write = form_of(self.measure, map(float, [*gap, *ci.flat])).change
        told = [f"{write(gap[k])} [{write(ci[k, 0])}, {write(ci[k, 1])}]" for k in self.steps]
        chance = [chances(versus, k) for k in self.steps]
        return [[f"{label} less {self.labels[0]}", "mean", *told], ["", "P(better)", *chance]]

    def as_dict(self) -> dict[str, Any]:
        """All numbers, for a JSON file."""
        each = [
            {"label": group.label, "runs": [str(run.path) for run in group.runs], "seeds": group.seeds}
            | {"mean": one.mean, "ci95": one.ci, "iqm": one.iqm, "iqm_ci95": one.iqm_ci, "covers": one.covers}
            for group, one in zip(self.groups, self.pooled, strict=True)
        ]
        against = [
            {"label": label, "against": self.labels[0], "difference": v.difference}
            | {"difference_ci95": v.difference_ci, "per_task": v.per_task, "improvement": v.improvement}
            | {"improvement_ci95": v.improvement_ci, "covers": v.covers}
            for label, v in zip(self.labels[1:], self.versus, strict=True)
        ]
        aside = ("algorithm", "checkpoint", "interval")
        protocol = self.groups[0].evaluation.protocol
        shared = {name: value for name, value in protocol.items() if name not in aside}
        return {"metric": self.metric, "protocol": shared, "groups": each, "versus": against}

    def save(self, path: str | Path) -> Path:
        """Write a self-contained page, or where the name ends in .json the numbers."""
        path = Path(path)
        check_writable(path)
        if path.suffix == ".json":
            return write_atomic(path, to_json(self.as_dict(), indent=1))
        from metarl.run.report_compare import render

        return write_atomic(path, render(self))


def compare(runs: Sequence[str | Path]) -> Comparison:
    """Put groups of runs side by side: those that differ in their seed alone form a group.

    The first run's group comes first, and the others are held against it.

    Args:
        runs: directories of evaluated runs, of at least two configurations.

    Raises:
        RequestError: fewer than two groups, a run that has not been evaluated, or protocols that differ.
    """
    found = [read_run(path) for path in run_dirs(runs)]
    if len(found) < 2:
        raise RequestError(f"compare needs at least two runs, got {len(found)}")
    check_comparable(found)
    groups = find_groups(found)
    if len(groups) < 2:
        told = f"all {len(found)} are {groups[0].label} and differ in their seed alone"
        raise RequestError(f"compare needs runs of at least two configurations; {told}")
    first = groups[0]
    return Comparison(
        tuple(groups),
        tuple(pooled(group) for group in groups),
        tuple(versus(first, group) for group in groups[1:]),
    )


def versus(first: Group, group: Group) -> Versus:
    """A group against the first one, on the tasks that both have met."""
    one, other, tasks = group.values(), first.values(), not first.fixed_tasks
    lower = measure_of(first.evaluation.metric).lower_is_better
    sign = -1 if lower else 1

    def better(one: Array, other: Array) -> Array:
        return improvement(sign * one, sign * other)

    def interval(statistic: Callable[..., Array]) -> Array:
        return t_interval(statistic, one, other, tasks=tasks)

    return Versus(
        difference(one, other),
        interval(difference),
        one.mean(0) - other.mean(0),
        better(one, other),
        interval(better).clip(0, 1),
        covered(one, other, tasks=tasks),
    )


def chances(versus: Versus, step: int) -> str:
    """The probability of improvement after a step, with its interval."""
    low, high = versus.improvement_ci[step]
    return f"{number(versus.improvement[step], 2)} [{number(low, 2)}, {number(high, 2)}]"


def seeds_words(group: Group) -> str:
    """Which seeds a group has."""
    return f"seed{'s' if len(group.seeds) > 1 else ''} {' '.join(map(str, group.seeds))}"


def better_words(measure: Measure) -> str:
    """Which way is better."""
    return "lower is better" if measure.lower_is_better else "higher is better"


def coverage_words(comparison: Comparison) -> str:
    """What the groups' intervals cover."""
    told = zip(comparison.labels, comparison.pooled, strict=True)
    return grouped({label: interval_words(one.covers) for label, one in told})


def grouped(words: Mapping[str, str]) -> str:
    """Words by label, each once: alone where all are the same, else behind the labels they are about."""
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    each = {word: [label for label in words if words[label] == word] for word in words.values()}
    return "; ".join(f"{', '.join(labels)}: {word}" for word, labels in each.items())
