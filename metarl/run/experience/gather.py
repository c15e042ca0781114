"""Draw, adapt, draw again: the one place where experience and learning meet.

Training, evaluation and the adaptation of a single task all go through ``explore``, for episodes as for
labelled examples: what differs stands in their ``Source``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from metarl.core.params import Inner, Meta, Params, concat, expand
from metarl.learn.adapt import Adaptation, begin_tasks, inner_loop, step_tasks
from metarl.learn.chunks import map_chunks
from metarl.learn.problem import TaskData
from metarl.run.agent.agent import Agent

# The use of a draw, as it stands in every address. Append only.
USES = {"train": 0, "validation": 1, "test": 2, "ood": 3, "adapt": 4, "sb3": 5}

PerTask = Float[Tensor, " task"]
Curves = Mapping[str, Float[Tensor, "steps task"]]


class Experience(NamedTuple):
    """The outcome of K inner steps for each of m tasks.

    Attributes:
        data: the batch of each inner update and the query batch, on the device.
        curves: each of the agent's ``metrics`` before each inner step and after the last, "steps task", the
            family's own metric first; empty where the meta-learner reports it.
        metrics: further numbers of each task, such as the share of variance that the baselines explain.
        path: the parameters before each inner step and after the last, as far as they were needed.
        samples: environment steps taken, or labelled examples drawn.
        epochs: updates in a row that have the same support batch.
    """

    data: TaskData
    curves: Curves
    metrics: dict[str, PerTask]
    path: tuple[Params, ...]
    samples: int
    epochs: int = 1

    @property
    def values(self) -> Float[Tensor, "steps task"]:
        """The family's metric before each inner step and after the last."""
        return next(iter(self.curves.values()))

    @property
    def params(self) -> Params:
        """The adapted parameters."""
        return self.path[-1]

    @property
    def batches(self) -> tuple[Any, ...]:
        """The K + 1 batches in the order in which they were drawn."""
        return (*self.data.support[:: self.epochs], self.data.query)


class Query(NamedTuple):
    """A query batch, on the device.

    ``metrics`` are further numbers of each task; ``credit`` is that of ``TaskData``, or () for examples.
    """

    batch: Any
    metrics: dict[str, PerTask]
    credit: Any = ()


@runtime_checkable
class Source(Protocol):
    """The source of the batches of some tasks; it knows the tasks and addresses every draw."""

    tasks: int

    def support(self, policies: Params, step: int) -> Any:
        """Return the batch, on the device, from which inner step ``step`` of all tasks learns."""

    def query(self, policies: Params, step: int) -> Query:
        """Return the batch on which the parameters after ``step`` steps are evaluated."""

    def measures(self, path: Sequence[Params], data: TaskData) -> Curves:
        """Return the agent's ``metrics`` at each of ``path``, on the CPU."""

    def samples(self, data: TaskData) -> int:
        """Return the number of environment steps or labelled examples in the data."""


def explore(
    agent: Agent, meta: Meta, source: Source, adaptations: Sequence[Adaptation]
) -> tuple[tuple[Params, ...], tuple[Any, ...]]:
    """Draw and adapt, once for each of ``adaptations``.

    A step is ``inner_epochs`` updates on its batch. A rule's memory outlives the draws in between.

    Returns:
        All tasks' parameters before each step and after the last, and the batch of each step.
    """
    each_meta = expand(meta, source.tasks)
    batches: list[Any] = []

    def draw(k: int, inner: Inner) -> Any:
        batches.append(source.support(inner.params, k))
        return batches[-1]

    def step(k: int, inner: Inner, batch: Any) -> Inner:
        for _ in range(agent.inner_epochs):
            inner = _update(agent, adaptations[k], each_meta, inner, batch)
        return inner

    first = adaptations[0] if adaptations else agent.adaptation  # with no step at all, any begins alike
    inners = inner_loop(step, begin_tasks(first, each_meta), draw, len(adaptations))
    path = tuple(inner.params for inner in inners)
    return path, tuple(batches)


def gather(agent: Agent, meta: Meta, source: Source, adaptations: Sequence[Adaptation]) -> Experience:
    """``explore``, and evaluate the adapted parameters on a query batch."""
    # The learner repeats each update: those on the same batch have it several times, which costs no memory.
    return measured(agent, source, *explore(agent, meta, source, adaptations), epochs=agent.inner_epochs)


def measured(
    agent: Agent, source: Source, path: tuple[Params, ...], support: tuple[Any, ...], epochs: int = 1
) -> Experience:
    """Return the experience along a path of parameters, with a query batch for the last of them.

    Args:
        support: the batch that each step of the path learned from, in ``epochs`` updates.
    """
    query = source.query(path[-1], len(support))
    batches = TaskData(support, query.batch)
    data = TaskData(tuple(b for b in support for _ in range(epochs)), query.batch, query.credit)
    return Experience(
        data, source.measures(path, batches), query.metrics, path, source.samples(batches), epochs
    )


def training_examples(agent: Agent, meta: Meta, source: Source, steps: int) -> Experience:
    """Return the data of a training iteration on labelled examples.

    They do not wait for adapted parameters, so nothing adapts here: the meta-learner does, once, and reports
    the metric on its way.
    """
    support = tuple(source.support(meta.model, k) for k in range(steps))
    query = source.query(meta.model, steps)
    data = TaskData(support, query.batch)
    return Experience(data, {}, query.metrics, (), source.samples(data))


def _update(agent: Agent, adaptation: Adaptation, meta: Meta, inner: Inner, batch: Any) -> Inner:
    """Update all tasks once, chunk by chunk, as the meta-learner repeats it."""

    def step(meta: Meta, inner: Inner, batch: Any) -> Inner:
        with torch.no_grad():
            return step_tasks(adaptation, meta, inner, batch)[0]

    return concat(map_chunks(step, agent.chunking, meta, inner, batch))
