"""Draw, adapt, draw again: the one place where experience and learning meet.

Training, evaluation and the adaptation of a single task all go through ``explore``, for episodes as for
labelled examples: what differs stands in a ``Source``.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from metarl.core.params import Inner, Meta, Params, concat, expand
from metarl.learn.adapt import Adaptation, begin_tasks, step_tasks
from metarl.learn.chunks import map_chunks
from metarl.learn.problem import TaskData
from metarl.rollout.collector import Tasks
from metarl.rollout.seeding import Address
from metarl.run.agent import Agent

# What a draw is for, as it stands in every address. Append only.
USES = {"train": 0, "validation": 1, "test": 2, "ood": 3, "adapt": 4, "sb3": 5}

PerTask = Float[Tensor, " task"]


class Experience(NamedTuple):
    """What K inner steps gave for each of m tasks.

    Attributes:
        data: the batch of each inner update and the query batch, on the device.
        values: the family's metric before each inner step and after the last; None where the meta-learner
            reports it.
        metrics: further numbers of each task, such as what the baselines explain.
        path: the parameters before each inner step and after the last, as far as they were needed.
        samples: environment steps taken, or labelled examples drawn.
        epochs: updates in a row that have the same support batch.
        beside: what else is measured where ``values`` are, "steps task" by name.
    """

    data: TaskData
    values: Float[Tensor, "steps task"] | None
    metrics: dict[str, PerTask]
    path: tuple[Params, ...]
    samples: int
    epochs: int = 1
    beside: Mapping[str, Float[Tensor, "steps task"]] = MappingProxyType({})

    @property
    def params(self) -> Params:
        """The adapted parameters."""
        return self.path[-1]

    @property
    def batches(self) -> tuple[Any, ...]:
        """The K + 1 batches in the order in which they were drawn."""
        return (*self.data.support[:: self.epochs], self.data.query)


class Query(NamedTuple):
    """The batch, on the device, that judges the adapted parameters.

    ``metrics`` are further numbers of each task; ``credit`` is that of ``TaskData``, or () for examples.
    """

    batch: Any
    metrics: dict[str, PerTask]
    credit: Any = ()


@runtime_checkable
class Source(Protocol):
    """Where the batches of some tasks come from; it knows the tasks and addresses every draw."""

    tasks: int

    def support(self, policies: Params, step: int) -> Any:
        """The batch, on the device, from which inner step ``step`` of all tasks learns."""

    def query(self, policies: Params, step: int) -> Query:
        """The batch by which the parameters after ``step`` steps are judged."""

    def measures(self, path: Sequence[Params], data: TaskData) -> dict[str, Float[Tensor, "steps task"]]:
        """The agent's ``metrics`` at each of ``path``, on the CPU."""

    def samples(self, data: TaskData) -> int:
        """Environment steps or labelled examples in the data."""


# (task arrays with a row a task, episodes of each, address, deterministic) -> their source
Serve = Callable[[Tasks, int, Address, bool], Source]


class World(NamedTuple):
    """What episodes and labelled examples do differently.

    Attributes:
        samples: how their number is called in logs.
        open: ``open(agent)``: whatever sources need, for all tasks until it is closed.
        learn_from: ``learn_from(agent, meta, source, adaptations)``: the experience of a training iteration.
        probe: ``probe(agent, meta)``: a trial of the network before anything is written.
    """

    samples: str
    open: Callable[[Agent], AbstractContextManager[Serve]]
    learn_from: Callable[[Agent, Meta, Source, Sequence[Adaptation]], Experience]
    probe: Callable[[Agent, Meta], None]


def explore(
    agent: Agent, meta: Meta, source: Source, adaptations: Sequence[Adaptation]
) -> tuple[tuple[Params, ...], tuple[Any, ...]]:
    """The inner loop: draw and adapt, once for each of ``adaptations``.

    Returns all tasks' parameters before each step and after the last, and the batch of each step. A step is
    ``inner_epochs`` updates on its batch.
    """
    each_meta = expand(meta, source.tasks)
    # A rule's memory outlives the draws in between. With no step at all, any rule begins alike.
    inner = begin_tasks((*adaptations, agent.adaptation(agent.config.inner_lr))[0], each_meta)
    path, batches = [inner.params], []
    for k, adaptation in enumerate(adaptations):
        batch = source.support(inner.params, k)
        for _ in range(agent.config.inner_epochs or 1):
            inner = _adapt(agent, adaptation, each_meta, inner, batch)
        path.append(inner.params)
        batches.append(batch)
    return tuple(path), tuple(batches)


def gather(agent: Agent, meta: Meta, source: Source, adaptations: Sequence[Adaptation]) -> Experience:
    """``explore``, and a last batch to judge the adapted parameters by."""
    # The learner repeats each update: those on the same batch have it several times, which costs no memory.
    return judge(
        agent, source, *explore(agent, meta, source, adaptations), epochs=agent.config.inner_epochs or 1
    )


def judge(
    agent: Agent, source: Source, path: tuple[Params, ...], support: tuple[Any, ...], epochs: int = 1
) -> Experience:
    """What the parameters along a path have given, and a last batch to judge the adapted ones by.

    Args:
        support: the batch that each step of the path learned from, in ``epochs`` updates.
    """
    query = source.query(path[-1], len(support))
    drawn = TaskData(support, query.batch)
    data = TaskData(tuple(b for b in support for _ in range(epochs)), query.batch, query.credit)
    measures = source.measures(path, drawn)
    values = measures.pop(agent.metric)
    return Experience(data, values, query.metrics, path, source.samples(drawn), epochs, measures)


def _adapt(agent: Agent, adaptation: Adaptation, meta: Meta, inner: Inner, batch: Any) -> Inner:
    """One inner step of all tasks, chunk by chunk, as the meta-learner repeats it."""

    def step(meta: Meta, inner: Inner, batch: Any) -> Inner:
        with torch.no_grad():
            return step_tasks(adaptation, meta, inner, batch)[0]

    return concat(map_chunks(step, agent.chunking, meta, inner, batch))
