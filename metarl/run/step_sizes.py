"""Step sizes of several inner steps."""

import math
from collections.abc import Sequence

from metarl.core.errors import RequestError


def step_sizes(inner_lr: float | Sequence[float], steps: int) -> list[float]:
    """One step size for each of ``steps`` steps: a number serves all, the last of several the rest.

    Raises:
        RequestError: no number at all, or one that is not finite and above 0.
    """
    rates = [float(inner_lr)] if isinstance(inner_lr, (int, float)) else [float(lr) for lr in inner_lr]
    if not rates or not all(math.isfinite(lr) and lr > 0 for lr in rates):
        raise RequestError(f"inner_lr must be finite numbers above 0, got {inner_lr}")
    return [rates[min(k, len(rates) - 1)] for k in range(steps)]
