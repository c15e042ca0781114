"""Inner update rules. A rule sees gradients and losses of one task, never a batch."""

import dataclasses
import functools
import math
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from metarl.core.errors import RequestError
from metarl.core.lstm import blank_memory, draw_weights, lstm_step
from metarl.core.params import Params, ravel, tree_map
from metarl.core.registry import Registry


@dataclasses.dataclass(frozen=True)
class Rule:
    """One inner update.

    ``init(params, generator)`` makes the rule's own meta-parameters, ``begin(rule_params, params)`` the
    memory of a fresh adaptation, and ``step(rule_params, carry, params, grads, loss)`` returns the next
    parameters and memory. All three are pure functions of one task. A memory holds tensors only, of the same
    shapes at each step: it is split by tasks, stored, and moved between devices. What ``init`` returns is
    learned; for a rule that learns nothing it is ``{}``. ``told(rule_params)`` are numbers for the log of a
    run, such as the learned step sizes.

    ``metarl.testing.check_rule`` tests a rule against this contract.
    """

    name: str
    init: Callable[[Params, torch.Generator], Params]
    begin: Callable[[Params, Params], Any]
    step: Callable[[Params, Any, Params, Params, Tensor], tuple[Params, Any]]
    told: Callable[[Params], dict[str, Tensor]] = lambda rule_params: {}


rules: Registry[Callable[..., Rule], None] = Registry("rule", "metarl.rules", no_facts=None)


@rules.register("sgd")
def sgd(lr: float = 0.1) -> Rule:
    """Plain gradient descent, θ ← θ − α g, with a fixed step size and no memory."""
    _check_lr("sgd", lr)

    def step(
        rule_params: Params, carry: Any, params: Params, grads: Params, loss: Tensor
    ) -> tuple[Params, Any]:
        return tree_map(lambda p, g: p - lr * g, params, grads), carry

    return Rule("sgd", init=_learns_nothing, begin=_no_memory, step=step)


