"""Model-agnostic meta-learning (Finn, Abbeel & Levine 2017), of either order, for any rule and objective."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from metarl.core.models import Apply
from metarl.core.objectives import Objective
from metarl.core.params import Meta, Params, concat, detach, expand, ravel, tree_map, unravel
from metarl.learn.adapt import Adaptation, unroll
from metarl.learn.chunks import Chunking, map_chunks, run_all
from metarl.learn.problem import (
    Losses,
    MetaLearner,
    Point,
    Problem,
    Report,
    TaskData,
    Vector,
    nothing,
)
from metarl.learn.trust import Trust, entropy
from metarl.learn.walk import walk


class _Parts(NamedTuple):
    """The arguments of ``maml``."""

    apply: Apply
    adaptation: Adaptation
    objective: Objective
    chunking: Chunking
    trust: Trust | None
    report: Report


def maml(
    apply: Apply,
    adaptation: Adaptation,
    objective: Objective,
    chunking: Chunking,
    trust: Trust | None = None,
    report: Report = nothing,
) -> MetaLearner:
    """The mean over tasks of ``objective`` at the adapted parameters, as a function of the meta-parameters.

    ``adaptation`` decides the order. Gradients are per task and then summed in the tasks' order, so that
    chunks and threads leave the bits alone. ``trust`` is for models whose output is a distribution: with it
    the problem has a KL and a curvature.
    """
    parts = _Parts(apply, adaptation, objective, chunking, trust, report)

    def meta_learner(data: TaskData) -> Problem:
        return Problem(
            at=functools.partial(_at, parts, data),
            losses=functools.partial(_losses, parts, data),
            curvature=None if trust is None else functools.partial(_curvature, parts, trust, data),
        )

    return meta_learner


def _each_task(meta: Meta, data: TaskData) -> Meta:
    """A copy of the meta-parameters for each task: their gradients are per task."""
    return expand(detach(meta), data.tasks)


def _loss(parts: _Parts, data: TaskData, params: Params) -> Float[Tensor, " task"]:
    return vmap(functools.partial(parts.objective, parts.apply))(params, data.query)


def _at(parts: _Parts, data: TaskData, meta: Meta) -> Point:
    def chunk(meta: Meta, data: TaskData) -> tuple[Tensor, Meta, Any, dict[str, Tensor]]:
        found = walk(parts.adaptation, meta, data.support, functools.partial(_loss, parts, data))
        with torch.no_grad():
            measured = parts.report(found.path, data)
        if parts.trust is None:
            return found.loss, found.grad, (), measured
        policies = parts.trust.policies(found.path[-1], data.query)
        return found.loss, found.grad, policies, measured | {"entropy": entropy(policies, data.query)}

    chunks = map_chunks(chunk, parts.chunking, _each_task(meta, data), data)
    loss, grads, policies, measured = concat(chunks)
    grad = tree_map(lambda g: g.sum(0) / data.tasks, grads)
    return Point(loss.mean(), grad, policies, {name: float(x.mean()) for name, x in measured.items()})


def _losses(parts: _Parts, data: TaskData, meta: Meta, point: Point) -> Losses:
    def chunk(meta: Meta, data: TaskData, reference: Any = ()) -> list[Tensor]:
        params = unroll(parts.adaptation, meta, data.support).params
        loss = _loss(parts, data, params)
        if parts.trust is None:
            return [loss]
        return [loss, parts.trust.divergence(reference, params, data.query)]

    trees = [_each_task(meta, data), data, *([] if parts.trust is None else [point.policies])]
    with torch.no_grad():
        return Losses(*(x.mean() for x in concat(map_chunks(chunk, parts.chunking, *trees))))


def _curvature(parts: _Parts, trust: Trust, data: TaskData, meta: Meta) -> Callable[[Vector], Vector]:
    def chunk(meta: Meta, data: TaskData) -> Callable[[Meta], Meta]:
        of_each = trust.curvature(parts.adaptation, meta, data)
        return lambda tangent: of_each(expand(tangent, data.tasks))

    products = map_chunks(chunk, parts.chunking, _each_task(meta, data), data)

    def product(v: Vector) -> Vector:
        calls = [functools.partial(of_chunk, unravel(v, meta)) for of_chunk in products]
        per_task = concat(run_all(calls, parts.chunking.threads))
        return ravel(tree_map(lambda x: x.sum(0) / data.tasks, per_task))

    return product
