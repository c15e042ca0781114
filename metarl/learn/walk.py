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
from metarl.learn.adapt import Adaptation, begin_tasks, step_tasks


class Walk(NamedTuple):
    """What a walk along the inner steps of some tasks found; every leaf has the task axis first.

    Attributes:
        path: the parameters before each inner step and after the last, without a graph.
        loss: the loss at the last of them.
        grad: the loss' gradient with respect to each task's own meta-parameters.
    """

    path: tuple[Params, ...]
    loss: Float[Tensor, " task"]
    grad: Meta


def walk(
    adaptation: Adaptation,
    meta: Meta,
    support: Sequence[Any],
    loss: Callable[[Params], Float[Tensor, " task"]],
) -> Walk:
    """Loss at the adapted parameters and its gradient through the inner steps, for a chunk of tasks.

    Args:
        meta: meta-parameters of each task, task axis first.
        support: a batch for each inner step.
        loss: of all tasks at their adapted parameters; each task's must depend on its own row alone.
    """
    meta = tree_map(_leaf, meta)
    first = begin_tasks(adaptation, meta)
    starts = [first]
    with torch.no_grad():
        for batch in support[:-1]:
            starts.append(step_tasks(adaptation, meta, starts[-1], batch)[0])
    starts = [first, *(tree_map(_leaf, start) for start in starts[1:])]
    end = step_tasks(adaptation, meta, starts[-1], support[-1])[0] if support else first
    losses = loss(end.params)

    grad, cotangent = _pull([losses.sum()], None, meta, starts[-1], len(starts) > 1)
    for k in range(len(starts) - 2, -1, -1):
        after, _ = step_tasks(adaptation, meta, starts[k], support[k])
        more, cotangent = _pull(leaves(after), cotangent, meta, starts[k], k > 0)
        grad = [a + b for a, b in zip(grad, more, strict=True)]
    last = [end.params] if support else []
    path = tuple(detach([*(start.params for start in starts), *last]))
    return Walk(path, losses.detach(), replace_leaves(meta, grad))


def _pull(
    outputs: Sequence[Tensor], cotangent: Sequence[Tensor] | None, meta: Meta, start: Inner, cut: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients with respect to the meta-parameters and, where the graph was ``cut`` there, to ``start``.

    The first step's graph reaches the meta-parameters through the beginning; later ones start at values.
    """
    into = [x for x in leaves(start) if cut and x.requires_grad]
    moving = [i for i, x in enumerate(outputs) if x.requires_grad]
    given = None if cotangent is None else [cotangent[i] for i in moving]
    grads = torch.autograd.grad(
        [outputs[i] for i in moving], [*leaves(meta), *into], given, materialize_grads=True
    )
    of_start = iter(grads[len(leaves(meta)) :])
    zeros_where_constant = [
        next(of_start) if cut and x.requires_grad else torch.zeros_like(x) for x in leaves(start)
    ]
    return list(grads[: len(leaves(meta))]), zeros_where_constant


def _leaf(x: Tensor) -> Tensor:
    """The same values as the start of a graph; counts stay constants."""
    return x.detach().requires_grad_(x.is_floating_point())
