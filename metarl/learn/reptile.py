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
from metarl.learn.adapt import Adaptation, replay, unroll
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
    """Move the initialisation toward the adapted parameters (Reptile, Nichol et al. 2018).

    In the place of a gradient stands θ − mean over tasks of U(θ), where U is the adaptation on the support
    batches: SGD with step size ε takes it as θ ← θ + ε (mean U(θ) − θ), their algorithm 2, batched; with one
    task in the meta-batch it is the serial algorithm 1. There is no function with this gradient, hence
    neither losses elsewhere nor a curvature.

    Args:
        apply: ``apply(params, x)``, the model of one task.
        adaptation: the inner loop of one task; nothing is differentiated through it.
        objective: the loss of one task's query batch, which is reported alone, as is all of the query.
        chunking: how many tasks are computed at a time.
        trust_region: for models whose output is a distribution: their entropy is reported, and the KL from
            the adapted policies to those after a step.
        report: numbers of each task, whose means become metrics.

    Returns:
        A function of a meta-batch's data that returns its problem, for ``sgd`` or ``adam`` to step on.

    Raises:
        RequestError: (the problem) the inner rule has meta-parameters, which this could not learn.

    Example:
        From slope 0, one inner step of size 0.1 towards the lines of slope 2 and −1 leads to 0.4 and −0.2:

        >>> import torch
        >>> from metarl.core.batch import Shots
        >>> from metarl.core.objectives import mse
        >>> from metarl.core.params import Meta
        >>> from metarl.core.rules import sgd
        >>> from metarl.learn.adapt import adapt
        >>> from metarl.learn.chunks import Chunking
        >>> from metarl.learn.problem import TaskData
        >>> from metarl.learn.reptile import reptile
        >>> line = lambda params, x: params["slope"] * x
        >>> learner = reptile(line, adapt(line, mse, sgd(lr=0.1), order=1), mse, Chunking(size=2))
        >>> batch = Shots(x=torch.ones(2, 1, 1), y=torch.tensor([2.0, -1.0]).reshape(2, 1, 1))
        >>> problem = learner(TaskData(support=(batch,), query=batch))
        >>> problem.at(Meta({"slope": torch.tensor(0.0)}, {})).grad.model["slope"]
        tensor(-0.1000)
    """

    def of_chunk(meta: Meta, data: TaskData) -> tuple[Tensor, Params, dict[str, Tensor], Any]:
        with torch.no_grad():
            path = [inner.params for inner in replay(adaptation, meta, data.support)]
            loss = vmap(functools.partial(objective, apply))(path[-1], data.query)
            # The difference before the mean: where nothing moved, it is exactly zero.
            toward, metrics = tree_map(torch.sub, meta.model, path[-1]), report(path, data)
            if trust_region is None:
                return loss, toward, metrics, ()
            policies = trust_region.policies(path[-1], data.query)
            return loss, toward, metrics | {"entropy": entropy(policies, data.query)}, policies

    def at(data: TaskData, meta: Meta) -> Point:
        if leaves(meta.rule):
            raise RequestError(
                "learner 'reptile' moves the initialisation alone; allowed: a rule that learns nothing"
            )
        chunks = map_chunks(of_chunk, chunking, expand(meta, data.tasks), data)
        loss, differences, per_task, policies = concat(chunks)
        toward, variance = mean_and_variance(Meta(differences, meta.rule))
        metrics = {name: float(x.mean()) for name, x in per_task.items()} | {"grad_variance": variance}
        return Point(loss.mean(), toward, metrics, None if trust_region is None else policies)

    def kl(region: TrustRegion, data: TaskData, meta: Meta, point: Point) -> Tensor:
        def kl_of_chunk(meta: Meta, data: TaskData, reference: Any) -> Tensor:
            with torch.no_grad():
                return region.divergence(reference, unroll(adaptation, meta, data.support).params, data.query)

        trees = (expand(meta, data.tasks), data, point.policies)
        return torch.cat(map_chunks(kl_of_chunk, chunking, *trees)).mean()

    def meta_learner(data: TaskData) -> Problem:
        moved = None if trust_region is None else functools.partial(kl, trust_region, data)
        return Problem(functools.partial(at, data), kl=moved)

    return meta_learner