@rules.register("meta-sgd")
def meta_sgd(lr: float = 0.1) -> Rule:
    """Meta-SGD (Li et al. 2017): θ ← θ − α ⊙ g with a learned α for each entry of each parameter.

    α starts at ``lr`` everywhere and may change its sign, as in the paper.
    """
    _check_lr("meta-sgd", lr)

    def init(params: Params, generator: torch.Generator) -> Params:
        return tree_map(lambda p: torch.full_like(p, lr), params)

    def step(alpha: Params, carry: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
        return tree_map(lambda p, a, g: p - a * g, params, alpha, grads), carry

    def told(alpha: Params) -> dict[str, Tensor]:
        sizes = ravel(alpha)
        return {
            "step_size/mean": sizes.mean(),
            "step_size/min": sizes.min(),
            "step_size/max": sizes.max(),
            "step_size/negative": (sizes < 0).to(sizes).mean(),
        }

    return Rule("meta-sgd", init, begin=_no_memory, step=step, told=told)


class Moments(NamedTuple):
    """Adam's memory: running means of gradients and of their squares, and the number of steps so far."""

    mean: Params
    square: Params
    steps: Float[Tensor, "*task"]


@rules.register("adam")
def adam(lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Rule:
    """Adam (Kingma & Ba 2015, algorithm 1), with bias correction: θ ← θ − α m̂ / (√v̂ + ε).

    Differentiable where gradients are exactly zero too. There √v̂ has a kink; but v̂ = 0 means that all
    gradients so far were 0, hence m̂ = 0, and the update's derivative is that of −α m̂ / ε.
    """
    _check_lr("adam", lr)
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        if not 0 <= beta < 1:
            raise RequestError(f"adam needs {name} in [0, 1), not {beta}")
    if not 0 < eps < math.inf:
        raise RequestError(f"adam needs an eps above 0, not {eps}")

    def begin(rule_params: Params, params: Params) -> Moments:
        mean, square = tree_map(torch.zeros_like, params), tree_map(torch.zeros_like, params)
        return Moments(mean, square, next(iter(params.values())).new_zeros(()))

    def step(
        rule_params: Params, carry: Moments, params: Params, grads: Params, loss: Tensor
    ) -> tuple[Params, Moments]:
        steps = carry.steps + 1
        mean = tree_map(lambda m, g: beta1 * m + (1 - beta1) * g, carry.mean, grads)
        square = tree_map(lambda v, g: beta2 * v + (1 - beta2) * g * g, carry.square, grads)
        mean_share, square_share = _one_minus_power(beta1, steps), _one_minus_power(beta2, steps)

        def moved(p: Tensor, m: Tensor, v: Tensor) -> Tensor:
            seen = v > 0
            root = torch.where(seen, torch.where(seen, v / square_share, 1.0).sqrt(), 0.0)
            return p - lr * (m / mean_share) / (root + eps)

        return tree_map(moved, params, mean, square), Moments(mean, square, steps)

    return Rule("adam", init=_learns_nothing, begin=begin, step=step)


@rules.register("lstm")
def lstm(hidden: int = 20) -> Rule:
    """The LSTM meta-learner (Ravi & Larochelle 2017): θ ← f ⊙ θ − i ⊙ g with gates from a learned LSTM.

    ``hidden`` units; their weights are shared by all coordinates and learned, their state is per coordinate.
    The gradient stops at ``grads`` and ``loss`` by definition. Equations in ``metarl.core.lstm``.
    """
    if hidden < 1:
        raise RequestError(f"lstm needs at least 1 hidden unit, not {hidden}")

    def told(weights: Params) -> dict[str, Tensor]:
        return {"gate/keep": weights["b_F"].sigmoid(), "gate/move": weights["b_I"].sigmoid()}

    return Rule("lstm", functools.partial(draw_weights, hidden=hidden), blank_memory, lstm_step, told)


def only(rule: Rule, names: Collection[str]) -> Rule:
    """``rule`` on the parameters ``names`` alone; the others stay as they are and the rule never sees them.

    With the last layer's names this is the inner loop of ANIL (Raghu et al. 2020).

    Raises:
        RequestError: no name is given, or (by ``init`` and ``begin``) one is not among the parameters.
    """
    chosen = frozenset([names] if isinstance(names, str) else names)
    if not chosen:
        raise RequestError("only() needs the name of at least one parameter, none was given")

    def part(tree: Params) -> Params:
        if unknown := sorted(chosen - tree.keys()):
            raise RequestError(f"no parameter is called {', '.join(unknown)}; allowed: {', '.join(tree)}")
        return {name: x for name, x in tree.items() if name in chosen}

    def init(params: Params, generator: torch.Generator) -> Params:
        return rule.init(part(params), generator)

    def begin(rule_params: Params, params: Params) -> Any:
        return rule.begin(rule_params, part(params))

    def step(
        rule_params: Params, carry: Any, params: Params, grads: Params, loss: Tensor
    ) -> tuple[Params, Any]:
        moved, carry = rule.step(rule_params, carry, part(params), part(grads), loss)
        return {**params, **moved}, carry

    return Rule(f"{rule.name} on a part", init, begin, step, rule.told)


def _learns_nothing(params: Params, generator: torch.Generator) -> Params:
    return {}


def _no_memory(rule_params: Params, params: Params) -> tuple[()]:
    return ()


def _one_minus_power(beta: float, t: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """1 − βᵗ without cancellation: in float32 the plain form is off by 3e-5 for t = 1 and β = 0.999."""
    return -torch.expm1(t * (math.log(beta) if beta > 0 else -math.inf))


def _check_lr(rule: str, lr: float) -> None:
    if not 0 <= lr < math.inf:
        raise RequestError(f"{rule} needs a finite step size of 0 or more, not {lr}")
