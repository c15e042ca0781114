"""The problem that a meta-learner hands to a meta-optimizer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from metarl.core.params import Meta, Params, leaves, ravel, tree_map

Vector = Float[Tensor, " size"]


class TaskData(NamedTuple):
    """The batches of a meta-batch of tasks; every leaf has the task axis first.

    Attributes:
        support: a batch for each inner step.
        query: the batch that judges the adapted parameters.
        credit: how much better than the other tasks' the query of each task turned out, per step and in the
            unit of its advantages (``core.returns.credit``), "task"; ``()``, an empty tree, for none.
    """

    support: tuple[Any, ...]
    query: Any
    credit: Any = ()

    @property
    def tasks(self) -> int:
        """The number of tasks."""
        return len(leaves(self.query)[0])


class Point(NamedTuple):
    """The meta-parameters where a step starts.

    Attributes:
        loss: the meta-objective there.
        grad: its gradient, or what stands in its place.
        metrics: further numbers of the iteration.
        policies: the adapted policies' outputs there, the reference of every later KL; None where the model's
            output is no distribution.
    """

    loss: Float[Tensor, ""]
    grad: Meta
    metrics: dict[str, float]
    policies: Any = None

    def summary(self) -> dict[str, float]:
        """Return the metrics, with the loss and the Euclidean norm of the gradient."""
        return {"loss": float(self.loss), "grad_norm": float(ravel(self.grad).norm())} | self.metrics


def mean_and_variance(grads: Meta) -> tuple[Meta, float]:
    """Return the mean over tasks of gradients (task axis first), summed in the tasks' order, and how much
    they differ from task to task: E‖g − ḡ‖², summed over all entries.
    """
    tasks = len(leaves(grads)[0])
    mean = tree_map(lambda g: g.sum(0) / tasks, grads)
    variances = [(g - m).square().sum() / tasks for g, m in zip(leaves(grads), leaves(mean), strict=True)]
    return mean, float(torch.stack(variances).sum())


class Losses(NamedTuple):
    """The meta-objective elsewhere, and the mean KL from a ``Point``'s adapted policies to those there."""

    loss: Float[Tensor, ""]
    kl: Float[Tensor, ""] | None = None


class Sampling(NamedTuple):
    """The policies that collected the support batches, for steps that must not lead far from them.

    Attributes:
        policies: ``policies(meta)`` returns their outputs where the batches were collected, as a reference.
        kl: ``kl(meta, reference)`` returns the mean over tasks and inner steps of KL(reference ‖ those at
            ``meta``), in nats.
        penalised: ``penalised(meta, reference, c)`` returns the point of the loss plus c times that KL, with
            the KL among its metrics as ``sampling_kl``.
    """

    policies: Callable[[Meta], Any]
    kl: Callable[[Meta, Any], float]
    penalised: Callable[[Meta, Any, float], Point]


@dataclass(frozen=True)
class Problem:
    """One meta-iteration's optimisation problem, as functions of the meta-parameters.

    Attributes:
        at: ``at(meta)`` returns the point where a step starts.
        losses: ``losses(meta, point)`` returns the loss and the KL elsewhere; None where the gradient is that
            of no function (Reptile).
        curvature: ``curvature(meta)`` returns v ↦ JᵀFJ v on raveled meta-parameters, the exact Hessian of the
            mean KL at ``meta``; None where the model's output is no distribution.
        sampling: the policies that collected the support; None likewise.
        kl: ``kl(meta, point)`` returns how far a step has moved the adapted policies of a point, in nats,
            where ``losses`` is None.
    """

    at: Callable[[Meta], Point]
    losses: Callable[[Meta, Point], Losses] | None = None
    curvature: Callable[[Meta], Callable[[Vector], Vector]] | None = None
    sampling: Sampling | None = None
    kl: Callable[[Meta, Point], Float[Tensor, ""]] | None = None


MetaLearner = Callable[[TaskData], Problem]
State = dict[str, Any]
Metrics = dict[str, float]


class MetaOptimizer(NamedTuple):
    """Two pure functions; a state is a dict of trees of tensors, empty where there is nothing to remember.

    A factory of optimizers takes its options by name: a configuration hands it those that its signature has
    (``lr`` is ``meta_lr``, ``max_norm`` is ``max_grad_norm``, ``epochs`` is ``meta_epochs``).

    Attributes:
        init: ``init(meta)`` returns the first state.
        step: ``step(problem, meta, state)`` returns the next meta-parameters and state, and metrics.
    """

    init: Callable[[Meta], State]
    step: Callable[[Problem, Meta, State], tuple[Meta, State, Metrics]]


# (parameters before each inner step and after the last, their tasks' data) -> a number a task for each name;
# its mean over the tasks becomes a metric of the iteration.
Report = Callable[[Sequence[Params], TaskData], dict[str, Float[Tensor, " task"]]]


def nothing(path: Sequence[Params], data: TaskData) -> dict[str, Float[Tensor, " task"]]:
    """Report nothing."""
    return {}
