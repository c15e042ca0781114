"""Model-agnostic meta-learning (Finn, Abbeel & Levine 2017), of either order, for any rule and objective."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from metarl.core.batch import Episodes
from metarl.core.errors import RequestError
from metarl.core.models import Apply
from metarl.core.objectives import Objective
from metarl.core.params import Meta, Params, concat, detach, expand, ravel, split, tree_map, unravel
from metarl.learn.adapt import Adaptation, begin_tasks, step_tasks
from metarl.learn.chunks import Chunking, map_chunks, run_all
from metarl.learn.problem import (
    Losses,
    MetaLearner,
    Point,
    Problem,
    Report,
    Sampling,
    TaskData,
    Vector,
    mean_and_variance,
    nothing,
)
from metarl.learn.trust_region import TrustRegion, entropy
from metarl.learn.walk import walk

# (apply, the parameters that collected a support batch, that batch, the task's credit) -> loss of one task
Score = Callable[[Apply, Params, Any, Tensor], Float[Tensor, ""]]


class _Parts(NamedTuple):
    """The arguments of ``maml``."""

    apply: Apply
    adaptation: Adaptation
    objective: Objective
    chunking: Chunking
    trust_region: TrustRegion | None
    report: Report
    score: Score | None


def maml(
    apply: Apply,
    adaptation: Adaptation,
    objective: Objective,
    chunking: Chunking,
    *,
    trust_region: TrustRegion | None = None,
    report: Report = nothing,
    score: Score | None = None,
) -> MetaLearner:
    """The mean over tasks of ``objective`` at the adapted parameters, as a function of the meta-parameters.

    ``adaptation`` decides the order. Gradients are per task and then summed in the tasks' order, so that
    chunks and threads leave the bits alone. ``trust_region`` is for models whose output is a distribution:
    with it the problem has a KL and a curvature. ``score`` adds a loss of the policies that collected the
    support batches, at each of them (``e_maml``).
    """
    parts = _Parts(apply, adaptation, objective, chunking, trust_region, report, score)

    def meta_learner(data: TaskData) -> Problem:
        if score is not None and not isinstance(data.credit, Tensor):
            raise RequestError("a score of the support needs TaskData.credit; core.returns.credit makes it")
        at = functools.partial(_at, parts, data)
        losses = functools.partial(_losses, parts, data)
        if trust_region is None:
            return Problem(at, losses)
        sampling = Sampling(
            functools.partial(_sampling_policies, parts, trust_region, data),
            functools.partial(_sampling_kl, parts, trust_region, data),
            lambda meta, reference, coefficient: at(meta, (trust_region, reference, coefficient)),
        )
        return Problem(at, losses, functools.partial(_curvature, parts, trust_region, data), sampling)

    return meta_learner


def exploration(apply: Apply, params: Params, batch: Episodes, credit: Tensor) -> Float[Tensor, ""]:
    """−credit · Σ log π / π_behaviour over all steps of all of a task's support episodes.

    Its gradient at the behaviour policy is E-MAML's score term, without bias whatever the other tasks gave;
    the ratio makes its value there 0, and moves with a line search. Departure: the paper credits the query's
    return, here it is measured against the other tasks' mean, and about in the unit of normalised advantages,
    so that it weighs against the other term as the true gradient has it.
    """
    log_ratio = apply(params, batch.obs).log_prob(batch.action) - batch.log_prob
    return -credit * torch.where(batch.mask > 0, log_ratio, 0.0).sum()


# MAML that credits exploration (E-MAML, Stadie et al. 2018): the gradient also has the term by which the
# initialisation changes which episodes are adapted to, E[∇log p(support) · merit of the query].
e_maml = functools.partial(maml, score=exploration)


def _each_task(meta: Meta, data: TaskData) -> Meta:
    """A copy of the meta-parameters for each task: their gradients are per task."""
    return expand(detach(meta), data.tasks)


def _path(parts: _Parts, meta: Meta, data: TaskData) -> list[Params]:
    """The parameters before each inner step and after the last."""
    inner = begin_tasks(parts.adaptation, meta)
    path = [inner.params]
    for batch in data.support:
        inner, _ = step_tasks(parts.adaptation, meta, inner, batch)
        path.append(inner.params)
    return path


def _loss(parts: _Parts, data: TaskData, k: int, params: Params) -> Float[Tensor, " task"] | None:
    """The loss after ``k`` inner steps: on the query after the last, else what is scored, if anything is."""
    if k == len(data.support):
        return vmap(functools.partial(parts.objective, parts.apply))(params, data.query)
    if parts.score is None:
        return None
    return vmap(functools.partial(parts.score, parts.apply))(params, data.support[k], data.credit)


# The divergence, the sampling policies that it is measured from, and the coefficient of its penalty.
_Penalty = tuple[TrustRegion, Any, float]


def _at(parts: _Parts, data: TaskData, meta: Meta, penalty: _Penalty | None = None) -> Point:
    def chunk(meta: Meta, data: TaskData, reference: Any = ()) -> tuple[Tensor, Meta, Any, dict[str, Tensor]]:
        divergences: list[Tensor] = []

        def along(k: int, params: Params) -> Tensor | None:
            loss = _loss(parts, data, k, params)
            if penalty is None or k == len(data.support):
                return loss
            trust_region, _, coefficient = penalty
            kl = trust_region.divergence(reference[k], params, data.support[k])
            divergences.append(kl.detach())
            cost = coefficient / len(data.support) * kl
            return cost if loss is None else loss + cost

        found = walk(parts.adaptation, meta, data.support, along)
        with torch.no_grad():
            measured = parts.report(found.path, data)
        if divergences:
            measured |= {"sampling_kl": torch.stack(divergences).mean(0)}
        if parts.trust_region is None:
            return found.loss, found.grad, (), measured
        policies = parts.trust_region.policies(found.path[-1], data.query)
        return found.loss, found.grad, policies, measured | {"entropy": entropy(policies, data.query)}

    references = [penalty[1]] if penalty and data.support else []
    chunks = map_chunks(chunk, parts.chunking, _each_task(meta, data), data, *references)
    loss, grads, policies, measured = concat(chunks)
    grad, variance = mean_and_variance(grads)
    metrics = {name: float(x.mean()) for name, x in measured.items()}
    return Point(loss.mean(), grad, policies, metrics | {"grad_variance": variance})


def _losses(parts: _Parts, data: TaskData, meta: Meta, point: Point) -> Losses:
    def chunk(meta: Meta, data: TaskData, reference: Any = ()) -> list[Tensor]:
        path = _path(parts, meta, data)
        along = [_loss(parts, data, k, params) for k, params in enumerate(path)]
        loss = torch.stack([loss for loss in along if loss is not None]).sum(0)
        if parts.trust_region is None:
            return [loss]
        return [loss, parts.trust_region.divergence(reference, path[-1], data.query)]

    trees = [_each_task(meta, data), data, *([] if parts.trust_region is None else [point.policies])]
    with torch.no_grad():
        return Losses(*(x.mean() for x in concat(map_chunks(chunk, parts.chunking, *trees))))


def _sampling_policies(parts: _Parts, trust_region: TrustRegion, data: TaskData, meta: Meta) -> Any:
    if not data.support:
        return ()

    def chunk(meta: Meta, data: TaskData) -> tuple[Any, ...]:
        pairs = zip(_path(parts, meta, data)[:-1], data.support, strict=True)
        return tuple(trust_region.policies(params, batch) for params, batch in pairs)

    with torch.no_grad():
        return concat(map_chunks(chunk, parts.chunking, _each_task(meta, data), data))


def _sampling_kl(
    parts: _Parts, trust_region: TrustRegion, data: TaskData, meta: Meta, reference: Any
) -> float:
    if not data.support:
        return 0.0

    def chunk(meta: Meta, data: TaskData, reference: Any) -> Tensor:
        triples = zip(reference, _path(parts, meta, data)[:-1], data.support, strict=True)
        return torch.stack([trust_region.divergence(*triple) for triple in triples]).mean(0)

    with torch.no_grad():
        chunks = map_chunks(chunk, parts.chunking, _each_task(meta, data), data, reference)
        return float(concat(chunks).mean())


def _curvature(
    parts: _Parts, trust_region: TrustRegion, data: TaskData, meta: Meta
) -> Callable[[Vector], Vector]:
    def chunk(meta: Meta, data: TaskData) -> Callable[[Meta], Meta]:
        of_each = trust_region.curvature(parts.adaptation, meta, data)
        return lambda tangent: of_each(expand(tangent, data.tasks))

    def anew(meta: Meta, data: TaskData, tangent: Meta) -> Meta:
        return chunk(meta, data)(tangent)

    size, threads, held = parts.chunking
    pieces = list(zip(split(_each_task(meta, data), size), split(data, size), strict=True))
    keep = len(pieces) if held is None else held // size
    kept = run_all([functools.partial(chunk, *piece) for piece in pieces[:keep]], threads)

    def product(v: Vector) -> Vector:
        tangent = unravel(v, meta)
        calls = [functools.partial(of_chunk, tangent) for of_chunk in kept]
        calls += [functools.partial(anew, *piece, tangent) for piece in pieces[keep:]]
        per_task = concat(run_all(calls, parts.chunking.threads))
        return ravel(tree_map(lambda x: x.sum(0) / data.tasks, per_task))

    return product
