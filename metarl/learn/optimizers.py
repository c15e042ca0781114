"""Meta-optimizers: each makes a step of a ``Problem``. State is a value; ``init`` makes the first."""

import dataclasses
import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from metarl.core.errors import RequestError
from metarl.core.params import Meta, ravel, tree_map
from metarl.core.registry import Registry
from metarl.learn.problem import MetaOptimizer, Metrics, Point, Problem, State
from metarl.learn.trpo import trpo

__all__ = ["MetaOptimizer", "OptimizerFacts", "adam", "optimizers", "ppo", "sgd", "trpo"]


@dataclasses.dataclass(frozen=True)
class OptimizerFacts:
    """Facts about a meta-optimizer that a configuration needs; the defaults suit an unknown one.

    Attributes:
        needs_policy: it asks for a KL, which only a model whose output is a distribution has.
        needs_loss: it asks for the loss elsewhere than where its step begins.
        takes_critic: what it asks of a KL holds too where a part of the parameters is a value network's.
        leaves_policy: several steps on one meta-batch, which soon is that of older policies: its objective is
            to be clipped, and each policy that collected is weighed once.
    """

    needs_policy: bool = False
    needs_loss: bool = False
    takes_critic: bool = True
    leaves_policy: bool = False


optimizers: Registry[Callable[..., MetaOptimizer], OptimizerFacts] = Registry(
    "meta-optimizer", "metarl.optimizers", no_facts=OptimizerFacts()
)


optimizers.register("trpo", OptimizerFacts(needs_policy=True, needs_loss=True, takes_critic=False))(trpo)


@optimizers.register("sgd")
def sgd(lr: float, max_norm: float = math.inf) -> MetaOptimizer:
    """Descend along the meta-gradient by a fixed step size: θ ← θ − lr · g.

    Args:
        lr: the step size.
        max_norm: the Euclidean norm over all entries to which longer gradients are scaled down.

    Example:
        >>> import torch
        >>> from metarl.core.params import Meta
        >>> from metarl.learn.optimizers import sgd
        >>> from metarl.learn.problem import Point, Problem
        >>> bowl = Problem(lambda meta: Point(meta.model["x"] ** 2, Meta({"x": 2 * meta.model["x"]}, {}), {}))
        >>> optimizer, meta = sgd(lr=0.25), Meta({"x": torch.tensor(1.0)}, {})
        >>> meta, state, metrics = optimizer.step(bowl, meta, optimizer.init(meta))
        >>> meta.model, metrics
        ({'x': tensor(0.5000)}, {'loss': 1.0, 'grad_norm': 2.0})
    """

    def step(problem: Problem, meta: Meta, state: State) -> tuple[Meta, State, Metrics]:
        point = problem.at(meta)
        new = tree_map(lambda x, g: x - lr * g, meta, limited(point.grad, max_norm))
        return new, state, point.summary() | _moved(problem, point, new)

    return MetaOptimizer(lambda meta: {}, step)


@optimizers.register("adam")
def adam(
    lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, max_norm: float = math.inf
) -> MetaOptimizer:
    """Descend along the meta-gradient by Adam (Kingma & Ba 2015, algorithm 1): θ ← θ − lr · m̂ / (√v̂ + ε).

    Args:
        lr: the step size: how far an entry moves while its gradients keep their sign.
        beta1: decay of the mean of gradients, m.
        beta2: decay of the mean of their squares, v.
        eps: what bounds the step where gradients are small.
        max_norm: the Euclidean norm over all entries to which longer gradients are scaled down.

    Example:
        >>> import torch
        >>> from metarl.core.params import Meta
        >>> from metarl.learn.optimizers import adam
        >>> from metarl.learn.problem import Point, Problem
        >>> bowl = Problem(lambda meta: Point(meta.model["x"] ** 2, Meta({"x": 2 * meta.model["x"]}, {}), {}))
        >>> optimizer, meta = adam(lr=0.25), Meta({"x": torch.tensor(1.0)}, {})
        >>> state = optimizer.init(meta)
        >>> for _ in range(3):
        ...     meta, state, metrics = optimizer.step(bowl, meta, state)
        ...     print(f"{meta.model['x']:.3f}")
        0.750
        0.504
        0.268
    """

    def step(problem: Problem, meta: Meta, state: State) -> tuple[Meta, State, Metrics]:
        point = problem.at(meta)
        new, state = update(meta, limited(point.grad, max_norm), state)
        return new, state, point.summary() | _moved(problem, point, new)

    update = _adam_update(lr, beta1, beta2, eps)
    return MetaOptimizer(_moments, step)


def _moments(meta: Meta) -> State:
    zeros = tree_map(torch.zeros_like, meta)
    return {"mean": zeros, "square": zeros, "count": torch.zeros((), dtype=torch.float64)}


