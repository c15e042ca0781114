"""Predictions on the query set along adaptation, by each way to normalise at evaluation."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.func import vmap

from metarl.core.batch import Shots
from metarl.core.conv import Normalised, observe, predict_alone
from metarl.core.params import Params
from metarl.learn.problem import TaskData
from metarl.run.agent.agent import Agent

Path = Sequence[Params]


def predictions(agent: Agent, path: Path, data: TaskData, support: Shots) -> Iterator[Tensor]:
    """Outputs "task shot …" on the query set with each of ``path``, the parameters before each inner step and
    after the last. ``statistics`` of the configuration says what a network with batch normalisation uses;
    ``support`` is the whole support set, which the inner steps may read in mini-batches or not at all.
    """
    way = agent.config.statistics if isinstance(agent.module, Normalised) else "batch"
    with torch.no_grad():
        yield from _WAYS[way](agent, path, data, support)


def _batch(agent: Agent, path: Path, data: TaskData, support: Shots) -> Iterator[Tensor]:
    for params in path:
        yield agent.apply_tasks(params, data.query.x)


def _alone(agent: Agent, path: Path, data: TaskData, support: Shots) -> Iterator[Tensor]:
    for params in path:
        yield vmap(partial(predict_alone, agent.apply))(params, support.x, data.query.x)


def _running(agent: Agent, path: Path, data: TaskData, support: Shots) -> Iterator[Tensor]:
    """Before the first step the support set is looked at once; after k steps, k times."""
    module = agent.module
    assert isinstance(module, Normalised), "asked before"
    watch, predict = vmap(partial(observe, module)), vmap(module.predict)
    first = data.support[0] if data.support else support
    running = watch(vmap(module.fresh_statistics)(path[0]), path[0], first.x)
    for k, params in enumerate(path):
        if k > 1:
            running = watch(running, path[k - 1], data.support[k - 1].x)
        yield predict(params, data.query.x, running)


_WAYS: dict[str, Callable[[Agent, Path, TaskData, Shots], Iterator[Tensor]]] = {
    "batch": _batch,
    "alone": _alone,
    "running": _running,
}
