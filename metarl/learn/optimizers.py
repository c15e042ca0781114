"""Meta-optimizers: how a step is made of a ``Problem``. State is a value; ``init`` makes the first."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from metarl.core.errors import RequestError
from metarl.core.params import Meta, all_finite, ravel, tree_map, unravel
from metarl.core.registry import Registry
from metarl.learn.problem import Point, Problem, Vector

State = dict[str, Any]
Metrics = dict[str, float]


class MetaOptimizer(NamedTuple):
    """``init(meta) -> state`` and ``step(problem, meta, state) -> (meta, state, metrics)``, both pure.

    ``state`` is a dict of trees of tensors, empty where there is nothing to remember.
    """

    init: Callable[[Meta], State]
    step: Callable[[Problem, Meta, State], tuple[Meta, State, Metrics]]


@dataclasses.dataclass(frozen=True)
class OptimizerFacts:
    """What a configuration needs to know of a meta-optimizer; the defaults suit an unknown one.

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


@optimizers.register("sgd")
def sgd(lr: float, max_norm: float = math.inf) -> MetaOptimizer:
    """Gradient descent on the meta-objective with a fixed step size; see ``limited`` for ``max_norm``."""

    def step(problem: Problem, meta: Meta, state: State) -> tuple[Meta, State, Metrics]:
        point = problem.at(meta)
        new = tree_map(lambda x, g: x - lr * g, meta, limited(point.grad, max_norm))
        return new, state, _metrics(point) | _moved(problem, point, new)

    return MetaOptimizer(lambda meta: {}, step)


@optimizers.register("adam")
def adam(
    lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, max_norm: float = math.inf
) -> MetaOptimizer:
    """Adam (Kingma & Ba 2015, algorithm 1); see ``limited`` for ``max_norm``."""

    def step(problem: Problem, meta: Meta, state: State) -> tuple[Meta, State, Metrics]:
        point = problem.at(meta)
        new, state = update(meta, limited(point.grad, max_norm), state)
        return new, state, _metrics(point) | _moved(problem, point, new)

    update = _adam_update(lr, beta1, beta2, eps)
    return MetaOptimizer(_moments, step)


def _moments(meta: Meta) -> State:
    zeros = tree_map(torch.zeros_like, meta)
    return {"mean": zeros, "square": zeros, "count": torch.zeros((), dtype=torch.float64)}


