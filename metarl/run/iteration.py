"""One meta-iteration, and one validation, as functions of where a run stands."""

import math
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any, NamedTuple

from gymnasium.vector import VectorEnv

from metarl.core.params import Meta, all_finite
from metarl.learn.optimisers import State
from metarl.rollout import seeding
from metarl.rollout.collector import Address
from metarl.run.agent import Agent
from metarl.run.callbacks import Callback
from metarl.run.experience import USES, collector, gather
from metarl.run.files import warn

Row = dict[str, Any]


class Standing(NamedTuple):
    """All that changes in a run: what a checkpoint saves.

    ``iteration`` counts finished iterations, ``env_steps`` all environment steps of training, ``skipped`` the
    latest iterations in a row whose step was not finite.
    """

    meta: Meta
    optimiser: State
    iteration: int = 0
    env_steps: int = 0
    skipped: int = 0


def iterate(
    agent: Agent, standing: Standing, env: VectorEnv, callbacks: Sequence[Callback] = ()
) -> tuple[Standing, Row]:
    """Collect, adapt, collect and step: the next standing, and the iteration's row of metrics.jsonl.

    A step that is not finite is not taken; it counts as ``skipped``.
    """
    began = time.perf_counter()
    c, number = agent.config, standing.iteration + 1
    rng = seeding.generator(c.seed, "tasks", USES["train"], number)
    for callback in callbacks:
        callback.on_rollout_start(number)
    experience = gather(
        agent,
        standing.meta,
        c.tasks,
        collector(agent, agent.family.sample_tasks(c.tasks, rng, "train"), env, c.episodes),
        agent.adaptations([c.inner_lr], c.inner_steps),
        Address(c.seed, USES["train"], number),
    )
    for callback in callbacks:
        callback.on_rollout_end(number, experience)
    problem = agent.learner()(experience.data)
    meta, optimiser, metrics = agent.optimiser().step(problem, standing.meta, standing.optimiser)
    skipped = 0
    judged = math.isfinite(metrics["loss"]) and math.isfinite(metrics["grad_norm"])
    if not (judged and all_finite(meta) and all_finite(optimiser)):
        warn(f"iteration {number}: loss, gradient or step is not finite; the parameters stay")
        meta, optimiser, skipped = standing.meta, standing.optimiser, standing.skipped + 1
    env_steps = standing.env_steps + experience.env_steps
    row = {"iteration": number, "env_steps": env_steps, "seconds": time.perf_counter() - began}
    row |= {f"return/step_{k}": mean for k, mean in enumerate(experience.returns.mean(-1).tolist())}
    row |= metrics | {"explained_variance": float(experience.explained_variance.mean()), "skipped": skipped}
    return Standing(meta, optimiser, number, env_steps, skipped), row


def validate(agent: Agent, meta: Meta) -> Row:
    """The adaptation curve on held-out tasks: always the same tasks, starts and noise."""
    c, known = agent.config, agent.family.num_tasks
    n = c.validation_tasks if known is None else min(c.validation_tasks, known)
    tasks = agent.family.sample_tasks(n, seeding.generator(c.seed, "tasks", USES["validation"]), "validation")
    with closing(agent.family.make_vec(n * c.episodes)) as env:
        experience = gather(
            agent,
            meta,
            n,
            collector(agent, tasks, env, c.episodes),
            agent.adaptations([c.inner_lr], c.inner_steps),
            Address(c.seed, USES["validation"]),
        )
    return {
        f"validation/return/step_{k}": mean for k, mean in enumerate(experience.returns.mean(-1).tolist())
    }
