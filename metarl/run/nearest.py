"""The baseline that learns nothing: the label of the nearest support example, pixel by pixel."""

import dataclasses

import torch
from jaxtyping import Int
from torch import Tensor

from metarl.core.batch import Shots
from metarl.core.errors import RequestError
from metarl.learn.problem import TaskData
from metarl.run.agent import Agent
from metarl.run.experience import Experience
from metarl.run.protocol import Protocol, sources
from metarl.run.worlds import world_of


def nearest_label(support: Shots, x: Tensor) -> Int[Tensor, "task shot"]:
    """Label of the support example with the smallest Euclidean distance to each of ``x``."""
    distance = torch.cdist(x.flatten(2), support.x.flatten(2))
    return support.y.gather(1, distance.argmin(-1))


def check_classification(agent: Agent) -> None:
    """Refuses a family that has no labels to look up."""
    if agent.metric != "accuracy":
        raise RequestError(
            f"baseline 'nearest' needs a family of classification, {agent.family.name!r} is none"
        )


def measure_nearest(agent: Agent, protocol: Protocol) -> Experience:
    """Its accuracy on the very examples that agents are measured on; the same whatever the number of steps.

    Raises:
        RequestError: the family has no labels to look up.
    """
    check_classification(agent)
    # Of the support set all examples, whatever the mini-batches of an inner step.
    agent = dataclasses.replace(agent, config=dataclasses.replace(agent.config, inner_batch=None))
    found = []
    with world_of(agent.family).open(agent) as serve:
        for source in sources(agent, protocol, serve):
            support, query = source.support({}, 0), source.query({}, 0).batch
            found.append((nearest_label(support, query.x) == query.y).float().mean(1))
    values = torch.cat(found).cpu().expand(protocol.steps + 1, -1)
    return Experience(TaskData((), ()), values, {}, (), 0)
