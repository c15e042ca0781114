"""The protocol of an evaluation, and the measuring of one agent under it."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from metarl.core.errors import RequestError
from metarl.core.params import Meta
from metarl.rollout import seeding
from metarl.rollout.collector import Tasks
from metarl.rollout.executors import Executor
from metarl.rollout.family import SPLITS
from metarl.rollout.seeding import Address
from metarl.run.agent.agent import Agent
from metarl.run.agent.data_kinds import EPISODES, EXAMPLES, DataKind
from metarl.run.experience.gather import USES, Experience, Source, gather
from metarl.run.experience.sources import source_of
from metarl.run.experience.step_sizes import Profile
from metarl.run.log.measures import measure_of
from metarl.run.results.statistics import bootstrap_ci, iqm
from metarl.run.store.terminal import tell
from metarl.run.train.run_state import RunState

# Step sizes tried for each baseline on validation tasks; 0 is for one that gains nothing by adapting.
GRID = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

# Tasks of labelled examples measured at a time: bounds the memory of many tasks and steps.
BLOCK = 50


@dataclass(frozen=True)
class Protocol:
    """``tasks`` tasks of ``split``; ``episodes`` episodes before each of ``steps`` steps and after the last.

    Raises:
        RequestError: a number out of range or an unknown split.
    """

    split: str
    tasks: int
    steps: int
    episodes: int
    seed: int
    deterministic: bool

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise RequestError(f"unknown split {self.split!r}; allowed: {', '.join(SPLITS)}")
        for name, least in {"tasks": 1, "steps": 0, "episodes": 1, "seed": 0}.items():
            if getattr(self, name) < least:
                raise RequestError(f"{name} must be at least {least}, got {getattr(self, name)}")


def standard(kind: DataKind) -> Protocol:
    """Return the protocol of an evaluation that asks for nothing else."""
    return Protocol("test", kind.tasks, kind.steps, episodes=20, seed=1, deterministic=False)


def held_out_tasks(agent: Agent, protocol: Protocol) -> Tasks:
    """Return a protocol's tasks, the same for every agent; each once where the family has fewer in all."""
    in_all = agent.family.num_tasks
    n = protocol.tasks if in_all is None else min(protocol.tasks, in_all)
    rng = seeding.generator(protocol.seed, "tasks", USES[protocol.split])
    try:
        return agent.family.sample_tasks(n, rng, protocol.split)
    except ValueError as error:  # a split that the family does not have
        raise RequestError(str(error)) from error


def measure(
    agent: Agent, meta: Meta, profile: Profile, protocol: Protocol, executor: Executor | None
) -> Experience:
    """Return one agent's experience under a protocol, with the step sizes ``profile``.

    ``curves`` and ``samples`` are of all tasks; the rest is that of the first block of tasks, where a block
    is measured at a time.

    Args:
        executor: what ``open_executor`` gave, which several measurements may share.
    """
    adaptations = agent.adaptations(profile, protocol.steps)
    blocks: list[Experience] = []
    for source in sources(agent, protocol, executor):
        try:
            experience = gather(agent, meta, source, adaptations)
        except ValueError as error:  # such as an action that is not finite, after too large a step
            raise RequestError(
                f"the agent cannot be measured with step sizes {list(profile)}: {error}"
            ) from error
        blocks.append(experience if not blocks else experience._replace(data=blocks[0].data, path=()))
    curves = {metric: torch.cat([block.curves[metric] for block in blocks], 1) for metric in blocks[0].curves}
    return blocks[0]._replace(curves=curves, samples=sum(block.samples for block in blocks))


def sources(agent: Agent, protocol: Protocol, executor: Executor | None) -> Iterator[Source]:
    """Yield the sources of the held-out tasks' batches, a block of tasks at a time."""
    tasks = held_out_tasks(agent, protocol)
    n = len(next(iter(tasks.values())))
    block = min(n, BLOCK) if agent.kind is EXAMPLES else n
    bounds = [*range(0, n, block), n]
    if n - bounds[-2] == 1 < block and n > 1:  # one task alone would take other kernels, hence other bits
        del bounds[-2]
    for first, end in itertools.pairwise(bounds):
        rows = {key: x[first:end] for key, x in tasks.items()}
        address = Address(protocol.seed, USES[protocol.split], first_task=first)
        yield source_of(
            agent, executor, rows, address, episodes=protocol.episodes, deterministic=protocol.deterministic
        )


