"""Inner update rules. A rule sees gradients and losses of one task, never a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metarl.core.params import Params, tree_map
from metarl.core.registry import Registry


@dataclass(frozen=True)
class Rule:
    """One inner update.

    ``init(params, generator)`` makes the rule's own meta-parameters, ``begin(rule_params, params)`` the
    memory of a fresh adaptation, and ``step(rule_params, carry, params, grads, loss)`` returns the next
    parameters and memory.
    """

    name: str
    init: Callable[[Params, torch.Generator], Params]
    begin: Callable[[Params, Params], Any]
    step: Callable[[Params, Any, Params, Params, Tensor], tuple[Params, Any]]


rules: Registry[Callable[..., Rule]] = Registry("rule")


@rules.register("sgd")
def sgd(lr: float) -> Rule:
    """Plain gradient descent, θ ← θ − α g, with a fixed step size and no memory."""

    def step(
        rule_params: Params, carry: Any, params: Params, grads: Params, loss: Tensor
    ) -> tuple[Params, Any]:
        return tree_map(lambda p, g: p - lr * g, params, grads), carry

    return Rule("sgd", init=lambda params, generator: {}, begin=lambda rule_params, params: (), step=step)