def _adam_update(
    lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> Callable[[Meta, Meta, State], tuple[Meta, State]]:
    """(meta, gradient, moments) -> the next meta and moments."""

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
    """Several steps of Adam on one meta-batch (ProMP, Rothfuss et al. 2019, algorithm 1).

    The learner's objective is to be clipped (``objectives.clipped``), since the query batch soon is that of
    older policies. The support batches are so too: a penalty on the KL from the policies that collected them
    keeps those near. Its coefficient adapts as in Schulman et al. 2017, section 4, within a factor of
    ``FREEDOM`` of the first (else it would be lost where the KL is small for long): after each meta-iteration
    it is halved where that KL is under ``kl_target`` / 1.5 and doubled where it is above 1.5 times the
    target.
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
        told = {"sampling_kl": kl, "kl_coefficient": float(coefficient)}
        told |= _moved(problem, points[0], meta)
        return meta, moments | {"kl_coefficient": after}, _metrics(points[0]) | told

    return MetaOptimizer(init, step)


_MOMENTS = ("mean", "square", "count")
FREEDOM = 64.0


def limited(grad: Meta, max_norm: float) -> Meta:
    """The gradient, scaled down where its Euclidean norm over all entries is above ``max_norm``."""
    if math.isinf(max_norm):
        return grad
    norm = ravel(grad).norm()
    return tree_map(lambda g: g * torch.clamp(max_norm / norm, max=1.0), grad)


_REJECTED = {"kl": 0.0, "improvement": 0.0, "line_search/accepted": 0.0, "line_search/step_fraction": 0.0}


@optimizers.register("trpo", OptimizerFacts(needs_policy=True, needs_loss=True, takes_critic=False))
def trpo(
    max_kl: float = 0.01,
    cg_iterations: int = 10,
    cg_damping: float = 1e-5,
    backtrack_ratio: float = 0.8,
    max_backtracks: int = 15,
) -> MetaOptimizer:
    """Trust-region step (Schulman et al. 2015, appendix C) on the meta-parameters.

    The direction solves (JᵀFJ + damping) s = g by conjugate gradients; its length would reach ``max_kl`` if
    the KL were quadratic; it is shortened by ``backtrack_ratio`` until the surrogate improves and the mean KL
    is at most ``max_kl``. Where no length does, or anything is not finite, the parameters stay.
    """

    def step(problem: Problem, meta: Meta, state: State) -> tuple[Meta, State, Metrics]:
        if problem.curvature is None or problem.losses is None:
            raise RequestError(
                "meta-optimizer 'trpo' needs a loss and a policy's KL, which this problem lacks; use adam"
            )
        point = problem.at(meta)
        gradient, start = ravel(point.grad), ravel(meta)
        if not all_finite((point.loss, gradient)):
            return meta, state, _metrics(point) | _REJECTED
        direction, product = conjugate_gradient(
            _damped(problem.curvature(meta), cg_damping), gradient, cg_iterations
        )
        full = direction * math.sqrt(2 * max_kl / max(float(direction @ product), 1e-30))
        fraction = 1.0
        for _ in range(max_backtracks + 1):
            candidate = unravel(start - fraction * full, meta)
            new = problem.losses(candidate, point)
            assert new.kl is not None, "a problem with curvature has a KL"
            if bool(new.loss < point.loss) and float(new.kl) <= max_kl and all_finite(candidate):
                return (
                    candidate,
                    state,
                    _metrics(point)
                    | {
                        "kl": float(new.kl),
                        "improvement": float(point.loss - new.loss),
                        "line_search/accepted": 1.0,
                        "line_search/step_fraction": fraction,
                    },
                )
            fraction *= backtrack_ratio
        return meta, state, _metrics(point) | _REJECTED

    return MetaOptimizer(lambda meta: {}, step)


def _damped(product: Callable[[Vector], Vector], damping: float) -> Callable[[Vector], Vector]:
    """The product with A + damping · 1, from that with A."""
    return lambda v: product(v) + damping * v


def conjugate_gradient(
    product: Callable[[Vector], Vector], b: Vector, iterations: int, tolerance: float = 1e-10
) -> tuple[Vector, Vector]:
    """Approximate solution x of A x = b for a symmetric positive A given as a product, and A x.

    A x is b minus the residual, so it costs no product of its own. Stops early when the squared residual
    is under ``tolerance``, or where A is not positive. Residuals are orthogonal in exact arithmetic;
    here each is made so, twice, against all before it: in float32 they would not stay so for ten steps, and
    rounding alone would decide a quarter of x.
    """
    x, residual = torch.zeros_like(b), b.clone()
    search, rr = residual.clone(), float(residual @ residual)
    seen = residual.new_zeros(0, len(b))
    for _ in range(iterations):
        if not rr > tolerance:
            break
        a_search = product(search)
        curvature = float(search @ a_search)
        if not curvature > 0:
            break
        alpha = rr / curvature
        x = x + alpha * search
        seen = torch.cat([seen, residual[None] / math.sqrt(rr)])
        residual = residual - alpha * a_search
        for _ in range(2):
            residual = residual - (seen @ residual) @ seen
        rr, previous = float(residual @ residual), rr
        search = residual + (rr / previous) * search
    return x, b - residual


def _moved(problem: Problem, point: Point, new: Meta) -> Metrics:
    """How far a step has moved the adapted policies, where there are some, and what it made of the loss."""
    if problem.kl is not None:
        return {"kl": float(problem.kl(new, point))}
    if problem.curvature is None or problem.losses is None:
        return {}
    found = problem.losses(new, point)
    return {"improvement": float(point.loss - found.loss), "kl": float(cast(Tensor, found.kl))}


def _metrics(point: Point) -> Metrics:
    norm = float(ravel(point.grad).norm())
    return {"loss": float(point.loss), "grad_norm": norm} | point.metrics
