"""What a meta-learner hands to a meta-optimiser."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from metarl.core.params import Meta

Vector = Float[Tensor, " size"]


class Point(NamedTuple):
    """What is known at the meta-parameters where a step starts.

    ``policies`` are the adapted policies' outputs there, the reference of every later KL (None where the
    model's output is no distribution).
    """

    loss: Float[Tensor, ""]
    grad: Meta
    policies: Any
    metrics: dict[str, float]


class Losses(NamedTuple):
    """The meta-objective elsewhere, and the mean KL from a ``Point``'s adapted policies to those there."""

    loss: Float[Tensor, ""]
    kl: Float[Tensor, ""] | None


@dataclass(frozen=True)
class Problem:
    """One meta-iteration's optimisation problem, as functions of the meta-parameters.

    ``curvature(meta)`` returns v ↦ JᵀFJ v on raveled meta-parameters, the exact Hessian of the mean KL at
    ``meta``; it is None where the model's output is no distribution.
    """

    at: Callable[[Meta], Point]
    losses: Callable[[Meta, Point], Losses]
    curvature: Callable[[Meta], Callable[[Vector], Vector]] | None
