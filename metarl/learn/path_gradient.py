"""The gradient through the inner loop, one inner step at a time.

The graph of K inner steps need not be held at once: the inner parameters before each step are kept as
plain values, and the gradient is pulled back through one step after the other, each built again when its turn
comes. Memory is that of one step, for 1.2 to 2 times the time at many steps; the last step is built once, so
that a single step costs nothing extra.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from metarl.core.params import Inner, Meta, Params, detach, leaves, replace_leaves, tree_map
from metarl.learn.adapt import Adaptation, begin_tasks, replay, step_tasks


class PathGradient(NamedTuple):
    """The losses along the inner steps of some tasks; every leaf has the task axis first.

    Attributes:
        path: the parameters before each inner step and after the last, without a graph.
        loss: the sum of the losses along it.
        grad: its gradient with respect to each task's own meta-parameters.
    """

    path: tuple[Params, ...]
    loss: Float[Tensor, " task"]
    grad: Meta


# (k, the parameters before inner step k) -> a loss of each task there, or None for none
Along = Callable[[int, Params], Float[Tensor, " task"] | None]


def path_gradient(
    adaptation: Adaptation,
    meta: Meta,
    support: Sequence[Any],
    loss: Callable[[Params], Float[Tensor, " task"]],
    along: Along = lambda k, params: None,
) -> PathGradient:
    """Differentiate losses of the inner parameters through the inner steps, for a chunk of tasks.

    Args:
        meta: meta-parameters of each task, task axis first.
        support: a batch for each inner step.
        loss: the loss of the adapted parameters. Each task's must depend on its own row alone.
        along: further losses, of the parameters before a step, on the same terms.
    """
    meta = tree_map(_as_start, meta)
    first = begin_tasks(adaptation, meta)
    with torch.no_grad():
        later = list(replay(adaptation, meta, support[:-1]))[1:]
    starts = [first, *(tree_map(_as_start, start) for start in later)]
    end = step_tasks(adaptation, meta, starts[-1], support[-1])[0] if support else first

    # Piece k of the path begins at starts[k]; its outputs are the losses there and, but for the last piece,
    # whose graph goes on to the loss, all that the next piece begins with.
    outputs = [loss(end.params)]
    cotangents = [torch.ones_like(outputs[0])]
    total, grad = outputs[0].detach(), [torch.zeros_like(x) for x in leaves(meta)]
    for k in reversed(range(len(starts))):
        if support and (here := along(k, starts[k].params)) is not None:
            outputs, cotangents = [*outputs, here], [*cotangents, torch.ones_like(here)]
            total = total + here.detach()
        of_meta, of_start = _pull(outputs, cotangents, meta, starts[k], is_first=k == 0)
        grad = [a + b for a, b in zip(grad, of_meta, strict=True)]
        if k > 0:
            outputs = leaves(step_tasks(adaptation, meta, starts[k - 1], support[k - 1])[0])
            cotangents = of_start
    path = [start.params for start in starts] + [end.params] * bool(support)
    return PathGradient(tuple(detach(path)), total, replace_leaves(meta, grad))


def _pull(
    outputs: Sequence[Tensor], cotangents: Sequence[Tensor], meta: Meta, start: Inner, *, is_first: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Return gradients with respect to the meta-parameters and to ``start``, zeros for what has none.

    The first piece's graph reaches the meta-parameters through the beginning; later ones start at values.
    """
    of_meta, of_start = leaves(meta), leaves(start)
    moving = [x.requires_grad and not is_first for x in of_start]
    pairs = [(x, c) for x, c in zip(outputs, cotangents, strict=True) if x.requires_grad]
    grads = torch.autograd.grad(
        [x for x, _ in pairs],
        [*of_meta, *(x for x, moves in zip(of_start, moving, strict=True) if moves)],
        [c for _, c in pairs],
        materialize_grads=True,
    )
    rest = iter(grads[len(of_meta) :])
    into = zip(of_start, moving, strict=True)
    return list(grads[: len(of_meta)]), [next(rest) if moves else torch.zeros_like(x) for x, moves in into]


def _as_start(x: Tensor) -> Tensor:
    """Return the same values as the start of a graph; counts stay constants."""
    return x.detach().requires_grad_(x.is_floating_point())
