"""What several runs of one configuration give together: mean and interquartile mean, with intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metarl.run.files import harmless, to_json, write_atomic
from metarl.run.groups import Group
from metarl.run.measures import measure_of
from metarl.run.report_numbers import Form, form_of, shown_steps
from metarl.run.report_pictures import Array
from metarl.run.results import aligned
from metarl.run.statistics import covered, iqm, mean, stratified_bootstrap_ci, t_interval


@dataclass(frozen=True)
class Pooled:
    """One agent over all runs of a group: "step" each, intervals "step 2".

    ``covers`` says what the intervals cover; ``episodes`` and ``episode_env_steps`` what of a task had been
    adapted to, on average over the runs, where that is known.
    """

    name: str
    values: Array
    mean: Array
    ci: Array
    iqm: Array
    iqm_ci: Array
    covers: str
    episodes: Array | None
    episode_env_steps: Array | None


def pooled(group: Group, name: str = "meta") -> Pooled:
    """One agent of a group."""
    values, agents, tasks = group.values(name), group.agents(name), not group.fixed_tasks
    share = measure_of(group.evaluation.metric).share

    def interval(statistic: Callable[..., Array]) -> Array:
        found = t_interval(statistic, values, tasks=tasks)
        return found.clip(0, 1) if share else found

    means, middles = mean(values), iqm(values)
    known = [np.array(x).mean(0) if all(y is not None for y in x) else None for x in _consumed(agents)]
    covers = covered(values, tasks=tasks)
    return Pooled(name, values, means, interval(mean), middles, interval(iqm), covers, *known)


def _consumed(agents: Sequence[Any]) -> list[list[Any]]:
    return [[agent.episodes for agent in agents], [agent.episode_env_steps for agent in agents]]


def form(found: Sequence[Pooled], metric: str) -> Form:
    """How all means and intervals of some groups are written."""
    return form_of(measure_of(metric), (float(v) for one in found for v in (*one.mean, *one.ci.flat)))


def table(group: Group) -> str:
    """Mean and interquartile mean of every agent, by steps and by the episodes that these consume."""
    found, metric = [pooled(group, name) for name in group.names], group.evaluation.metric
    shown, steps = form(found, metric), shown_steps(len(found[0].mean) - 1)
    seeds = " ".join(map(str, group.seeds))
    lines = [
        f"{len(group.runs)} runs of {group.label} together (seeds {seeds}): {metric} {about(group)}",
        interval_words(found[0].covers),
    ]
    rows = [["", "", *(f"step {k}" if k else "before" for k in steps)]]
    rows += consumed_rows(found[0], steps)
    for one in found:
        rows += [[one.name, "mean", *cells(shown, one.mean, one.ci, steps)]]
        rows += [["", "IQM", *cells(shown, one.iqm, one.iqm_ci, steps)]]
    return harmless("\n".join([*lines, *aligned(rows, left=(0, 1))]))


def about(group: Group) -> str:
    """On what was measured, and under which protocol."""
    p = group.evaluation.protocol
    protocol = f"protocol {p.get('name')} {str(p.get('hash'))[:8]}"
    return f"on {p.get('tasks')} {p.get('split')} tasks of {p.get('family')} ({p.get('spec')}), {protocol}"


def interval_words(covers: str) -> str:
    """What the intervals of a table are."""
    return f"95 % t-intervals over {covers}" if covers else "no intervals: one run, on all tasks there are"


def consumed_rows(one: Pooled, steps: Sequence[int]) -> list[list[str]]:
    """What of a task has been adapted to at each of the steps."""
    named = {"episodes": one.episodes, "environment steps": one.episode_env_steps}
    return [
        [f"{name} of a task", "", *(f"{values[k]:.0f}" for k in steps)]
        for name, values in named.items()
        if values is not None
    ]


def cells(shown: Form, values: Array, ci: Array, steps: Sequence[int]) -> list[str]:
    """Values with their intervals."""
    return [f"{shown(values[k])} [{shown(ci[k, 0])}, {shown(ci[k, 1])}]" for k in steps]


def as_dict(group: Group) -> dict[str, Any]:
    """All of it for a JSON file, with the stratified bootstrap's intervals for whoever compares with such."""
    found = [pooled(group, name) for name in group.names]
    evaluation = group.evaluation
    aside = ("algorithm", "checkpoint", "interval")
    return {
        "metric": evaluation.metric,
        "protocol": {key: value for key, value in evaluation.protocol.items() if key not in aside},
        "config": group.label,
        "runs": [str(run.path) for run in group.runs],
        "seeds": group.seeds,
        "interval": interval_words(found[0].covers),
        "agents": {one.name: _agent_dict(one) for one in found},
    }


def _agent_dict(one: Pooled) -> dict[str, Any]:
    mean_ci, iqm_ci = stratified_bootstrap_ci(one.values, np.random.default_rng(0), resamples=2000)
    found: dict[str, Any] = {"mean": one.mean, "ci95": one.ci, "iqm": one.iqm, "iqm_ci95": one.iqm_ci}
    found |= {"per_seed": one.values.mean(1), "per_task": one.values.mean(0)}
    consumed = {"episodes": one.episodes, "episode_env_steps": one.episode_env_steps}
    found |= {key: values for key, values in consumed.items() if values is not None}
    return found | {"stratified_bootstrap": {"mean": mean_ci, "iqm": iqm_ci}}


def save(group: Group, path: Path) -> Path:
    """Write ``as_dict`` as JSON."""
    return write_atomic(path, to_json(as_dict(group), indent=1))
