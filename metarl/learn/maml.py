"""Model-agnostic meta-learning (Finn, Abbeel & Levine 2017), of either order, for any rule and objective."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

from metarl.core.batch import Episodes, every, masked_mean
from metarl.core.distributions import Distribution
from metarl.core.models import Apply
from metarl.core.objectives import Objective
from metarl.core.params import (
    Meta,
    Params,
    concat,
    detach,
    expand,
    leaves,
    ravel,
    replace_leaves,
    tree_map,
    unravel,
)
from metarl.core.registry import Registry
from metarl.learn.adapt import Adaptation, unroll
from metarl.learn.chunks import Chunking, map_chunks, run_all
from metarl.learn.curvature import kl_curvature
from metarl.learn.problem import Losses, Point, Problem, Vector


class TaskData(NamedTuple):
    """What a meta-batch of tasks gave: a batch for each inner step, and one to judge the adapted parameters.

    Every leaf has the task axis first.
    """

    support: tuple[Episodes, ...]
    query: Episodes


MetaLearner = Callable[[TaskData], Problem]
learners: Registry[Callable[..., MetaLearner]] = Registry("learner")


class _Parts(NamedTuple):
    """The arguments of ``maml``."""

    apply: Apply
    adaptation: Adaptation
    objective: Objective
    chunking: Chunking
    curvature_stride: int


@learners.register("maml")
def maml(
    apply: Apply,
    adaptation: Adaptation,
    objective: Objective,
    chunking: Chunking,
    curvature_stride: int = 1,
) -> MetaLearner:
    """The mean over tasks of ``objective`` at the adapted parameters, as a function of the meta-parameters.

    ``adaptation`` decides the order. Gradients are per task and then summed in the tasks' order, so that
    chunks and threads leave the bits alone. ``curvature_stride`` thins the time steps of the curvature
    product alone, as is usual with TRPO.
    """
    parts = _Parts(apply, adaptation, objective, chunking, curvature_stride)

    def meta_learner(data: TaskData) -> Problem:
        return Problem(
            at=functools.partial(_at, parts, data),
            losses=functools.partial(_losses, parts, data),
            curvature=functools.partial(_curvature, parts, data),
        )

    return meta_learner


def _each_task(meta: Meta, data: TaskData) -> Meta:
    """A copy of the meta-parameters for each task: their gradients are per task."""
    return expand(detach(meta), _tasks(data))


def _tasks(data: TaskData) -> int:
    return data.query.reward.shape[0]


def _adapted_loss(parts: _Parts, meta: Meta, data: TaskData) -> tuple[Params, Tensor]:
    """The adapted parameters of a chunk's tasks, and the objective of each at them."""
    params = unroll(parts.adaptation, meta, data.support).params
    return params, vmap(functools.partial(parts.objective, parts.apply))(params, data.query)


def _at(parts: _Parts, data: TaskData, meta: Meta) -> Point:
    def chunk(meta: Meta, data: TaskData) -> tuple[Tensor, Meta, Distribution]:
        meta = tree_map(lambda x: x.requires_grad_(), meta)
        params, loss = _adapted_loss(parts, meta, data)
        grads = torch.autograd.grad(loss.sum(), leaves(meta), materialize_grads=True)
        # Detached on both sides: under vmap, no_grad alone lets a graph through.
        policies = detach(vmap(parts.apply)(detach(params), data.query.obs))
        return loss.detach(), replace_leaves(meta, grads), policies

    loss, grads, policies = concat(map_chunks(chunk, parts.chunking, _each_task(meta, data), data))
    entropy = vmap(masked_mean)(policies.entropy(), data.query.mask)
    grad = tree_map(lambda g: g.sum(0) / _tasks(data), grads)
    return Point(loss.mean(), grad, policies, {"entropy": float(entropy.mean())})


def _losses(parts: _Parts, data: TaskData, meta: Meta, point: Point) -> Losses:
    def chunk(meta: Meta, data: TaskData, reference: Distribution) -> tuple[Tensor, Tensor]:
        params, loss = _adapted_loss(parts, meta, data)
        policies = vmap(parts.apply)(params, data.query.obs)
        return loss, vmap(masked_mean)(reference.kl(policies), data.query.mask)

    with torch.no_grad():
        trees = _each_task(meta, data), data, point.policies
        loss, kl = concat(map_chunks(chunk, parts.chunking, *trees))
    return Losses(loss.mean(), kl.mean())


def _curvature(parts: _Parts, data: TaskData, meta: Meta) -> Callable[[Vector], Vector]:
    def chunk(meta: Meta, data: TaskData) -> Callable[[Meta], Meta]:
        support = [every(batch, parts.curvature_stride) for batch in data.support]
        query = every(data.query, parts.curvature_stride)
        of_each = kl_curvature(parts.apply, parts.adaptation, meta, support, query)
        return lambda tangent: of_each(expand(tangent, _tasks(data)))

    products = map_chunks(chunk, parts.chunking, _each_task(meta, data), data)

    def product(v: Vector) -> Vector:
        calls = [functools.partial(of_chunk, unravel(v, meta)) for of_chunk in products]
        per_task = concat(run_all(calls, parts.chunking.threads))
        return ravel(tree_map(lambda x: x.sum(0) / _tasks(data), per_task))

    return product
