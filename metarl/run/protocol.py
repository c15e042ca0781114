"""What an evaluation measures, and the measuring of one agent under it."""

import dataclasses
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from metarl.core.errors import RequestError
from metarl.core.params import Meta
from metarl.rollout import seeding
from metarl.rollout.collector import Address, Tasks
from metarl.rollout.family import SPLITS
from metarl.run.agent import Agent
from metarl.run.experience import USES, Experience, collector, gather
from metarl.run.files import tell

# Step sizes tried for each baseline on validation tasks; 0 is for one that gains nothing by adapting.
GRID = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


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


def held_out_tasks(agent: Agent, protocol: Protocol) -> Tasks:
    """The tasks of a protocol, the same for every agent; each once where the family has fewer in all."""
    known = agent.family.num_tasks
    n = protocol.tasks if known is None else min(protocol.tasks, known)
    rng = seeding.generator(protocol.seed, "tasks", USES[protocol.split])
    try:
        return agent.family.sample_tasks(n, rng, protocol.split)
    except ValueError as error:  # a split that the family does not have
        raise RequestError(str(error)) from error


def measure(agent: Agent, meta: Meta, profile: Sequence[float], protocol: Protocol) -> Experience:
    """One agent's experience under a protocol, with the step sizes ``profile``."""
    tasks = held_out_tasks(agent, protocol)
    n = len(next(iter(tasks.values())))
    with closing(agent.family.make_vec(n * protocol.episodes)) as env:
        return gather(
            agent,
            meta,
            n,
            collector(agent, tasks, env, protocol.episodes),
            agent.adaptations(profile, protocol.steps),
            Address(protocol.seed, USES[protocol.split]),
            protocol.deterministic,
        )


def tuned(agent: Agent, meta: Meta, profile: Sequence[float], protocol: Protocol, name: str) -> list[float]:
    """``profile`` scaled so that it starts with the entry of ``GRID`` that does best on validation tasks.

    Best is the highest mean return over the adapted steps. What each entry gave is printed.
    """
    if not profile:
        return []
    validation = dataclasses.replace(protocol, split="validation")
    scores: dict[float, float] = {}
    for first in GRID:
        rates = [first * (lr / profile[0]) for lr in profile]
        scores[first] = float(measure(agent, meta, rates, validation).returns[1:].mean())
    best = max(scores, key=lambda lr: scores[lr])
    tried = ", ".join(f"{lr:g}: {score:.2f}" for lr, score in scores.items())
    tell(f"metarl: {name}: mean return on validation tasks by step size {tried}; best {best:g}")
    return [best * (lr / profile[0]) for lr in profile]
