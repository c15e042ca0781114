"""One meta-iteration, and one validation, as functions of where a run stands."""

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from metarl.core.errors import Diverged
from metarl.core.params import Meta, all_finite
from metarl.learn.optimizers import State
from metarl.rollout import seeding
from metarl.rollout.seeding import Address
from metarl.run.agent import Agent
from metarl.run.callbacks import Callback
from metarl.run.experience import USES, Experience, Serve, gather
from metarl.run.files import warn
from metarl.run.state import flatten
from metarl.run.worlds import world_of

Row = dict[str, Any]


class Standing(NamedTuple):
    """All that changes in a run: what a checkpoint saves.

    ``iteration`` counts finished iterations, ``samples`` all environment steps (or labelled examples) of
    training, ``skipped`` the latest iterations in a row whose step was not finite.
    """

    meta: Meta
    optimizer: State
    iteration: int = 0
    samples: int = 0
    skipped: int = 0


def iterate(
    agent: Agent, standing: Standing, serve: Serve, callbacks: Sequence[Callback] = ()
) -> tuple[Standing, Row]:
    """Draw, adapt, draw and step: the next standing, and the iteration's row of metrics.jsonl.

    A step that is not finite is not taken; it counts as ``skipped``. So does an iteration whose inner steps
    diverge.
    """
    began = time.perf_counter()
    c, number, world = agent.config, standing.iteration + 1, world_of(agent.family)
    rng = seeding.generator(c.seed, "tasks", USES["train"], number)
    for callback in callbacks:
        callback.on_rollout_start(number)
    tasks = agent.family.sample_tasks(c.tasks, rng, "train")
    source = serve(tasks, c.episodes, Address(c.seed, USES["train"], number), False)
    adaptations = agent.adaptations([c.inner_lr], c.inner_steps)
    try:
        experience = world.learn_from(agent, standing.meta, source, adaptations)
    except Diverged as error:
        return _skipped(agent, standing, error, time.perf_counter() - began)
    for callback in callbacks:
        callback.on_rollout_end(number, experience)
    problem = agent.learner()(experience.data)
    meta, optimizer, metrics = agent.optimizer().step(problem, standing.meta, standing.optimizer)
    skipped = 0
    judged = math.isfinite(metrics["loss"]) and math.isfinite(metrics["grad_norm"])
    if not (judged and all_finite(meta) and all_finite(optimizer)):
        warn(f"iteration {number}: {_not_finite(metrics, meta, optimizer)}; the parameters stay")
        meta, optimizer, skipped = standing.meta, standing.optimizer, standing.skipped + 1
    samples = standing.samples + experience.samples
    row = {"iteration": number, world.samples: samples, "seconds": time.perf_counter() - began}
    told = agent.rule(c.inner_lr).metrics(meta.rule)
    row |= _curve(agent, experience) | metrics | {name: float(x) for name, x in told.items()}
    row |= {name: float(x.mean()) for name, x in experience.metrics.items()} | {"skipped": skipped}
    return Standing(meta, optimizer, number, samples, skipped), row


def _not_finite(metrics: Row, meta: Meta, optimizer: State) -> str:
    """What of a meta-step is not finite, in words: the first of those that follow on one another."""
    for name, told in {"loss": "the loss", "grad_norm": "the norm of the meta-gradient"}.items():
        if not math.isfinite(metrics[name]):
            return f"{told} is {metrics[name]}"
    trees = {"the parameter": meta.model, "the update rule's": meta.rule, "the optimizer's": optimizer}
    found = ((told, name, x) for told, tree in trees.items() for name, x in flatten(tree).items())
    told, name, _ = next(entry for entry in found if not all_finite(entry[2]))
    return f"{told} {name} is not finite after the step"


def _skipped(agent: Agent, standing: Standing, error: Diverged, seconds: float) -> tuple[Standing, Row]:
    """What follows on an iteration without a step, since the adapted parameters were not finite."""
    number, samples = standing.iteration + 1, standing.samples + error.samples
    warn(f"iteration {number}: {error}; the parameters stay")
    standing = standing._replace(iteration=number, samples=samples, skipped=standing.skipped + 1)
    row = {"iteration": number, world_of(agent.family).samples: samples, "seconds": seconds}
    return standing, row | _no_curve(agent) | {"skipped": standing.skipped}


def validate(agent: Agent, meta: Meta, serve: Serve | None = None) -> Row:
    """The adaptation curve on held-out tasks: always the same tasks, and the same draws.

    Not a number where the inner steps diverge. Training hands over the world that it has open.
    """
    c, known = agent.config, agent.family.num_tasks
    n = c.validation_tasks if known is None else min(c.validation_tasks, known)
    tasks = agent.family.sample_tasks(n, seeding.generator(c.seed, "tasks", USES["validation"]), "validation")
    with ExitStack() as stack:
        serve = serve or stack.enter_context(world_of(agent.family).open(agent))
        source = serve(tasks, c.episodes, Address(c.seed, USES["validation"]), False)
        try:
            curve = _curve(agent, gather(agent, meta, source, agent.adaptations([c.inner_lr], c.inner_steps)))
        except Diverged as error:
            warn(f"validation: {error}")
            curve = _no_curve(agent)
    return {f"validation/{name}": value for name, value in curve.items()}


def _curve(agent: Agent, experience: Experience) -> Row:
    """The means over tasks before each inner step and after the last; none where the meta-learner gave it."""
    if experience.values is None:
        return {}
    found = {agent.metric: experience.values, **experience.beside}
    return {f"{name}/step_{k}": x for name in found for k, x in enumerate(found[name].mean(-1).tolist())}


def _no_curve(agent: Agent) -> Row:
    steps = range(agent.config.inner_steps + 1)
    return {f"{metric}/step_{k}": math.nan for metric in agent.metrics for k in steps}
