"""Runs of one configuration together: mean and interquartile mean over all, with intervals, as a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metarl.run.log.measures import Measure
from metarl.run.results.groups import Group
from metarl.run.results.numbers import Form, aligned, form_of, shown_steps
from metarl.run.results.pictures import Array
from metarl.run.results.statistics import covered, iqm, mean, stratified_bootstrap_ci, t_interval
from metarl.run.store.files import to_json, write_atomic
from metarl.run.store.terminal import harmless


@dataclass(frozen=True)
class Pooled:
    """One agent over all runs of a group: "step", intervals "step 2".

    Attributes:
        values: "seed task step".
        covers: what the intervals cover, in words.
        episodes, episode_env_steps: what of a task had been adapted to, on average over the runs; None where
            that is not known.
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
    """Return one agent of a group."""
    values, agents, tasks = group.values(name), group.agents(name), not group.fixed_tasks

    def interval(statistic: Callable[..., Array]) -> Array:
        bounds = t_interval(statistic, values, tasks=tasks)
        return bounds.clip(0, 1) if group.evaluation.measure.share else bounds

    used = [
        None if any(amount is None for amount in amounts) else np.array(amounts).mean(0)
        for amounts in zip(*((agent.episodes, agent.episode_env_steps) for agent in agents), strict=True)
    ]
    covers = covered(values, tasks=tasks)
    return Pooled(name, values, mean(values), interval(mean), iqm(values), interval(iqm), covers, *used)


def form(agents: Sequence[Pooled], measure: Measure) -> Form:
    """Return the form of all means and intervals of some groups."""
    return form_of(measure, (float(v) for agent in agents for v in (*agent.mean, *agent.ci.flat)))


def table(group: Group) -> str:
    """Return mean and interquartile mean of every agent, by steps and by the episodes that these use."""
    agents, evaluation = [pooled(group, name) for name in group.names], group.evaluation
    form_, steps = form(agents, evaluation.measure), shown_steps(len(agents[0].mean) - 1)
    seeds = " ".join(map(str, group.seeds))
    title = f"{len(group.runs)} runs of {group.label} together (seeds {seeds}): {evaluation.metric}"
    rows = [*head_rows(agents[0], steps)]
    for agent in agents:
        rows += value_rows(agent.name, agent, form_, steps)
    lines = [f"{title} {about(group)}", interval_words(agents[0].covers), *aligned(rows, left=(0, 1))]
    return harmless("\n".join(lines))


def about(group: Group) -> str:
    """Say on what was measured, and under which protocol."""
    p = group.evaluation.protocol
    protocol = f"protocol {p.get('name')} {str(p.get('hash'))[:8]}"
    return f"on {p.get('tasks')} {p.get('split')} tasks of {p.get('family')} ({p.get('spec')}), {protocol}"


def interval_words(covers: str) -> str:
    """Say what the intervals of a table are."""
    return f"95 % t-intervals over {covers}" if covers else "no intervals: one run, on all tasks there are"


def head_rows(agent: Pooled, steps: Sequence[int]) -> list[list[str]]:
    """Return a table's head: the steps, and what of a task has been adapted to at each of them."""
    used = {"episodes of a task": agent.episodes, "environment steps of a task": agent.episode_env_steps}
    amounts = [
        [title, "", *(f"{values[k]:.0f}" for k in steps)]
        for title, values in used.items()
        if values is not None
    ]
    return [["", "", *(f"step {k}" if k else "before" for k in steps)], *amounts]


def value_rows(label: str, agent: Pooled, form: Form, steps: Sequence[int]) -> list[list[str]]:
    """Return a table's two rows of an agent: mean and interquartile mean with their intervals."""

    def cells(values: Array, ci: Array) -> list[str]:
        return [f"{form(values[k])} [{form(ci[k, 0])}, {form(ci[k, 1])}]" for k in steps]

    return [[label, "mean", *cells(agent.mean, agent.ci)], ["", "IQM", *cells(agent.iqm, agent.iqm_ci)]]


def shared_protocol(group: Group) -> dict[str, Any]:
    """Return the protocol without what it says of the agent."""
    aside = ("algorithm", "checkpoint", "iteration", "interval")
    return {key: value for key, value in group.evaluation.protocol.items() if key not in aside}


def as_dict(group: Group) -> dict[str, Any]:
    """Return all of it for JSON, with the stratified bootstrap's intervals for comparisons with others'."""
    agents = [pooled(group, name) for name in group.names]
    return {
        "metric": group.evaluation.metric,
        "protocol": shared_protocol(group),
        "config": group.label,
        "runs": [str(run.path) for run in group.runs],
        "seeds": group.seeds,
        "interval": interval_words(agents[0].covers),
        "agents": {agent.name: _agent_dict(agent) for agent in agents},
    }


def _agent_dict(agent: Pooled) -> dict[str, Any]:
    mean_ci, iqm_ci = stratified_bootstrap_ci(agent.values, np.random.default_rng(0), resamples=2000)
    entry: dict[str, Any] = {"mean": agent.mean, "ci95": agent.ci, "iqm": agent.iqm, "iqm_ci95": agent.iqm_ci}
    entry |= {"per_seed": agent.values.mean(1), "per_task": agent.values.mean(0)}
    used = {"episodes": agent.episodes, "episode_env_steps": agent.episode_env_steps}
    entry |= {key: values for key, values in used.items() if values is not None}
    return entry | {"stratified_bootstrap": {"mean": mean_ci, "iqm": iqm_ci}}


def save(group: Group, path: Path) -> Path:
    """Write ``as_dict`` as JSON."""
    return write_atomic(path, to_json(as_dict(group), indent=1))
