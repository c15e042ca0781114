"""The one inner loop: it collects, it is differentiated, it evaluates and it is exported."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.func import grad_and_value, vmap

from metarl.core.models import Apply
from metarl.core.objectives import Objective
from metarl.core.params import Inner, Meta, detach
from metarl.core.rules import Rule

Metrics = dict[str, Tensor]


class Adaptation(NamedTuple):
    """How one task adapts: ``begin(meta) -> inner``, then one ``step(meta, inner, batch)`` for each batch.

    Both are pure functions of one task; ``begin_tasks`` and ``step_tasks`` below run them for many.
    """

    begin: Callable[[Meta], Inner]
    step: Callable[[Meta, Inner, Any], tuple[Inner, Metrics]]


def adapt(apply: Apply, objective: Objective, rule: Rule, order: int = 2) -> Adaptation:
    """Adaptation by ``rule`` on the gradient of ``objective``.

    ``order`` says what a derivative of the adapted parameters sees: 2 differentiates the inner gradient too
    (MAML, Finn et al. 2017, eq. 1), 1 takes it as a constant (first-order MAML, their section 5.2).
    """

    def begin(meta: Meta) -> Inner:
        return Inner(meta.model, rule.begin(meta.rule, meta.model))

    def step(meta: Meta, inner: Inner, batch: Any) -> tuple[Inner, Metrics]:
        # Detached before the loss, not after: at order 1 neither the batch nor the loss enters a graph.
        at = inner.params if order == 2 else detach(inner.params)
        grads, loss = grad_and_value(lambda params: objective(apply, params, batch))(at)
        params, carry = rule.step(meta.rule, inner.carry, inner.params, grads, loss)
        return Inner(params, carry), {"inner_loss": loss}

    return Adaptation(begin, step)


def begin_tasks(adaptation: Adaptation, meta: Meta) -> Inner:
    """``begin`` for all tasks at once; every leaf of ``meta`` has the task axis first (``params.expand``)."""
    return vmap(adaptation.begin)(meta)


def step_tasks(
    adaptation: Adaptation, meta: Meta, inner: Inner, batch: Any
) -> tuple[Inner, dict[str, Float[Tensor, " task"]]]:
    """One inner step of all tasks at once, each on its own row of ``batch``."""
    return vmap(adaptation.step)(meta, inner, batch)


def unroll(adaptation: Adaptation, meta: Meta, support: Sequence[Any]) -> Inner:
    """All inner steps of all tasks, one for each batch of ``support``."""
    inner = begin_tasks(adaptation, meta)
    for batch in support:
        inner, _ = step_tasks(adaptation, meta, inner, batch)
    return inner