def _adam_update(
    lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> Callable[[Meta, Meta, State], tuple[Meta, State]]:
    """Return a function of meta-parameters, gradient and moments that returns the next ones and moments.

    Not the inner rule's update: that one has a derivative everywhere, and counts in float32, for which it
    works out its bias correction otherwise; the bits differ.
    """

    def update(meta: Meta, grad: Meta, state: State) -> tuple[Meta, State]:
        count = state["count"] + 1
        mean = tree_map(lambda m, g: beta1 * m + (1 - beta1) * g, state["mean"], grad)
        square = tree_map(lambda s, g: beta2 * s + (1 - beta2) * g * g, state["square"], grad)
        mean_scale, square_scale = 1 - beta1 ** int(count), 1 - beta2 ** int(count)

        def moved(x: Tensor, m: Tensor, s: Tensor) -> Tensor:
            scaled: Tensor = (m / mean_scale) / ((s / square_scale).sqrt() + eps)
            return x - lr * scaled

        return tree_map(moved, meta, mean, square), {"mean": mean, "square": square, "count": count}

    return update


@optimizers.register("ppo", OptimizerFacts(needs_policy=True, needs_loss=True, leaves_policy=True))
def ppo(
    lr: float,
    epochs: int = 5,
    kl_coefficient: float = 5e-4,
    kl_target: float = 0.01,
    max_norm: float = math.inf,
) -> MetaOptimizer:
    """Take several steps of Adam on one meta-batch (ProMP, Rothfuss et al. 2019, algorithm 1).

    The learner's objective is to be clipped (``objectives.clipped``), since the query batch soon is that of
    older policies. The support batches are so too: a penalty on the KL from the policies that collected them
    keeps those near. Its coefficient adapts as in Schulman et al. 2017, section 4, within a factor of
    ``FREEDOM`` of the first (else it would be lost where the KL is small for long): after each meta-iteration
    it is halved where that KL is under ``kl_target`` / 1.5 and doubled where it is above 1.5 times the
    target.

    Args:
        lr: Adam's step size.
        epochs: steps on a meta-batch.
        kl_coefficient: what the penalty starts with, per nat.
        kl_target: the KL that the coefficient aims at, in nats.
        max_norm: the Euclidean norm over all entries to which longer gradients are scaled down.

    Raises:
        RequestError: (the step) the problem has no ``sampling``.

    Example:
        The problem is that of ``maml`` with a trust region:

        >>> from metarl.core.models import MLP, policy
        >>> from metarl.core.objectives import clipped, lvc
        >>> from metarl.core.rules import sgd
        >>> from metarl.learn.adapt import adapt
        >>> from metarl.learn.chunks import Chunking
        >>> from metarl.learn.maml import maml
        >>> from metarl.learn.optimizers import ppo
        >>> from metarl.learn.trust_region import TrustRegion
        >>> apply = policy(MLP(inputs=2, hidden=(8,), outputs=3))
        >>> adaptation, region = adapt(apply, lvc, sgd(lr=0.1)), TrustRegion(apply)
        >>> learner = maml(apply, adaptation, clipped(0.3), Chunking(10), trust_region=region)
        >>> optimizer = ppo(lr=1e-3, epochs=5)  # then: optimizer.step(learner(data), meta, state)
    """
    update = _adam_update(lr)

    def init(meta: Meta) -> State:
        return _moments(meta) | {"kl_coefficient": torch.tensor(kl_coefficient, dtype=torch.float64)}

    def step(problem: Problem, meta: Meta, state: State) -> tuple[Meta, State, Metrics]:
        if problem.sampling is None:
            raise RequestError(
                "meta-optimizer 'ppo' needs policies and a loss, which this problem lacks; use adam"
            )
        coefficient, moments = state["kl_coefficient"], {k: v for k, v in state.items() if k in _MOMENTS}
        reference = problem.sampling.policies(meta)
        points = []
        for _ in range(epochs):
            points.append(problem.sampling.penalised(meta, reference, float(coefficient)))
            meta, moments = update(meta, limited(points[-1].grad, max_norm), moments)
        kl = problem.sampling.kl(meta, reference)
        if kl < kl_target / 1.5:
            after = torch.clamp(coefficient / 2, min=kl_coefficient / FREEDOM)
        elif kl > 1.5 * kl_target:
            after = torch.clamp(coefficient * 2, max=kl_coefficient * FREEDOM)
        else:
            after = coefficient
        metrics = points[0].summary() | {"sampling_kl": kl, "kl_coefficient": float(coefficient)}
        return meta, moments | {"kl_coefficient": after}, metrics | _moved(problem, points[0], meta)

    return MetaOptimizer(init, step)


_MOMENTS = ("mean", "square", "count")
FREEDOM = 64.0


def limited(grad: Meta, max_norm: float) -> Meta:
    """Return the gradient, scaled down where its Euclidean norm over all entries is above ``max_norm``."""
    if math.isinf(max_norm):
        return grad
    norm = ravel(grad).norm()
    return tree_map(lambda g: g * torch.clamp(max_norm / norm, max=1.0), grad)


def _moved(problem: Problem, point: Point, new: Meta) -> Metrics:
    """Return how far a step has moved the adapted policies, if there are some, and the loss's improvement."""
    if problem.kl is not None:
        return {"kl": float(problem.kl(new, point))}
    if problem.curvature is None or problem.losses is None:
        return {}
    losses = problem.losses(new, point)
    return {"improvement": float(point.loss - losses.loss), "kl": float(cast(Tensor, losses.kl))}
