"""Groups of runs side by side: adaptation, differences on the same tasks, probability of improvement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarl.core.errors import RequestError
from metarl.run.log.measures import Measure
from metarl.run.results.groups import Group, check_comparable, find_groups, run_dirs
from metarl.run.results.numbers import Form, aligned, form_of, number, shown_steps
from metarl.run.results.pictures import Array
from metarl.run.results.pooled import (
    Pooled,
    about,
    form,
    head_rows,
    interval_words,
    pooled,
    shared_protocol,
    value_rows,
)
from metarl.run.results.read import read_run
from metarl.run.results.statistics import covered, difference, improvement, t_interval
from metarl.run.store.files import check_writable, to_json, write_atomic
from metarl.run.store.terminal import harmless


@dataclass(frozen=True)
class Versus:
    """A group against the first one: "step", intervals "step 2".

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
    """Groups of runs that were evaluated under one protocol; ``versus[i]`` is ``groups[i + 1]``'s.

    ``page`` makes the comparison's page; without it, as in this module, only numbers can be saved.
    """

    groups: tuple[Group, ...]
    pooled: tuple[Pooled, ...]
    versus: tuple[Versus, ...]
    page: "Callable[[Comparison], str] | None" = None

    @property
    def metric(self) -> str:
        """Return the metric's name."""
        return self.groups[0].evaluation.metric

    @property
    def measure(self) -> Measure:
        """Return what the metric is called and which way is better."""
        return self.groups[0].evaluation.measure

    @property
    def labels(self) -> list[str]:
        """Return the names of the groups."""
        return [group.label for group in self.groups]

    @property
    def steps(self) -> list[int]:
        """Return the steps that tables show."""
        return shown_steps(len(self.pooled[0].mean) - 1)

    @property
    def gap_form(self) -> Form:
        """Return the form of all differences and their intervals."""
        gaps = (float(v) for one in self.versus for v in (*one.difference, *one.difference_ci.flat))
        return form_of(self.measure, gaps)

    def table(self) -> str:
        """Return mean and interquartile mean of every group, and each against the first, as text."""
        steps, form_ = self.steps, form(self.pooled, self.measure)
        rows = head_rows(self.pooled[0], steps)
        for group, one in zip(self.groups, self.pooled, strict=True):
            rows += value_rows(f"{group.label} ({seeds_words(group)})", one, form_, steps)
        for label, versus in zip(self.labels[1:], self.versus, strict=True):
            rows += self._against(label, versus)
        title = f"{self.metric} {about(self.groups[0])}; {better_words(self.measure)}"
        return harmless("\n".join([title, coverage_words(self), *aligned(rows, left=(0, 1))]))

    __str__ = table

    def _against(self, label: str, versus: Versus) -> list[list[str]]:
        write, gap, ci = self.gap_form.change, versus.difference, versus.difference_ci
        gaps = [f"{write(gap[k])} [{write(ci[k, 0])}, {write(ci[k, 1])}]" for k in self.steps]
        better, bounds = versus.improvement, versus.improvement_ci
        chances = [
            f"{number(better[k], 2)} [{number(bounds[k, 0], 2)}, {number(bounds[k, 1], 2)}]"
            for k in self.steps
        ]
        return [[f"{label} less {self.labels[0]}", "mean", *gaps], ["", "P(better)", *chances]]

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers, for a JSON file."""
        groups = [
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
        protocol = shared_protocol(self.groups[0])
        return {"metric": self.metric, "protocol": protocol, "groups": groups, "versus": against}

    def save(self, path: str | Path) -> Path:
        """Write a self-contained page, or where the name ends in .json the numbers.

        Raises:
            RequestError: the file cannot be written.
        """
        path = Path(path)
        check_writable(path)
        if path.suffix == ".json" or self.page is None:
            return write_atomic(path, to_json(self.as_dict(), indent=1))
        return write_atomic(path, self.page(self))


def compare_runs(runs: Sequence[str | Path], page: Callable[[Comparison], str] | None = None) -> Comparison:
    """Put groups of runs side by side: those that differ in their seed alone form a group.

    The first run's group comes first, and the others are held against it.

    Args:
        runs: directories of evaluated runs or agents of the zoo, of at least two configurations.
        page: makes the page that ``Comparison.save`` writes; ``metarl.compare`` hands over the report's.

    Raises:
        RequestError: fewer than two groups, a run that has not been evaluated, or protocols that differ.
    """
    read = [read_run(path) for path in run_dirs(runs)]
    if len(read) < 2:
        raise RequestError(f"compare needs at least two runs, got {len(read)}")
    check_comparable(read)
    groups = find_groups(read)
    if len(groups) < 2:
        reason = f"all {len(read)} are {groups[0].label} and differ in their seed alone"
        raise RequestError(f"compare needs runs of at least two configurations; {reason}")
    against = tuple(versus(groups[0], group) for group in groups[1:])
    return Comparison(tuple(groups), tuple(pooled(group) for group in groups), against, page)


def versus(first: Group, group: Group) -> Versus:
    """Hold a group against the first one, on the tasks that both have met."""
    one, other, tasks = group.values(), first.values(), not first.fixed_tasks
    sign = -1 if first.evaluation.measure.lower_is_better else 1

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


def seeds_words(group: Group) -> str:
    """Name the seeds of a group."""
    return f"seed{'s' if len(group.seeds) > 1 else ''} {' '.join(map(str, group.seeds))}"


def better_words(measure: Measure) -> str:
    """Say which way is better."""
    return "lower is better" if measure.lower_is_better else "higher is better"


def coverage_words(comparison: Comparison) -> str:
    """Say what the groups' intervals cover."""
    labelled = zip(comparison.labels, comparison.pooled, strict=True)
    return grouped({label: interval_words(one.covers) for label, one in labelled})


def grouped(words: Mapping[str, str]) -> str:
    """Return words by label, each once: alone where all are the same, else behind their labels."""
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    labels = {word: [label for label in words if words[label] == word] for word in words.values()}
    return "; ".join(f"{', '.join(named)}: {word}" for word, named in labels.items())
