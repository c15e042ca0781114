"""What a meta-learner hands to a meta-optimizer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from metarl.core.params import Meta, Params, leaves, tree_map

Vector = Float[Tensor, " size"]


class TaskData(NamedTuple):
    """What a meta-batch of tasks gave: a batch for each inner step, and one to judge the adapted parameters.

    Every leaf has the task axis first. ``credit`` says how much better than the other tasks' the query of
    each task turned out, per step and in the unit of its advantages (``core.returns.credit``); episodes have
    it.
    """

    support: tuple[Any, ...]
    query: Any
    credit: Any = ()

    @property
    def tasks(self) -> int:
        """How many tasks."""
        return len(leaves(self.query)[0])


class Point(NamedTuple):
    """What is known at the meta-parameters where a step starts.

    ``policies`` are the adapted policies' outputs there, the reference of every later KL (or ``()``).
    """

    loss: Float[Tensor, ""]
    grad: Meta
    policies: Any
    metrics: dict[str, float]


def mean_and_variance(grads: Meta) -> tuple[Meta, float]:
    """The mean over tasks of gradients with the task axis first, summed in the tasks' order, and how much
    they differ from task to task: E‖g − ḡ‖², summed over all entries.
    """
    tasks = len(leaves(grads)[0])
    mean = tree_map(lambda g: g.sum(0) / tasks, grads)
    apart = [(g - m).square().sum() / tasks for g, m in zip(leaves(grads), leaves(mean), strict=True)]
    return mean, float(torch.stack(apart).sum())


class Losses(NamedTuple):
    """The meta-objective elsewhere, and the mean KL from a ``Point``'s adapted policies to those there."""

    loss: Float[Tensor, ""]
    kl: Float[Tensor, ""] | None = None


class Sampling(NamedTuple):
    """The policies that collected the support batches, for steps that must not lead far from them.

    ``policies(meta)`` are their outputs where the batches were collected; ``kl(meta, reference)`` is the mean
    over tasks and inner steps of KL(reference ‖ those at ``meta``), in nats; ``penalised(meta, reference,
    c)`` is the point of the loss plus c times that KL, with the KL among its metrics as ``sampling_kl``.
    """

    policies: Callable[[Meta], Any]
    kl: Callable[[Meta, Any], float]
    penalised: Callable[[Meta, Any, float], Point]


@dataclass(frozen=True)
class Problem:
    """One meta-iteration's optimisation problem, as functions of the meta-parameters.

    ``losses`` is None where the gradient is that of no function (Reptile); there ``kl`` alone tells how far a
    step has moved the adapted policies of a ``Point``. ``curvature(meta)`` returns
    v ↦ JᵀFJ v on raveled meta-parameters, the exact Hessian of the mean KL at ``meta``; it and ``sampling``
    are None where the model's output is no distribution.
    """

    at: Callable[[Meta], Point]
    losses: Callable[[Meta, Point], Losses] | None = None
    curvature: Callable[[Meta], Callable[[Vector], Vector]] | None = None
    sampling: Sampling | None = None
    kl: Callable[[Meta, Point], Float[Tensor, ""]] | None = None


MetaLearner = Callable[[TaskData], Problem]

# (parameters before each inner step and after the last, their tasks' data) -> a number a task for each name;
# its mean over the tasks becomes a metric of the iteration.
Report = Callable[[Sequence[Params], TaskData], dict[str, Float[Tensor, " task"]]]


def nothing(path: Sequence[Params], data: TaskData) -> dict[str, Float[Tensor, " task"]]:
    """The report of somebody who asks for none."""
    return {}
