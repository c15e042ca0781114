"""One meta-iteration, and one validation, as functions of where a run stands."""

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from metarl.core.errors import Diverged
from metarl.core.params import Meta, all_finite
from metarl.learn.problem import State
from metarl.rollout import seeding
from metarl.rollout.executors import Executor
from metarl.rollout.seeding import Address
from metarl.run.agent.agent import Agent
from metarl.run.agent.data_kinds import EXAMPLES
from metarl.run.experience.gather import USES, Experience, gather, training_examples
from metarl.run.experience.sources import source_of
from metarl.run.log.curve import VALIDATION, Curve
from metarl.run.store.tensors import flatten
from metarl.run.store.terminal import warn
from metarl.run.train.callbacks import Callback

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
    agent: Agent, standing: Standing, executor: Executor | None, callbacks: Sequence[Callback] = ()
) -> tuple[Standing, Row]:
    """Draw, adapt, draw and step.

    A step that is not finite is not taken; it counts as ``skipped``. So does an iteration whose inner steps
    diverge.

    Args:
        executor: what ``open_executor`` gave.

    Returns:
        The next standing, and the iteration's row of metrics.jsonl.
    """
    began = time.perf_counter()
    c, number = agent.config, standing.iteration + 1
    rng = seeding.generator(c.seed, "tasks", USES["train"], number)
    for callback in callbacks:
        callback.on_rollout_start(number)
    tasks = agent.family.sample_tasks(c.tasks, rng, "train")
    source = source_of(agent, executor, tasks, Address(c.seed, USES["train"], number))
    try:
        if agent.kind is EXAMPLES:
            experience = training_examples(agent, standing.meta, source, c.inner_steps)
        else:
            adaptations = [agent.adaptation] * c.inner_steps
            experience = gather(agent, standing.meta, source, adaptations)
    except Diverged as error:
        return _skipped(agent, standing, error, time.perf_counter() - began)
    for callback in callbacks:
        callback.on_rollout_end(number, experience)
    options = {name: x for callback in callbacks for name, x in callback.optimizer_options(number).items()}
    optimizer = agent.optimizer if not options else agent.optimizer_with(options)
    problem = agent.learner(experience.data)
    meta, state, metrics = optimizer.step(problem, standing.meta, standing.optimizer)
    skipped = 0
    finite = math.isfinite(metrics["loss"]) and math.isfinite(metrics["grad_norm"])
    if not (finite and all_finite(meta) and all_finite(state)):
        warn(f"iteration {number}: {_not_finite(metrics, meta, state)}; the parameters stay")
        meta, state, skipped = standing.meta, standing.optimizer, standing.skipped + 1
    samples = standing.samples + experience.samples
    row = {"iteration": number, agent.kind.counted: samples, "seconds": time.perf_counter() - began}
    row |= _curves(experience) | metrics
    row |= {name: float(x) for name, x in agent.rule.metrics(meta.rule).items()}
    row |= {name: float(x.mean()) for name, x in experience.metrics.items()} | {"skipped": skipped}
    return Standing(meta, state, number, samples, skipped), row


def _not_finite(metrics: Row, meta: Meta, state: State) -> str:
    """Return the first part of a meta-step that is not finite, in words and in the order of its making."""
    for name, words in {"loss": "the loss", "grad_norm": "the norm of the meta-gradient"}.items():
        if not math.isfinite(metrics[name]):
            return f"{words} is {metrics[name]}"
    trees = {"the parameter": meta.model, "the update rule's": meta.rule, "the optimizer's": state}
    tensors = ((words, name, x) for words, tree in trees.items() for name, x in flatten(tree).items())
    words, name, _ = next(entry for entry in tensors if not all_finite(entry[2]))
    return f"{words} {name} is not finite after the step"


def _skipped(agent: Agent, standing: Standing, error: Diverged, seconds: float) -> tuple[Standing, Row]:
    """Return what follows on an iteration without a step, since the adapted parameters were not finite."""
    number, samples = standing.iteration + 1, standing.samples + error.samples
    warn(f"iteration {number}: {error}; the parameters stay")
    standing = standing._replace(iteration=number, samples=samples, skipped=standing.skipped + 1)
    row = {"iteration": number, agent.kind.counted: samples, "seconds": seconds}
    return standing, row | _no_curves(agent) | {"skipped": standing.skipped}


def validate(agent: Agent, meta: Meta, executor: Executor | None) -> Row:
    """Return the adaptation curves on held-out tasks: always the same tasks, and the same draws.

    Not a number where the inner steps diverge.
    """
    c, in_all = agent.config, agent.family.num_tasks
    n = c.validation_tasks if in_all is None else min(c.validation_tasks, in_all)
    tasks = agent.family.sample_tasks(n, seeding.generator(c.seed, "tasks", USES["validation"]), "validation")
    source = source_of(agent, executor, tasks, Address(c.seed, USES["validation"]))
    try:
        return _curves(gather(agent, meta, source, [agent.adaptation] * c.inner_steps), VALIDATION)
    except Diverged as error:
        warn(f"validation: {error}")
        return _no_curves(agent, VALIDATION)


def _curves(experience: Experience, prefix: str = "") -> Row:
    """Return the means over tasks before each inner step and after the last."""
    row: Row = {}
    for metric, values in experience.curves.items():
        row |= Curve(metric, values.mean(-1).tolist(), prefix).to_row()
    return row


def _no_curves(agent: Agent, prefix: str = "") -> Row:
    row: Row = {}
    for metric in agent.metrics:
        row |= Curve(metric, [math.nan] * (agent.config.inner_steps + 1), prefix).to_row()
    return row
