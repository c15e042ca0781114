"""Model-agnostic meta-learning (Finn, Abbeel & Levine 2017), of either order, for any rule and objective."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

from metarl.core.batch import Episodes, every, masked_mean
from metarl.core.distributions import Distribution
from metarl.core.models import Apply
from metarl.core.objectives import Objective
from metarl.core.params import Meta, concat, detach, expand, leaves, ravel, replace_leaves, tree_map, unravel
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

    def adapted_losses(meta: Meta, data: TaskData) -> tuple[Any, Tensor]:
        params = unroll(adaptation, meta, data.support).params
        return params, vmap(functools.partial(objective, apply))(params, data.query)

    def meta_learner(data: TaskData) -> Problem:
        tasks = data.query.reward.shape[0]

        def each_task(meta: Meta) -> Meta:
            return expand(detach(meta), tasks)

        def at(meta: Meta) -> Point:
            def chunk(meta: Meta, data: TaskData) -> tuple[Tensor, Meta, Distribution]:
                meta = tree_map(lambda x: x.requires_grad_(), meta)
                params, loss = adapted_losses(meta, data)
                grads = torch.autograd.grad(loss.sum(), leaves(meta), materialize_grads=True)
                with torch.no_grad():
                    policies = vmap(apply)(params, data.query.obs)
                return loss.detach(), replace_leaves(meta, grads), policies

            loss, grads, policies = concat(map_chunks(chunk, chunking, each_task(meta), data))
            entropy = vmap(masked_mean)(policies.entropy(), data.query.mask)
            grad = tree_map(lambda g: g.sum(0) / tasks, grads)
            return Point(loss.mean(), grad, policies, {"entropy": float(entropy.mean())})

        def losses(meta: Meta, point: Point) -> Losses:
            def chunk(meta: Meta, data: TaskData, reference: Distribution) -> tuple[Tensor, Tensor]:
                params, loss = adapted_losses(meta, data)
                policies = vmap(apply)(params, data.query.obs)
                return loss, vmap(masked_mean)(reference.kl(policies), data.query.mask)

            with torch.no_grad():
                loss, kl = concat(map_chunks(chunk, chunking, each_task(meta), data, point.policies))
            return Losses(loss.mean(), kl.mean())

        def curvature(meta: Meta) -> Callable[[Vector], Vector]:
            def chunk(meta: Meta, data: TaskData) -> tuple[int, Callable[[Meta], Meta]]:
                support = [every(batch, curvature_stride) for batch in data.support]
                query = every(data.query, curvature_stride)
                size = query.reward.shape[0]
                return size, kl_curvature(apply, adaptation, meta, support, query)

            products = map_chunks(chunk, chunking, each_task(meta), data)

            def product(v: Vector) -> Vector:
                tangent = unravel(v, meta)
                calls = [functools.partial(_on_each, fn, tangent, size) for size, fn in products]
                per_task = concat(run_all(calls, chunking.threads))
                return ravel(tree_map(lambda x: x.sum(0) / tasks, per_task))

            return product

        return Problem(at, losses, curvature)

    return meta_learner


def _on_each(fn: Callable[[Meta], Meta], tangent: Meta, size: int) -> Meta:
    return fn(expand(tangent, size))
