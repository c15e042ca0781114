"""Step sizes of several inner steps."""

import math
from collections.abc import Sequence

from metarl.core.errors import RequestError
from metarl.run.config import TrainConfig


def step_sizes(inner_lr: float | Sequence[float] | None, steps: int, config: TrainConfig) -> list[float]:
    """One step size for each of ``steps`` inner steps.

    A number serves all of them, the last of several numbers the rest. None: the step size of training for as
    many steps as were trained, half of it for further ones, as Finn et al. 2017 evaluate. (Advantages are
    normalised, so a gradient does not shrink as the policy improves, and a full step would overshoot.)

    Raises:
        RequestError: no number at all, or one that is not finite and above 0.
    """
    if inner_lr is None:
        trained = max(config.inner_steps, 1)
        return [config.inner_lr if k < trained else config.inner_lr / 2 for k in range(steps)]
    rates = [float(inner_lr)] if isinstance(inner_lr, (int, float)) else [float(lr) for lr in inner_lr]
    if not rates or not all(math.isfinite(lr) and lr > 0 for lr in rates):
        raise RequestError(f"inner_lr must be finite numbers above 0, got {inner_lr}")
    return [rates[min(k, len(rates) - 1)] for k in range(steps)]
