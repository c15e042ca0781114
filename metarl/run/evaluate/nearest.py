"""The baseline that learns nothing: the label of the nearest support example, pixel by pixel."""

import dataclasses
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from metarl.core.batch import Shots
from metarl.core.errors import RequestError
from metarl.learn.problem import TaskData
from metarl.run.agent.agent import Agent
from metarl.run.evaluate.baselines import Baseline, Trial
from metarl.run.evaluate.protocol import Protocol, result, sources
from metarl.run.experience.gather import Experience
from metarl.run.train.run_state import RunState


def nearest_label(support: Shots, x: Tensor) -> Int[Tensor, "task shot"]:
    """Return the label of the support example with the smallest Euclidean distance to each of ``x``."""
    distance = torch.cdist(x.flatten(2), support.x.flatten(2))
    return support.y.gather(1, distance.argmin(-1))


def check_classification(run: RunState | None, agent: Agent) -> None:
    """Refuse a family that has no labels to look up."""
    if agent.metric != "accuracy":
        name = agent.family.name
        raise RequestError(f"baseline 'nearest' needs a family of classification, {name!r} is none")


def measure_nearest(agent: Agent, protocol: Protocol) -> Experience:
    """Return its accuracy on the very examples that agents are measured on, whatever the number of steps."""
    # Of the support set all examples, whatever the mini-batches of an inner step.
    agent = dataclasses.replace(agent, config=agent.config.replace(inner_batch=None))
    blocks = []
    for source in sources(agent, protocol, None):
        support, query = source.support({}, 0), source.query({}, 0).batch
        blocks.append((nearest_label(support, query.x) == query.y).float().mean(1))
    values = torch.cat(blocks).cpu().expand(protocol.steps + 1, -1)
    return Experience(TaskData((), ()), {agent.metric: values}, {}, (), 0)


def _measure(begun: None, trial: Trial) -> dict[str, Any]:
    return result(measure_nearest(trial.agent, trial.protocol), [], trial.protocol)


nearest = Baseline(
    "the label of the nearest support image, pixel by pixel; it learns nothing",
    _measure,
    check_classification,
)
