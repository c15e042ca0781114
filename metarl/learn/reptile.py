"""Reptile (Nichol, Achiam & Schulman 2018): the initialisation moves toward the adapted parameters."""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from metarl.core.errors import RequestError
from metarl.core.models import Apply
from metarl.core.objectives import Objective
from metarl.core.params import Meta, Params, concat, expand, leaves, tree_map
from metarl.learn.adapt import Adaptation, begin_tasks, step_tasks
from metarl.learn.chunks import Chunking, map_chunks
from metarl.learn.problem import MetaLearner, Point, Problem, Report, TaskData, mean_and_variance, nothing
from metarl.learn.trust_region import TrustRegion, entropy


def reptile(
    apply: Apply,
    adaptation: Adaptation,
    objective: Objective,
    chunking: Chunking,
    *,
    trust_region: TrustRegion | None = None,
    report: Report = nothing,
) -> MetaLearner:
    """θ − mean over tasks of U(θ), in the place of a gradient: SGD with step size ε takes it as
    θ ← θ + ε (mean U(θ) − θ) (their algorithm 2, batched; with one task in the meta-batch it is the serial
    algorithm 1).

    U is ``adaptation`` on the support batches. The query is used for ``loss`` and ``report`` alone. There is
    no function with this gradient, hence neither losses elsewhere nor a curvature; ``trust_region`` is for
    what is told of the adapted policies alone: their entropy, and the KL to those after a step.
    """

    def chunk(meta: Meta, data: TaskData) -> tuple[Tensor, Params, Any, dict[str, Tensor]]:
        with torch.no_grad():
            path = _adapted(adaptation, meta, data)
            loss = vmap(functools.partial(objective, apply))(path[-1], data.query)
            measured = report(path, data)
            policies: Any = ()
            if trust_region is not None:
                policies = trust_region.policies(path[-1], data.query)
                measured |= {"entropy": entropy(policies, data.query)}
            # The difference before the mean: where nothing moved, it is exactly zero.
            return loss, tree_map(torch.sub, meta.model, path[-1]), policies, measured

    def at(data: TaskData, meta: Meta) -> Point:
        if leaves(meta.rule):
            raise RequestError(
                "learner 'reptile' moves the initialisation alone; allowed: a rule that learns nothing"
            )
        found = concat(map_chunks(chunk, chunking, expand(meta, data.tasks), data))
        loss, differences, policies, measured = found
        toward, variance = mean_and_variance(Meta(differences, meta.rule))
        metrics = {name: float(x.mean()) for name, x in measured.items()}
        return Point(loss.mean(), toward, policies, metrics | {"grad_variance": variance})

    def kl(trust_region: TrustRegion, data: TaskData, meta: Meta, point: Point) -> Tensor:
        def of_chunk(meta: Meta, data: TaskData, reference: Any) -> Tensor:
            with torch.no_grad():
                return trust_region.divergence(reference, _adapted(adaptation, meta, data)[-1], data.query)

        trees = (expand(meta, data.tasks), data, point.policies)
        return torch.cat(map_chunks(of_chunk, chunking, *trees)).mean()

    def problem(data: TaskData) -> Problem:
        told = None if trust_region is None else functools.partial(kl, trust_region, data)
        return Problem(functools.partial(at, data), kl=told)

    return problem


def _adapted(adaptation: Adaptation, meta: Meta, data: TaskData) -> list[Params]:
    """The parameters before each inner step and after the last."""
    inner = begin_tasks(adaptation, meta)
    path = [inner.params]
    for batch in data.support:
        inner, _ = step_tasks(adaptation, meta, inner, batch)
        path.append(inner.params)
    return path
