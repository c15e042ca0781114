"""What a meta-learner hands to a meta-optimiser."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from metarl.core.params import Meta, Params, leaves

Vector = Float[Tensor, " size"]


class TaskData(NamedTuple):
    """What a meta-batch of tasks gave: a batch for each inner step, and one to judge the adapted parameters.

    Every leaf has the task axis first.
    """

    support: tuple[Any, ...]
    query: Any

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


class Losses(NamedTuple):
    """The meta-objective elsewhere, and the mean KL from a ``Point``'s adapted policies to those there."""

    loss: Float[Tensor, ""]
    kl: Float[Tensor, ""] | None = None


@dataclass(frozen=True)
class Problem:
    """One meta-iteration's optimisation problem, as functions of the meta-parameters.

    ``losses`` is None where the gradient is that of no function (Reptile). ``curvature(meta)`` returns
    v ↦ JᵀFJ v on raveled meta-parameters, the exact Hessian of the mean KL at ``meta``; it is None where the
    model's output is no distribution.
    """

    at: Callable[[Meta], Point]
    losses: Callable[[Meta, Point], Losses] | None = None
    curvature: Callable[[Meta], Callable[[Vector], Vector]] | None = None


MetaLearner = Callable[[TaskData], Problem]

# (parameters before each inner step and after the last, their tasks' data) -> a number a task for each name;
# its mean over the tasks becomes a metric of the iteration.
Report = Callable[[Sequence[Params], TaskData], dict[str, Float[Tensor, " task"]]]


def nothing(path: Sequence[Params], data: TaskData) -> dict[str, Float[Tensor, " task"]]:
    """The report of somebody who asks for none."""
    return {}
