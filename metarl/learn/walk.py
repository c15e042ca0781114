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
        loss: the sum of the losses along it.
        grad: its gradient with respect to each task's own meta-parameters.
    """

    path: tuple[Params, ...]
    loss: Float[Tensor, " task"]
    grad: Meta


# (k, the parameters before inner step k, or after the last) -> a loss of each task there, or None for none
Along = Callable[[int, Params], Float[Tensor, " task"] | None]


def walk(adaptation: Adaptation, meta: Meta, support: Sequence[Any], along: Along) -> Walk:
    """The losses along the path of the inner parameters, and their gradient through the inner steps, for a
    chunk of tasks.

    Args:
        meta: meta-parameters of each task, task axis first.
        support: a batch for each inner step.
        along: each task's loss must depend on its own row alone; after the last step there must be one.
    """
    meta = tree_map(_leaf, meta)
    first = begin_tasks(adaptation, meta)
    starts = [first]
    with torch.no_grad():
        for batch in support[:-1]:
            starts.append(step_tasks(adaptation, meta, starts[-1], batch)[0])
    starts = [first, *(tree_map(_leaf, start) for start in starts[1:])]
    end = step_tasks(adaptation, meta, starts[-1], support[-1])[0] if support else first
    loss = along(len(support), end.params)
    assert loss is not None, "the adapted parameters are judged"

    # Pieces of the path, the last one first. Of each: what is differentiated, and with which cotangents.
    outputs, cotangent = [loss], [torch.ones_like(loss)]
    total, grad = loss.detach(), [torch.zeros_like(x) for x in leaves(meta)]
    for k in range(max(len(support) - 1, 0), -1, -1):
        if k < len(support) - 1:
            outputs = leaves(step_tasks(adaptation, meta, starts[k], support[k])[0])
        if support and (here := along(k, starts[k].params)) is not None:
            outputs, cotangent = [*outputs, here], [*cotangent, torch.ones_like(here)]
            total = total + here.detach()
        more, cotangent = _pull(outputs, cotangent, meta, starts[k], k > 0)
        grad = [a + b for a, b in zip(grad, more, strict=True)]
    last = [end.params] if support else []
    path = tuple(detach([*(start.params for start in starts), *last]))
    return Walk(path, total, replace_leaves(meta, grad))


def _pull(
    outputs: Sequence[Tensor], cotangent: Sequence[Tensor], meta: Meta, start: Inner, cut: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients with respect to the meta-parameters and, where the graph was ``cut`` there, to ``start``.

    The first step's graph reaches the meta-parameters through the beginning; later ones start at values.
    """
    into = [x for x in leaves(start) if cut and x.requires_grad]
    moving = [i for i, x in enumerate(outputs) if x.requires_grad]
    grads = torch.autograd.grad(
        [outputs[i] for i in moving],
        [*leaves(meta), *into],
        [cotangent[i] for i in moving],
        materialize_grads=True,
    )
    of_start = iter(grads[len(leaves(meta)) :])
    zeros_where_constant = [
        next(of_start) if cut and x.requires_grad else torch.zeros_like(x) for x in leaves(start)
    ]
    return list(grads[: len(leaves(meta))]), zeros_where_constant


def _leaf(x: Tensor) -> Tensor:
    """The same values as the start of a graph; counts stay constants."""
    return x.detach().requires_grad_(x.is_floating_point())
