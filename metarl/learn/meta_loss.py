"""The loss of a meta-batch of adapted tasks: its gradient, its values elsewhere, and the KL's curvature."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from metarl.core.models import Apply
from metarl.core.objectives import Objective
from metarl.core.params import Meta, Params, concat, detach, expand, ravel, split, tree_map, unravel
from metarl.learn.adapt import Adaptation, replay
from metarl.learn.chunks import Chunking, map_chunks, run_all
from metarl.learn.path_gradient import path_gradient
from metarl.learn.problem import Losses, Point, Report, TaskData, Vector, mean_and_variance
from metarl.learn.trust_region import TrustRegion, entropy

# (apply, the parameters that collected a support batch, that batch, the task's credit) -> loss of one task
Score = Callable[[Apply, Params, Any, Tensor], Float[Tensor, ""]]


@dataclasses.dataclass(frozen=True)
class MetaLoss:
    """The meta-loss of one meta-batch as functions of the meta-parameters; its parts are those of ``maml``.

    Each works on copies of the meta-parameters, one a task, since gradients are per task, and on a chunk of
    tasks at a time.
    """

    apply: Apply
    adaptation: Adaptation
    objective: Objective
    chunking: Chunking
    trust_region: TrustRegion | None
    report: Report
    score: Score | None
    data: TaskData

    def at(self, meta: Meta, reference: Any = None, coefficient: float = 0.0) -> Point:
        """Return the loss and its gradient at ``meta``.

        Args:
            reference: the ``sampling_policies`` of elsewhere: the loss then has a penalty of ``coefficient``
                times the KL from them to those here.
        """

        def of_chunk(
            meta: Meta, data: TaskData, reference: Any = None
        ) -> tuple[Tensor, Meta, dict[str, Tensor], Any]:
            kls: list[Tensor] = []

            def along(k: int, params: Params) -> Tensor | None:
                score = self._score_at(k, params, data)
                if reference is None:
                    return score
                kl = self._region.divergence(reference[k], params, data.support[k])
                kls.append(kl.detach())
                penalty = coefficient / len(data.support) * kl
                return penalty if score is None else score + penalty

            path, loss, grad = path_gradient(
                self.adaptation, meta, data.support, functools.partial(self._query_loss, data=data), along
            )
            with torch.no_grad():
                metrics = self.report(path, data)
            if kls:
                metrics |= {"sampling_kl": torch.stack(kls).mean(0)}
            if self.trust_region is None:
                return loss, grad, metrics, ()
            policies = self.trust_region.policies(path[-1], data.query)
            return loss, grad, metrics | {"entropy": entropy(policies, data.query)}, policies

        references = [] if reference is None else [reference]
        loss, grads, per_task, policies = concat(self._map(of_chunk, meta, *references))
        grad, variance = mean_and_variance(grads)
        metrics = {name: float(x.mean()) for name, x in per_task.items()} | {"grad_variance": variance}
        return Point(loss.mean(), grad, metrics, None if self.trust_region is None else policies)

    def elsewhere(self, meta: Meta, point: Point) -> Losses:
        """Return the loss at ``meta``, and the KL from the adapted policies of ``point`` to those there."""

        def of_chunk(meta: Meta, data: TaskData, reference: Any = None) -> list[Tensor]:
            path = self._path(meta, data)
            scores = [self._score_at(k, params, data) for k, params in enumerate(path[:-1])]
            losses = [*(x for x in scores if x is not None), self._query_loss(path[-1], data)]
            loss = torch.stack(losses).sum(0)
            if self.trust_region is None:
                return [loss]
            return [loss, self.trust_region.divergence(reference, path[-1], data.query)]

        references = [] if self.trust_region is None else [point.policies]
        with torch.no_grad():
            return Losses(*(x.mean() for x in concat(self._map(of_chunk, meta, *references))))

    def sampling_policies(self, meta: Meta) -> Any:
        """Return the policies before each inner step, at the support's observations; None without a step."""
        if not self.data.support:
            return None

        def of_chunk(meta: Meta, data: TaskData) -> tuple[Any, ...]:
            pairs = zip(self._path(meta, data)[:-1], data.support, strict=True)
            return tuple(self._region.policies(params, batch) for params, batch in pairs)

        with torch.no_grad():
            return concat(self._map(of_chunk, meta))

    def sampling_kl(self, meta: Meta, reference: Any) -> float:
        """Return the mean KL from the ``sampling_policies`` of elsewhere to those at ``meta``, in nats."""
        if reference is None:
            return 0.0

        def of_chunk(meta: Meta, data: TaskData, reference: Any) -> Tensor:
            triples = zip(reference, self._path(meta, data)[:-1], data.support, strict=True)
            return torch.stack([self._region.divergence(*triple) for triple in triples]).mean(0)

        with torch.no_grad():
            return float(concat(self._map(of_chunk, meta, reference)).mean())

    def curvature(self, meta: Meta) -> Callable[[Vector], Vector]:
        """Return v ↦ JᵀFJ v, the mean over tasks of ``kl_curvature``, on raveled meta-parameters.

        Graphs of as many chunks as ``chunking.held`` allows are kept; those of the others are built anew for
        each product.
        """

        def of_chunk(meta: Meta, data: TaskData) -> Callable[[Meta], Meta]:
            product = self._region.curvature(self.adaptation, meta, data)
            return lambda tangent: product(expand(tangent, data.tasks))

        size, threads, held = self.chunking
        chunks = list(zip(split(self._per_task(meta), size), split(self.data, size), strict=True))
        keep = len(chunks) if held is None else held // size
        kept = run_all([functools.partial(of_chunk, *chunk) for chunk in chunks[:keep]], threads)

        def product(v: Vector) -> Vector:
            tangent = unravel(v, meta)

            def anew(meta: Meta, data: TaskData) -> Meta:
                return of_chunk(meta, data)(tangent)

            calls = [functools.partial(of_kept, tangent) for of_kept in kept]
            calls += [functools.partial(anew, *chunk) for chunk in chunks[keep:]]
            return ravel(tree_map(lambda x: x.sum(0) / self.data.tasks, concat(run_all(calls, threads))))

        return product

    @property
    def _region(self) -> TrustRegion:
        assert self.trust_region is not None, "only a problem with a trust region has a KL"
        return self.trust_region

    def _per_task(self, meta: Meta) -> Meta:
        return expand(detach(meta), self.data.tasks)

    def _map(self, of_chunk: Callable[..., Any], meta: Meta, *trees: Any) -> list[Any]:
        return map_chunks(of_chunk, self.chunking, self._per_task(meta), self.data, *trees)

    def _path(self, meta: Meta, data: TaskData) -> list[Params]:
        """Return the parameters before each inner step and after the last."""
        return [inner.params for inner in replay(self.adaptation, meta, data.support)]

    def _query_loss(self, params: Params, data: TaskData) -> Float[Tensor, " task"]:
        return vmap(functools.partial(self.objective, self.apply))(params, data.query)

    def _score_at(self, k: int, params: Params, data: TaskData) -> Float[Tensor, " task"] | None:
        if self.score is None:
            return None
        return vmap(functools.partial(self.score, self.apply))(params, data.support[k], data.credit)
