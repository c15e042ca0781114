"""The one inner loop: it collects, it is differentiated, it evaluates and it is exported."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from jaxtyping import Float
from torch import Tensor
from torch.func import grad_and_value, vmap

from metarl.core.models import Apply
from metarl.core.objectives import Objective
from metarl.core.params import Inner, Meta, detach
from metarl.core.rules import Rule

Metrics = dict[str, Tensor]
T = TypeVar("T")


class Adaptation(NamedTuple):
    """The adaptation of one task, two pure functions; ``begin_tasks`` and ``step_tasks`` run them for many.

    Attributes:
        begin: ``begin(meta)`` returns the ``Inner`` of a fresh task.
        step: ``step(meta, inner, batch)`` returns the next ``Inner``, and metrics of the step.
    """

    begin: Callable[[Meta], Inner]
    step: Callable[[Meta, Inner, Any], tuple[Inner, Metrics]]


def adapt(apply: Apply, objective: Objective, rule: Rule, order: int = 2) -> Adaptation:
    """Adapt by a rule on the gradient of an objective.

    Args:
        apply: ``apply(params, x)``, the model of one task (``policy`` or ``functional`` makes one).
        objective: the loss of one task's batch.
        rule: what is made of its gradient.
        order: what a derivative of the adapted parameters sees. 2 differentiates the inner gradient too
            (MAML, Finn et al. 2017, eq. 1), 1 takes it as a constant (first-order MAML, section 5.2).

    Returns:
        The adaptation of one task; its metrics are the ``inner_loss`` before the step.

    Example:
        One step for the slope of a line, whose loss (2 − slope)² has the gradient −4 at 0:

        >>> import torch
        >>> from metarl.core.batch import Shots
        >>> from metarl.core.objectives import mse
        >>> from metarl.core.params import Meta
        >>> from metarl.core.rules import sgd
        >>> from metarl.learn.adapt import adapt
        >>> line = adapt(lambda params, x: params["slope"] * x, mse, sgd(lr=0.1))
        >>> meta = Meta({"slope": torch.tensor(0.0)}, {})
        >>> batch = Shots(x=torch.tensor([[1.0]]), y=torch.tensor([[2.0]]))
        >>> line.step(meta, line.begin(meta), batch)
        (Inner(params={'slope': tensor(0.4000)}, carry=()), {'inner_loss': tensor(4.)})
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
    """Begin all tasks at once; every leaf of ``meta`` has the task axis first (``params.expand``)."""
    return vmap(adaptation.begin)(meta)


def step_tasks(
    adaptation: Adaptation, meta: Meta, inner: Inner, batch: Any
) -> tuple[Inner, dict[str, Float[Tensor, " task"]]]:
    """Take one inner step of all tasks at once, each on its own row of ``batch``."""
    return vmap(adaptation.step)(meta, inner, batch)


def inner_loop(
    step: Callable[[int, Inner, T], Inner], inner: Inner, draw: Callable[[int, Inner], T], steps: int
) -> Iterator[Inner]:
    """Draw a batch and step, ``steps`` times over.

    Args:
        step: ``step(k, inner, batch)`` returns the tasks after inner step k, from 0.
        inner: where the tasks begin.
        draw: ``draw(k, inner)`` returns the batch of step k: collected by ``inner``, or drawn before.
        steps: how many steps.

    Returns:
        The tasks before each step and after the last, one by one: whoever wants them all keeps them.

    Example:
        >>> import torch
        >>> from metarl.core.params import Inner
        >>> from metarl.learn.adapt import inner_loop
        >>> start = Inner({"x": torch.tensor(1.0)}, ())
        >>> halve = lambda k, inner, batch: Inner({"x": inner.params["x"] / batch}, ())
        >>> [float(inner.params["x"]) for inner in inner_loop(halve, start, lambda k, inner: 2.0, steps=3)]
        [1.0, 0.5, 0.25, 0.125]
    """
    yield inner
    for k in range(steps):
        inner = step(k, inner, draw(k, inner))
        yield inner


def replay(adaptation: Adaptation, meta: Meta, batches: Sequence[Any]) -> Iterator[Inner]:
    """Run ``inner_loop`` for all tasks at once on batches that were drawn before, one for each step."""
    return inner_loop(
        lambda k, inner, batch: step_tasks(adaptation, meta, inner, batch)[0],
        begin_tasks(adaptation, meta),
        lambda k, inner: batches[k],
        len(batches),
    )


def unroll(adaptation: Adaptation, meta: Meta, support: Sequence[Any]) -> Inner:
    """Return all tasks after all inner steps, one for each batch of ``support``."""
    *_, adapted = replay(adaptation, meta, support)
    return adapted
