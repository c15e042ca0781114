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


def learns_nothing(params: Params, generator: torch.Generator) -> Params:
    """Return no meta-parameters: the ``init`` of a rule that learns nothing."""
    return {}


def no_memory(rule_params: Params, params: Params) -> tuple[()]:
    """Return no memory: the ``begin`` of a rule that remembers nothing."""
    return ()


@dataclasses.dataclass(frozen=True)
class Rule:
    """One inner update: pure functions of one task, which ``metarl.testing.check_rule`` tests.

    Attributes:
        name: for messages.
        step: ``step(rule_params, carry, params, grads, loss)`` returns the next parameters and memory.
        begin: ``begin(rule_params, params)`` returns the memory of a fresh adaptation: tensors only, of the
            same shapes at each step, since it is split by tasks, stored, and moved between devices.
        init: ``init(params, generator)`` draws the rule's own meta-parameters, which are learned. A rule that
            learns nothing leaves it out.
        metrics: ``metrics(rule_params)`` returns numbers for the log of a run, such as learned step sizes.
    """

    name: str
    _: dataclasses.KW_ONLY
    step: Callable[[Params, Any, Params, Params, Tensor], tuple[Params, Any]]
    begin: Callable[[Params, Params], Any] = no_memory
    init: Callable[[Params, torch.Generator], Params] = learns_nothing
    metrics: Callable[[Params], dict[str, Tensor]] = lambda rule_params: {}

    @property
    def learns(self) -> bool:
        """Return whether the rule has meta-parameters of its own."""
        return self.init is not learns_nothing


@dataclasses.dataclass(frozen=True)
class RuleFacts:
    """Facts about a rule that a configuration needs; the defaults suit one of which nothing is known.

    Attributes:
        first_order: it lets no derivative through its gradients, whatever the order of the adaptation.
        gradient_descent: its step size multiplies the gradient, so that one that suits a family suits it.
        fixed_step: and that step size stays as it is given.
        coordinates_at_once: coordinates in one chunk of tasks on a CPU, above which its memory leaves the
            caches; None where that is no concern.
    """

    first_order: bool = False
    gradient_descent: bool = False
    fixed_step: bool = False
    coordinates_at_once: int | None = None


rules: Registry[Callable[..., Rule], RuleFacts] = Registry("rule", "metarl.rules", no_facts=RuleFacts())


@rules.register("sgd", RuleFacts(gradient_descent=True, fixed_step=True))
def sgd(lr: float = 0.1) -> Rule:
    """Descend along the gradient by a fixed step size: θ ← θ − α g.

    Args:
        lr: α.

    Example:
        >>> import torch
        >>> from metarl.core.rules import sgd
        >>> rule, params = sgd(lr=0.5), {"x": torch.tensor([1.0, 2.0])}
        >>> learned = rule.init(params, torch.Generator().manual_seed(0))
        >>> grads, loss = {"x": torch.tensor([1.0, -1.0])}, torch.tensor(0.0)
        >>> rule.step(learned, rule.begin(learned, params), params, grads, loss)[0]
        {'x': tensor([0.5000, 2.5000])}
    """
    _check_lr("sgd", lr)

    def step(
        rule_params: Params, carry: Any, params: Params, grads: Params, loss: Tensor
    ) -> tuple[Params, Any]:
        return tree_map(lambda p, g: p - lr * g, params, grads), carry

    return Rule("sgd", step=step)


