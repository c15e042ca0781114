"""Groups of runs that differ in their seed alone, and checks that runs may be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.errors import RequestError
from metarl.run.results.comparable import differences
from metarl.run.results.evaluation import AgentResult, Evaluation
from metarl.run.results.next_commands import evaluate_command
from metarl.run.results.numbers import written
from metarl.run.results.pictures import Array
from metarl.run.results.read import RunData
from metarl.run.store.files import to_json
from metarl.run.store.zoo import local

# What makes no other configuration of a run: its seed, and how and where it was computed and logged.
ASIDE = (
    "seed", "device", "chunk", "threads", "executor", "workers", "logger", "wandb_project", "wandb_entity",
    "wandb_group", "wandb_mode", "keep_checkpoints", "max_skipped", "trust",
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Evaluated runs of one configuration under one protocol, by seed; ``label`` names the configuration."""

    label: str
    runs: tuple[RunData, ...]

    @property
    def seeds(self) -> list[Any]:
        """Return the seeds of the runs."""
        return [run.config.get("seed") for run in self.runs]

    @property
    def evaluation(self) -> Evaluation:
        """Return the first run's evaluation, whose protocol is the one of all."""
        return evaluation_of(self.runs[0])

    @property
    def fixed_tasks(self) -> bool:
        """Return whether these tasks are all that the family has, so that there are no others to cover."""
        protocol = self.evaluation.protocol
        return protocol.get("tasks_in_all") is not None and protocol["tasks_in_all"] == protocol.get("tasks")

    @property
    def names(self) -> list[str]:
        """Return the names of the agents that every run was measured with, the trained agent first."""
        of_runs = [
            [agent.name for agent in evaluation_of(run).results if agent.per_task is not None]
            for run in self.runs
        ]
        return [name for name in of_runs[0] if all(name in names for names in of_runs)]

    def agents(self, name: str) -> list[AgentResult]:
        """Return one agent of every run."""
        return [agent for run in self.runs for agent in evaluation_of(run).results if agent.name == name]

    def values(self, name: str = "meta") -> Array:
        """Return the values "seed task step" of one agent."""
        return np.stack([agent.per_task for agent in self.agents(name) if agent.per_task is not None])


def evaluation_of(run: RunData) -> Evaluation:
    """Return the evaluation that a run is known to have."""
    assert run.evaluation is not None, "checked before"
    return run.evaluation


def find_groups(runs: Sequence[RunData]) -> list[Group]:
    """Return the runs by configuration, in the order of their first ones, each group's by seed.

    Raises:
        RequestError: a run given twice, or two of the same configuration and seed.
    """
    groups: dict[str, list[RunData]] = {}
    for run in runs:
        groups.setdefault(_identity(run.config), []).append(run)
    for group in groups.values():
        for run in group:
            twin = next(other for other in group if other.config.get("seed") == run.config.get("seed"))
            if twin is not run:
                both = f"{twin.path} and {run.path}"
                raise RequestError(f"{both} are the same configuration and seed {run.config.get('seed')}")
    configs = [group[0].config for group in groups.values()]
    return [
        Group(label, tuple(sorted(group, key=lambda run: str(run.config.get("seed")).zfill(20))))
        for label, group in zip(labels(configs), groups.values(), strict=True)
    ]


def _identity(config: Mapping[str, Any]) -> str:
    return to_json({name: value for name, value in config.items() if name not in ASIDE}, sort_keys=True)


def labels(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name each configuration among the others: by its algorithm, and by what else it takes."""
    names = []
    for config in configs:
        algorithm = str(config.get("algorithm"))
        rivals = [other for other in configs if str(other.get("algorithm")) == algorithm]
        fields = [name for rival in rivals for name in rival if name not in ASIDE]
        differing = [
            name
            for name in dict.fromkeys(fields)
            if len({to_json(rival.get(name), sort_keys=True) for rival in rivals}) > 1
        ]
        names.append(" ".join([algorithm, *(f"{name}={written(config.get(name))}" for name in differing)]))
    return names


def check_one_family(configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse configurations, by the name of their run, of different families, specs or family arguments."""
    (first, one), *others = configs.items()
    for name, other in others:
        for key in ("family", "spec", "family_arg"):
            if (one.get(key) or {}) != (other.get(key) or {}):
                both = f"{written(one.get(key))} and {name} {written(other.get(key))}"
                field = key.replace("_", " ")
                raise RequestError(
                    f"runs of different tasks are not put together: {first} has {field} {both}"
                )


def check_comparable(runs: Sequence[RunData]) -> None:
    """Refuse runs that were not all evaluated under one protocol.

    Raises:
        RequestError: a run without an evaluation, with the command that makes one; or two evaluations under
            different protocols, with what they differ in.
    """
    for run in runs:
        if run.evaluation is None:
            raise RequestError(f"{run.path} has not been evaluated; next: {evaluate_command(run)}")
        if "hash" not in run.evaluation.protocol or run.evaluation.results[0].per_task is None:
            reason = "was evaluated by an older metarl, which kept no protocol hash"
            raise RequestError(f"{run.path} {reason}; next: {evaluate_command(run)}")
    first = evaluation_of(runs[0])
    for run in runs[1:]:
        other = evaluation_of(run)
        if other.protocol["hash"] != first.protocol["hash"]:
            reasons = differences((first.metric, first.protocol), (other.metric, other.protocol))
            both = f"{runs[0].path} and {run.path}"
            raise RequestError(f"{both} are not comparable: {'; '.join(reasons) or 'their hashes differ'}")


def run_dirs(names: Sequence[str | Path]) -> list[Path]:
    """Return the run directories that a user means, agents of the zoo among them, none of them twice."""
    paths = [local(name) for name in names]
    twice = next((path for i, path in enumerate(paths) if path in paths[:i]), None)
    if twice is not None:
        raise RequestError(f"{twice} is given twice")
    return paths
