"""Trust-region steps (TRPO, Schulman et al. 2015) by conjugate gradients."""

import math
from collections.abc import Callable

import torch

from metarl.core.errors import RequestError
from metarl.core.params import Meta, all_finite, ravel, unravel
from metarl.learn.problem import MetaOptimizer, Metrics, Problem, State, Vector


def trpo(
    max_kl: float = 0.01,
    cg_iterations: int = 10,
    cg_damping: float = 1e-5,
    backtrack_ratio: float = 0.8,
    max_backtracks: int = 15,
) -> MetaOptimizer:
    """Take the longest good step within a trust region (TRPO, Schulman et al. 2015, appendix C).

    The direction solves (JᵀFJ + damping) s = g by conjugate gradients; its length would reach ``max_kl`` if
    the KL were quadratic; it is shortened by ``backtrack_ratio`` until the surrogate improves and the mean KL
    is at most ``max_kl``. Where no length does, or anything is not finite, the parameters stay.

    Args:
        max_kl: the mean KL from the adapted policies before the step to those after it, in nats.
        cg_iterations: of conjugate gradients, each a product with the curvature.
        cg_damping: what is added to the diagonal of the curvature.
        backtrack_ratio: of a step's length to the one tried before it.
        max_backtracks: how often it is shortened.

    Raises:
        RequestError: (the step) the problem has no loss elsewhere or no curvature.

    Example:
        A problem whose policy is one normal distribution of mean x, for which the KL is (x − x₀)² / 2:

        >>> import torch
        >>> from metarl.core.params import Meta
        >>> from metarl.learn.optimizers import trpo
        >>> from metarl.learn.problem import Losses, Point, Problem
        >>> up = Meta({"x": torch.tensor(1.0)}, {})
        >>> problem = Problem(
        ...     at=lambda meta: Point(meta.model["x"], up, metrics={}, policies=meta.model["x"]),
        ...     losses=lambda meta, point: Losses(
        ...         meta.model["x"], kl=(meta.model["x"] - point.policies) ** 2 / 2
        ...     ),
        ...     curvature=lambda meta: lambda v: v,
        ... )
        >>> optimizer, meta = trpo(max_kl=0.02), Meta({"x": torch.tensor(0.0)}, {})
        >>> meta, state, metrics = optimizer.step(problem, meta, optimizer.init(meta))
        >>> f"{meta.model['x']:.4f} {metrics['kl']:.4f}"
        '-0.2000 0.0200'
    """

    def step(problem: Problem, meta: Meta, state: State) -> tuple[Meta, State, Metrics]:
        if problem.curvature is None or problem.losses is None:
            raise RequestError(
                "meta-optimizer 'trpo' needs a loss and a policy's KL, which this problem lacks; use adam"
            )
        point = problem.at(meta)
        gradient, start = ravel(point.grad), ravel(meta)
        rejected = point.summary() | _line_search(kl=0.0, improvement=0.0, fraction=0.0)
        if not all_finite((point.loss, gradient)):
            return meta, state, rejected
        curvature = problem.curvature(meta)
        direction, product = conjugate_gradient(
            lambda v: curvature(v) + cg_damping * v, gradient, cg_iterations
        )
        full = direction * math.sqrt(2 * max_kl / max(float(direction @ product), 1e-30))
        fraction = 1.0
        for _ in range(max_backtracks + 1):
            candidate = unravel(start - fraction * full, meta)
            new = problem.losses(candidate, point)
            assert new.kl is not None, "a problem with curvature has a KL"
            kl = float(new.kl)
            if bool(new.loss < point.loss) and kl <= max_kl and all_finite(candidate):
                improvement = float(point.loss - new.loss)
                return candidate, state, point.summary() | _line_search(kl, improvement, fraction)
            fraction *= backtrack_ratio
        return meta, state, rejected

    return MetaOptimizer(lambda meta: {}, step)


def _line_search(kl: float, improvement: float, fraction: float) -> Metrics:
    return {
        "kl": kl,
        "improvement": improvement,
        "line_search/accepted": float(fraction > 0),
        "line_search/step_fraction": fraction,
    }


def conjugate_gradient(
    product: Callable[[Vector], Vector], b: Vector, iterations: int, tolerance: float = 1e-10
) -> tuple[Vector, Vector]:
    """Solve A x = b approximately (Hestenes & Stiefel 1952).

    Residuals are orthogonal in exact arithmetic; here each is made so, twice, against all before it: in
    float32 they would not stay so for ten steps, and rounding alone would decide a quarter of x.

    Args:
        product: ``product(v)`` returns A v, for a symmetric positive A.
        b: the right-hand side, "size".
        iterations: products at most, one each. It stops early where A is not positive.
        tolerance: of the squared residual, under which it stops early.

    Returns:
        x and A x. The latter is b minus the residual, so it costs no product of its own.

    Example:
        >>> import torch
        >>> from metarl.learn.trpo import conjugate_gradient
        >>> diagonal = torch.tensor([1.0, 2.0, 4.0])
        >>> x, product = conjugate_gradient(lambda v: diagonal * v, torch.ones(3), iterations=3)
        >>> [round(float(entry), 4) for entry in x]
        [1.0, 0.5, 0.25]
    """
    x, residual = torch.zeros_like(b), b.clone()
    search, rr = residual.clone(), float(residual @ residual)
    basis = residual.new_zeros(0, len(b))
    for _ in range(iterations):
        if not rr > tolerance:
            break
        a_search = product(search)
        curvature = float(search @ a_search)
        if not curvature > 0:
            break
        alpha = rr / curvature
        x = x + alpha * search
        basis = torch.cat([basis, residual[None] / math.sqrt(rr)])
        residual = residual - alpha * a_search
        for _ in range(2):
            residual = residual - (basis @ residual) @ basis
        rr, previous = float(residual @ residual), rr
        search = residual + (rr / previous) * search
    return x, b - residual