@rules.register("meta-sgd", RuleFacts(gradient_descent=True))
def meta_sgd(lr: float = 0.1) -> Rule:
    """Descend by a learned step size for each number (Meta-SGD, Li et al. 2017): θ ← θ − α ⊙ g.

    Args:
        lr: what α starts at everywhere. It may change its sign, as in the paper.

    Example:
        >>> import torch
        >>> from metarl.core.rules import meta_sgd
        >>> rule, params = meta_sgd(lr=0.5), {"x": torch.tensor([1.0, 2.0])}
        >>> learned = rule.init(params, torch.Generator().manual_seed(0))
        >>> grads, loss = {"x": torch.tensor([1.0, -1.0])}, torch.tensor(0.0)
        >>> rule.step(learned, rule.begin(learned, params), params, grads, loss)[0]
        {'x': tensor([0.5000, 2.5000])}
    """
    _check_lr("meta-sgd", lr)

    def init(params: Params, generator: torch.Generator) -> Params:
        return tree_map(lambda p: torch.full_like(p, lr), params)

    def step(alpha: Params, carry: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
        return tree_map(lambda p, a, g: p - a * g, params, alpha, grads), carry

    def metrics(alpha: Params) -> dict[str, Tensor]:
        sizes = ravel(alpha)
        return {
            "step_size/mean": sizes.mean(),
            "step_size/min": sizes.min(),
            "step_size/max": sizes.max(),
            "step_size/negative": (sizes < 0).to(sizes).mean(),
        }

    return Rule("meta-sgd", step=step, init=init, metrics=metrics)


class Moments(NamedTuple):
    """The running means of gradients and of their squares, and the number of steps so far: Adam's memory."""

    mean: Params
    square: Params
    steps: Float[Tensor, "*task"]


@rules.register("adam")
def adam(lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Rule:
    """Descend by Adam (Kingma & Ba 2015, algorithm 1), with bias correction: θ ← θ − α m̂ / (√v̂ + ε).

    Differentiable where gradients are exactly zero too. There √v̂ has a kink; but v̂ = 0 means that all
    gradients so far were 0, hence m̂ = 0, and the update's derivative is that of −α m̂ / ε.

    Args:
        lr: α, how far an entry moves while its gradients keep their sign.
        beta1: decay of the mean of gradients, m.
        beta2: decay of the mean of their squares, v.
        eps: ε.

    Example:
        >>> import torch
        >>> from metarl.core.rules import adam
        >>> rule, params = adam(lr=0.5), {"x": torch.tensor([1.0, 2.0])}
        >>> learned = rule.init(params, torch.Generator().manual_seed(0))
        >>> grads, loss = {"x": torch.tensor([1.0, -1.0])}, torch.tensor(0.0)
        >>> rule.step(learned, rule.begin(learned, params), params, grads, loss)[0]
        {'x': tensor([0.5000, 2.5000])}
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
            positive = v > 0
            root = torch.where(positive, torch.where(positive, v / square_share, 1.0).sqrt(), 0.0)
            return p - lr * (m / mean_share) / (root + eps)

        return tree_map(moved, params, mean, square), Moments(mean, square, steps)

    return Rule("adam", step=step, begin=begin)


# 0.9 µs a coordinate and step at 44,000 coordinates, 0.5 µs at 20,000.
@rules.register("lstm", RuleFacts(first_order=True, coordinates_at_once=20_000))
def lstm(hidden: int = 20) -> Rule:
    """Update by a learned LSTM (Ravi & Larochelle 2017): θ ← f ⊙ θ − i ⊙ g with its gates f and i.

    Derivatives stop at gradients and losses by definition. Equations in ``metarl.core.lstm``.

    Args:
        hidden: units. Their weights are shared by all coordinates and learned; their state is per coordinate.

    Example:
        >>> import torch
        >>> from metarl.core.rules import lstm
        >>> rule, params = lstm(hidden=4), {"x": torch.tensor([1.0, 2.0])}
        >>> learned = rule.init(params, torch.Generator().manual_seed(0))
        >>> grads, loss = {"x": torch.tensor([1.0, -1.0])}, torch.tensor(0.0)
        >>> rule.step(learned, rule.begin(learned, params), params, grads, loss)[0]
        {'x': tensor([0.9751, 1.9721])}
    """
    if hidden < 1:
        raise RequestError(f"lstm needs at least 1 hidden unit, not {hidden}")
    init = functools.partial(draw_weights, hidden=hidden)

    def metrics(weights: Params) -> dict[str, Tensor]:
        return {"gate/keep": weights["b_F"].sigmoid(), "gate/move": weights["b_I"].sigmoid()}

    return Rule("lstm", step=lstm_step, begin=blank_memory, init=init, metrics=metrics)


def only(rule: Rule, names: Collection[str]) -> Rule:
    """Restrict a rule to some parameters; the others stay as they are and the rule never sees them.

    With the last layer's names this is the inner loop of ANIL (Raghu et al. 2020).

    Args:
        rule: how those move.
        names: their names, or the name of one.

    Raises:
        RequestError: no name is given, or (by ``begin``, and the ``init`` of a rule that learns) one is not
            among the parameters.

    Example:
        >>> import torch
        >>> from metarl.core.rules import only, sgd
        >>> params = {"body": torch.tensor(1.0), "head": torch.tensor(1.0)}
        >>> only(sgd(lr=0.5), "head").step({}, (), params, params, torch.tensor(0.0))[0]
        {'body': tensor(1.), 'head': tensor(0.5000)}
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

    return Rule(
        f"{rule.name} on a part",
        step=step,
        begin=begin,
        init=init if rule.learns else learns_nothing,
        metrics=rule.metrics,
    )


def _one_minus_power(beta: float, t: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Return 1 − βᵗ without cancellation: in float32 the plain form is off by 3e-5 for t = 1, β = 0.999."""
    return -torch.expm1(t * (math.log(beta) if beta > 0 else -math.inf))


def _check_lr(rule: str, lr: float) -> None:
    if not 0 <= lr < math.inf:
        raise RequestError(f"{rule} needs a finite step size of 0 or more, not {lr}")
