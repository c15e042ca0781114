"""Derivatives of an adaptation against central differences, in float64, for any rule."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from metarl.core.params import Meta, Params, detach, expand, leaves, ravel, tree_map
from metarl.core.rules import Rule
from metarl.learn.adapt import Adaptation, adapt, unroll
from metarl.learn.curvature import LinearMap
from metarl.testing.trees import derivatives, normal, places

TASKS, SHOTS = 2, 4
# Relative steps of the differences. The first sees derivatives down to 1e-8. The others are for rules with a
# kink, which the first may have stepped across: Adam nearly has one where a gradient is 0.
STEPS = (1e-3, 1e-6, 1e-8)
Seen = tuple[Params, Tensor]  # gradients and loss of one inner step


class Points(NamedTuple):
    """A regression problem: a number for each entry of the parameters, and one target."""

    x: Tensor  # "*task shot entry"
    y: Tensor  # "*task shot"


def predict(params: Params, x: Tensor) -> Tensor:
    """Smooth in all parameters, with derivatives of every order."""
    return torch.sin(x @ ravel(params))


def squared_error(apply: Any, params: Params, batch: Points) -> Tensor:
    """Mean over the shots."""
    error: Tensor = apply(params, batch.x) - batch.y
    return (error * error).mean()


def check_meta_gradient(rule: Rule, params: Params, learned: Params) -> None:
    """Assert the meta-gradient of ``rule`` after one and after three steps, at orders 1 and 2.

    It is compared with differences of the loss after adaptation, for each tensor of the initialisation
    ``params`` and of the rule's own ``learned`` parameters, both float64, along a drawn direction.

    At order 1 the differences are taken with the inner gradients and losses held at what they were at the
    base point: order 1 means just that. At order 2 nothing is held, unless the rule stops the gradient: where
    no derivative at all passes from ``grads`` and ``loss`` to what ``step`` returns, the rule defines itself
    by constants, and its order 2 is its order 1. A rule that lets some of it pass is held to all of it.

    Raises:
        AssertionError: of one line.
    """
    base = Meta(params, learned)
    for steps in (1, 3):
        _check_steps(rule, base, [_points(10 * steps + k, params) for k in range(steps + 1)])
    _check_curvature(rule, base, [_points(50 + k, params) for k in range(2)])


def _check_steps(rule: Rule, base: Meta, data: Sequence[Points]) -> None:
    records: list[Seen] = []
    _loss(_recording(rule, records), 1, base, data)

    def held(meta: Meta) -> Tensor:
        return _loss(_replaying(rule, records), 1, meta, data)

    def free(meta: Meta) -> Tensor:
        return _loss(rule, 2, meta, data)

    stops = _stops(rule, base, records[0])
    for order, loss in ((1, held), (2, held if stops else free)):
        _compare(_meta_gradient(rule, order, base, data), loss, base, f"order {order}, {len(data) - 1} steps")


def _points(seed: int, params: Params) -> Points:
    size = sum(p.numel() for p in params.values())
    return Points(normal(seed, TASKS, SHOTS, size) / size**0.5, normal(seed + 1000, TASKS, SHOTS))


def _adaptation(rule: Rule, order: int) -> Adaptation:
    return adapt(predict, squared_error, rule, order)


def _recording(rule: Rule, records: list[Seen]) -> Rule:
    """``rule``, which adds what it is handed to ``records``."""

    def step(learned: Params, memory: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
        records.append((grads, loss))
        return rule.step(learned, memory, params, grads, loss)

    return dataclasses.replace(rule, step=step)


def _replaying(rule: Rule, records: list[Seen]) -> Rule:
    """``rule``, which is handed ``records`` whatever the problem's gradients and losses are."""
    following = iter(records)

    def step(learned: Params, memory: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
        return rule.step(learned, memory, params, *next(following))

    return dataclasses.replace(rule, step=step)


def _stops(rule: Rule, base: Meta, seen: Seen) -> bool:
    """Return whether no derivative passes from gradients and loss to anything that ``step`` returns."""
    grads, loss = tree_map(lambda x: x.requires_grad_(), detach(seen))
    out = rule.step(base.rule, rule.begin(base.rule, base.model), base.model, grads, loss)
    return not any(bool(g.any()) for g in derivatives(out, (grads, loss)))


def _loss(rule: Rule, order: int, meta: Meta, data: Sequence[Points]) -> Float[Tensor, ""]:
    """Sum over tasks of the loss after adaptation, task by task."""
    adaptation, losses = _adaptation(rule, order), []
    for i in range(TASKS):
        *support, query = tree_map(lambda x, i=i: x[i], list(data))
        inner = adaptation.begin(meta)
        for batch in support:
            inner, _ = adaptation.step(meta, inner, batch)
        losses.append(squared_error(predict, inner.params, query))
    return torch.stack(losses).sum()


def _meta_gradient(rule: Rule, order: int, base: Meta, data: Sequence[Points]) -> list[Tensor]:
    """Return the gradient of the same sum as meta-learners take it: all tasks at once, autograd outside."""
    meta = tree_map(lambda x: x.clone().requires_grad_(), base)
    params = unroll(_adaptation(rule, order), expand(meta, TASKS), data[:-1]).params
    loss = vmap(lambda params, batch: squared_error(predict, params, batch))(params, data[-1])
    if not loss.requires_grad:
        return leaves(tree_map(torch.zeros_like, base))
    return list(torch.autograd.grad(loss.sum(), leaves(meta), materialize_grads=True))


def _compare(gradient: Sequence[Tensor], loss: Callable[[Meta], Tensor], base: Meta, where: str) -> None:
    directions = _directions(base)
    found = torch.stack([(g * d).sum() for g, d in zip(gradient, directions, strict=True)])
    right = torch.zeros(len(found), dtype=torch.bool)
    for step in STEPS:
        wanted = _slopes(loss, base, directions, step)
        right |= (found - wanted).abs() <= 1e-11 + 1e-5 * wanted.abs()
        if right.all():
            return
    i = int((~right).nonzero()[0])
    raise AssertionError(
        f"the meta-gradient ({where}) is wrong for {places(base)[i]}: along a direction it is "
        f"{float(found[i]):.6g}, central differences give {float(wanted[i]):.6g}"
    )


def _directions(base: Meta) -> list[Tensor]:
    """One for each tensor, of the size of its entries (of size 1 where all are zero)."""
    sizes = [float(x.square().mean().sqrt()) or 1.0 for x in leaves(base)]
    return [size * normal(i, *x.shape) for i, (size, x) in enumerate(zip(sizes, leaves(base), strict=True))]


def _slopes(
    loss: Callable[[Meta], Tensor], base: Meta, directions: Sequence[Tensor], step: float
) -> Float[Tensor, " tensor"]:
    """Differentiate ``loss`` as one tensor moves along its direction, by the five-point stencil."""
    at = torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=torch.float64) * step
    weights = torch.tensor([1.0, -8.0, 8.0, -1.0], dtype=torch.float64) / (12 * step)
    # Row 4 i + k of a tensor: its value while tensor i stands at the k-th point.
    moved = expand(base, 4 * len(directions))
    for i, (x, direction) in enumerate(zip(leaves(moved), directions, strict=True)):
        x[4 * i : 4 * i + 4] += at.view(-1, *[1] * direction.ndim) * direction
    return vmap(loss)(moved).view(-1, 4) @ weights


def _check_curvature(rule: Rule, base: Meta, support: Sequence[Points]) -> None:
    """Jv, taken from the derivative of the backward pass, against Jᵀw: TRPO's curvature needs both."""
    meta = tree_map(lambda x: x.requires_grad_(), expand(base, TASKS))
    adapted = leaves(unroll(_adaptation(rule, 2), meta, support).params)
    jacobian = LinearMap(adapted, leaves(meta))
    v, w = ([normal(i, *x.shape) for i, x in enumerate(xs)] for xs in (leaves(meta), adapted))
    forward, backward = _dot(w, jacobian.push(v)), _dot(jacobian.pull(w), v)
    if not abs(forward - backward) <= 1e-8 * max(1.0, abs(backward)):
        raise AssertionError(
            "the derivative of step cannot be differentiated once more: "
            f"w·(Jv) is {forward:.6g}, (Jᵀw)·v is {backward:.6g}"
        )


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))
