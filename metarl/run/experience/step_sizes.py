"""Step sizes of several inner steps."""

import math
from collections.abc import Sequence

from metarl.core.errors import RequestError
from metarl.run.agent.agent import Agent
from metarl.run.agent.data_kinds import EXAMPLES

# A step size for each inner step; None where the rule has learned its own.
Profile = Sequence[float | None]


def step_sizes(inner_lr: float | Sequence[float] | None, steps: int, agent: Agent) -> Profile:
    """Return one step size for each of ``steps`` inner steps.

    A number serves all of them, the last of several numbers the rest. None: the step size of training; with
    episodes for as many steps as were trained and half of it for further ones, as Finn et al. 2017 evaluate.
    (Advantages are normalised, so a gradient does not shrink as the policy improves, and a full step would
    overshoot.)

    Raises:
        RequestError: no number at all, one that is not finite and above 0, or any where the rule learned its
            step sizes.
    """
    if agent.rule.learns:
        if inner_lr is not None:
            rule = agent.config.rule
            raise RequestError(
                f"inner_lr has no meaning for rule {rule!r}, whose steps are learned; got {inner_lr}"
            )
        return [None] * steps
    if inner_lr is None:
        c = agent.config
        assert c.inner_lr is not None, "a rule that learns no step sizes has one"
        trained = steps if agent.kind is EXAMPLES else max(c.inner_steps, 1)
        return [c.inner_lr if k < trained else c.inner_lr / 2 for k in range(steps)]
    rates = [float(inner_lr)] if isinstance(inner_lr, (int, float)) else [float(lr) for lr in inner_lr]
    if not rates or not all(math.isfinite(lr) and lr > 0 for lr in rates):
        raise RequestError(f"inner_lr must be finite numbers above 0, got {inner_lr}")
    return [rates[min(k, len(rates) - 1)] for k in range(steps)]