def tuned(
    agent: Agent,
    meta: Meta,
    profile: Profile,
    protocol: Protocol,
    name: str,
    executor: Executor | None,
    done: Callable[[], None] = lambda: None,
) -> Profile:
    """Return ``profile`` scaled to start with the entry of ``GRID`` that does best on validation tasks.

    Best is the best mean of the metric over the adapted steps, and of equals the best of the agent's further
    metrics. The value of each entry is printed, and ``done`` called after it. Where the rule has learned its
    steps there is nothing to choose.
    """
    if not profile or None in profile:
        return list(profile)
    tasks = min(protocol.tasks, BLOCK) if agent.kind is EXAMPLES else protocol.tasks
    validation = dataclasses.replace(protocol, split="validation", tasks=tasks)
    rates = [lr for lr in profile if lr is not None]

    def scaled(first: float) -> list[float]:
        return [first * (lr / rates[0]) for lr in rates]  # in the same proportions from step to step

    best = best_of(
        GRID,
        lambda first: measure(agent, meta, scaled(first), validation, executor),
        agent.metric,
        name,
        "step size",
        done,
    )
    return scaled(best)


def best_of(
    grid: Sequence[float],
    tried: Callable[[float], Experience],
    metric: str,
    name: str,
    what: str,
    done: Callable[[], None] = lambda: None,
) -> float:
    """Return the entry of ``grid`` with the best experience, ``tried(entry)``: see ``tuned``.

    Raises:
        RequestError: with none of them has the agent been measured.
    """
    scores: dict[float, tuple[float, ...]] = {}
    for entry in grid:
        try:
            experience = tried(entry)
        except RequestError:  # it diverged
            scores[entry] = (math.nan,)
            continue
        finally:
            done()
        scores[entry] = tuple(float(x[1:].mean()) for x in experience.curves.values())
    finite = {entry: score for entry, score in scores.items() if all(map(math.isfinite, score))}
    if not finite:
        raise RequestError(f"{name} cannot be measured with any {what} of {', '.join(map(str, grid))}")
    best = (min if measure_of(metric).lower_is_better else max)(finite, key=lambda entry: finite[entry])
    listed = ", ".join(f"{entry:g}: {score[0]:.4g}" for entry, score in scores.items())
    tell(f"metarl: {name}: mean {metric} on validation tasks by {what} {listed}; best {best:g}")
    return best


def result(
    experience: Experience, profile: Profile, protocol: Protocol, trained: RunState | None = None
) -> dict[str, Any]:
    """Return an agent's entry of ``evaluation.json``.

    Args:
        profile: the step sizes that it was measured with.
        trained: the run that it stands for, if it is one.
    """
    per_task = experience.values.numpy().T.astype(np.float64)
    rng = seeding.generator(protocol.seed, "bootstrap", USES[protocol.split])
    entry = {
        "mean": per_task.mean(0).tolist(),
        "iqm": iqm(per_task[None]).tolist(),
        "ci95": bootstrap_ci(per_task, rng).tolist(),
        "per_task": per_task.tolist(),
        "inner_lr": [lr for lr in profile if lr is not None],
    }
    if trained is not None:
        kind = trained.agent.kind
        entry[kind.counted] = trained.standing.samples
        entry |= consumed(experience, protocol.episodes) if kind is EPISODES else {}
    return entry


def consumed(experience: Experience, episodes: int) -> dict[str, list[Any]]:
    """Return what of a task an agent has adapted to before each of its values: episodes, and on average over
    the tasks their environment steps. The last collection only measures.
    """
    steps = [float(batch.mask.sum((1, 2)).float().mean()) for batch in experience.batches[:-1]]
    counts = [episodes * k for k in range(len(steps) + 1)]
    return {"episodes": counts, "episode_env_steps": [0.0, *itertools.accumulate(steps)]}
