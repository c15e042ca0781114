"""Reptile (Nichol, Achiam & Schulman 2018): the initialisation moves toward the adapted parameters."""

import functools

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
from metarl.learn.trust import Trust, entropy


def reptile(
    apply: Apply,
    adaptation: Adaptation,
    objective: Objective,
    chunking: Chunking,
    trust: Trust | None = None,
    report: Report = nothing,
) -> MetaLearner:
    """θ − mean over tasks of U(θ), in the place of a gradient: SGD with step size ε takes it as
    θ ← θ + ε (mean U(θ) − θ) (their algorithm 2, batched; with one task in the meta-batch it is the serial
    algorithm 1).

    U is ``adaptation`` on the support batches. The query is used for ``loss`` and ``report`` alone. There is
    no function with this gradient, hence neither losses elsewhere nor a curvature; ``trust`` is for the
    entropy of the adapted policies alone.
    """

    def chunk(meta: Meta, data: TaskData) -> tuple[Tensor, Params, dict[str, Tensor]]:
        with torch.no_grad():
            inner = begin_tasks(adaptation, meta)
            path = [inner.params]
            for batch in data.support:
                inner, _ = step_tasks(adaptation, meta, inner, batch)
                path.append(inner.params)
            loss = vmap(functools.partial(objective, apply))(inner.params, data.query)
            measured = report(path, data)
            if trust is not None:
                measured |= {"entropy": entropy(trust.policies(inner.params, data.query), data.query)}
            # The difference before the mean: where nothing moved, it is exactly zero.
            toward = tree_map(torch.sub, meta.model, inner.params)
            return loss, toward, measured

    def at(data: TaskData, meta: Meta) -> Point:
        if leaves(meta.rule):
            raise RequestError(
                "learner 'reptile' moves the initialisation alone; allowed: a rule that learns nothing"
            )
        loss, differences, measured = concat(map_chunks(chunk, chunking, expand(meta, data.tasks), data))
        toward, variance = mean_and_variance(Meta(differences, meta.rule))
        metrics = {name: float(x.mean()) for name, x in measured.items()}
        return Point(loss.mean(), toward, None, metrics | {"grad_variance": variance})

    return lambda data: Problem(functools.partial(at, data))
