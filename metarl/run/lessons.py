"""The world of labelled examples: batches are drawn, whatever the parameters."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metarl.core.batch import Shots
from metarl.core.errors import EnvironmentFailed, RequestError
from metarl.core.params import Meta, Params, concat, to_device
from metarl.learn.adapt import Adaptation
from metarl.learn.chunks import map_chunks
from metarl.learn.problem import TaskData
from metarl.rollout import seeding
from metarl.rollout.collector import Tasks
from metarl.rollout.family import SupervisedFamily
from metarl.rollout.seeding import Address
from metarl.rollout.shots import check_shots, mini_batch, sample_shots
from metarl.run.agent import Agent
from metarl.run.experience import Experience, Query, Serve, Source
from metarl.run.predictions import predictions
from metarl.run.scores import SCORES


class Lessons:
    """A ``Source`` of shots, drawn once: a support set that every inner step reads, and a query set."""

    def __init__(self, agent: Agent, support: Shots, query: Shots) -> None:
        self.tasks = len(support.x)
        self._agent = agent
        self._support, self._query = to_device(support, agent.device), to_device(query, agent.device)

    def support(self, policies: Params, step: int) -> Shots:
        """All of the support set, or its next mini-batch."""
        return mini_batch(self._support, self._agent.config.inner_batch, step)

    def query(self, policies: Params, step: int) -> Query:
        """The query set."""
        return Query(self._query, {})

    def measures(self, path: Sequence[Params], data: TaskData) -> dict[str, Float[Tensor, "steps task"]]:
        """The family's metric on the query set."""

        def of_chunk(path: tuple[Params, ...], data: TaskData, support: Shots) -> Tensor:
            outputs = predictions(self._agent, path, data, support)
            return torch.stack([SCORES[self._agent.metric](found, data.query.y) for found in outputs], 1)

        found = map_chunks(of_chunk, self._agent.chunking, tuple(path), data, self._support)
        return {self._agent.metric: torch.cat(found).mT.cpu()}

    def samples(self, data: TaskData) -> int:
        """Labelled examples of both sets; without inner steps nobody reads the support."""
        sets = [self._support, self._query] if data.support else [self._query]
        return sum(shots.x.shape[:2].numel() for shots in sets)


@contextmanager
def open_lessons(agent: Agent) -> Iterator[Serve]:
    """Nothing needs to be held."""

    def serve(rows: Tasks, episodes: int, address: Address, deterministic: bool) -> Lessons:
        drawn = _draw(agent.supervised, rows, address)
        for shots, part in zip(drawn, ("support", "query"), strict=True):
            try:
                check_shots(agent.supervised, shots, part)
            except RequestError as error:
                raise EnvironmentFailed(str(error)) from error  # the family's fault, not the learner's
        return Lessons(agent, *drawn)

    yield serve


def _draw(family: SupervisedFamily, rows: Tasks, address: Address) -> tuple[Shots, Shots]:
    """Support and query of each task, from a generator of its own: they do not depend on which other tasks
    are drawn with it. The meta-batch of a training iteration is drawn as one: a generator for each of its
    tasks would take a tenth of a small iteration's time.
    """

    def rng(task: int) -> np.random.Generator:
        where = address.use, address.iteration, address.first_task + task
        return seeding.generator(address.seed, "shots", *where)

    if address.iteration:
        return sample_shots(family, rows, rng(0))
    n = len(next(iter(rows.values())))
    each = [sample_shots(family, {key: x[t : t + 1] for key, x in rows.items()}, rng(t)) for t in range(n)]
    support, query = zip(*each, strict=True)
    return concat(support), concat(query)


def deal(agent: Agent, meta: Meta, source: Source, adaptations: Sequence[Adaptation]) -> Experience:
    """The data of a training iteration. The examples do not wait for adapted parameters, so nothing adapts
    here: the meta-learner does, once, and reports the metric on its way.
    """
    support = tuple(source.support(meta.model, k) for k in range(len(adaptations)))
    query = source.query(meta.model, len(adaptations))
    data = TaskData(support, query.batch)
    return Experience(data, None, query.metrics, (), source.samples(data))
