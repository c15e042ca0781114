"""An inner rule of one's own: gradient descent with a learned step size for every tensor."""

import math
from typing import Any

import torch
from functional import main as meta_train
from torch import Tensor

from metarl.core.params import Meta, Params
from metarl.core.rules import Rule


def learned_rates(lr: float) -> Rule:
    """θᵢ ← θᵢ − exp(ρᵢ) gᵢ, where ρ starts at log ``lr`` and is meta-learned beside the initialisation.

    After Li et al. 2017 ("Meta-SGD"), who learn a rate for every entry of a tensor.
    """

    def init(params: Params, generator: torch.Generator) -> Params:
        return {name: torch.tensor(math.log(lr)) for name in params}

    def step(rule: Params, carry: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
        return {name: p - rule[name].exp() * grads[name] for name, p in params.items()}, carry

    return Rule("learned-rates", step=step, init=init)


def main(iterations: int = 50, **sizes: int) -> Meta:
    """Meta-train with it and print the step sizes that were learned."""
    meta = meta_train(iterations, rule=learned_rates(0.1), **sizes)
    for name, log_rate in meta.rule.items():
        print(f"{name}: {float(log_rate.exp()):.3f}")
    return meta


if __name__ == "__main__":
    main()
