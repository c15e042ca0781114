"""Batches of labelled examples: drawn once, whatever the parameters."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from metarl.core.batch import Shots
from metarl.core.errors import EnvironmentFailed, RequestError
from metarl.core.params import Params, concat, to_device
from metarl.learn.chunks import map_chunks
from metarl.learn.problem import TaskData
from metarl.rollout import seeding
from metarl.rollout.collector import Tasks
from metarl.rollout.family import SupervisedFamily
from metarl.rollout.seeding import Address
from metarl.rollout.shots import check_shots, mini_batch, sample_shots
from metarl.run.agent.agent import Agent
from metarl.run.agent.scores import scores
from metarl.run.experience.gather import Curves, Query
from metarl.run.experience.predictions import predictions


class ExampleSource:
    """A ``Source`` of a support set that every inner step reads, and of a query set, task axis first."""

    def __init__(self, agent: Agent, support: Shots, query: Shots) -> None:
        self.tasks = len(support.x)
        self._agent = agent
        self._support, self._query = to_device(support, agent.device), to_device(query, agent.device)

    @classmethod
    def of_tasks(cls, agent: Agent, tasks: Tasks, address: Address) -> "ExampleSource":
        """Draw the examples of tasks at an address.

        Raises:
            EnvironmentFailed: they are not those that the family's spaces promise.
        """
        support, query = _draw(agent.supervised, tasks, address)
        try:
            check_shots(agent.supervised, support, "support")
            check_shots(agent.supervised, query, "query")
        except RequestError as error:
            raise EnvironmentFailed(str(error)) from error  # the family's fault, not the learner's
        return cls(agent, support, query)

    def support(self, policies: Params, step: int) -> Shots:
        """Return all of the support set, or its next mini-batch."""
        return mini_batch(self._support, self._agent.config.inner_batch, step)

    def query(self, policies: Params, step: int) -> Query:
        """Return the query set."""
        return Query(self._query, {})

    def measures(self, path: Sequence[Params], data: TaskData) -> Curves:
        """Return the family's metric on the query set."""
        metric = self._agent.metric

        def of_chunk(path: tuple[Params, ...], data: TaskData, support: Shots) -> Tensor:
            outputs = predictions(self._agent, path, data, support)
            return torch.stack([scores[metric](x, data.query.y) for x in outputs], 1)

        values = map_chunks(of_chunk, self._agent.chunking, tuple(path), data, self._support)
        return {metric: torch.cat(values).mT.cpu()}

    def samples(self, data: TaskData) -> int:
        """Return the number of examples in both sets; without inner steps nobody reads the support."""
        sets = [self._support, self._query] if data.support else [self._query]
        return sum(shots.x.shape[:2].numel() for shots in sets)


def _draw(family: SupervisedFamily, tasks: Tasks, address: Address) -> tuple[Shots, Shots]:
    """Draw support and query of each task, from a generator of its own: they do not depend on which other
    tasks are drawn with it. The meta-batch of a training iteration is drawn as one: a generator for each of
    its tasks would take a tenth of a small iteration's time.
    """

    def rng(task: int) -> np.random.Generator:
        where = address.use, address.iteration, address.first_task + task
        return seeding.generator(address.seed, "shots", *where)

    if address.iteration:
        return sample_shots(family, tasks, rng(0))
    n = len(next(iter(tasks.values())))
    pairs = [sample_shots(family, {key: x[t : t + 1] for key, x in tasks.items()}, rng(t)) for t in range(n)]
    support, query = zip(*pairs, strict=True)
    return concat(support), concat(query)
