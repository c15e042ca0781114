"""What a trust region is drawn with: policies without a graph, and a divergence that counts steps."""

import dataclasses

import pytest
import torch

import reference
from metarl.core.batch import every
from metarl.core.objectives import vpg
from metarl.core.params import Params, expand, leaves, tree_map
from metarl.core.rules import sgd
from metarl.learn.adapt import adapt
from metarl.learn.problem import TaskData
from metarl.learn.trust_region import TrustRegion, entropy
from tiny import as_reference, close, data, episodes, meta, model, one, randn

KINDS = ["gaussian", "categorical", "choices"]


def of_three(params: Params, seed: int = 0, by: float = 0.0) -> Params:
    """Parameters of three tasks, all different."""
    return {
        name: p + 0.3 * randn(seed + i, *p.shape) + by
        for i, (name, p) in enumerate(expand(params, 3).items())
    }


@pytest.mark.parametrize("kind", KINDS)
def test_policies_are_each_task_s_own_and_have_no_graph(kind: str) -> None:
    apply, params = model(kind)
    each, query = of_three(params), episodes(1, params, kind)
    watched = tree_map(lambda x: x.clone().requires_grad_(), each)
    found = TrustRegion(apply).policies(watched, query)
    assert not any(x.requires_grad for x in leaves(found))
    for i in range(3):
        alone = apply(one(each, i), one(query, i).obs)
        for ours, theirs in zip(leaves(one(found, i)), leaves(alone), strict=True):
            close(ours, theirs, 1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_divergence_is_from_the_reference_over_the_steps_that_happened(kind: str) -> None:
    apply, params = model(kind)
    query, here, there = episodes(1, params, kind), of_three(params), of_three(params, 50)
    trust = TrustRegion(apply)
    old = trust.policies(here, query)
    found = trust.divergence(old, there, query)
    assert found.shape == (3,)
    for i in range(3):
        new = reference.policy(one(there, i), query.obs[i])
        before = reference.policy(one(here, i), query.obs[i])
        slow = reference.kl(before, new)
        close(found[i], reference.over_steps(slow, query.mask[i]), 1e-12)
        backwards = reference.over_steps(reference.kl(new, before), query.mask[i])
        assert abs(float(found[i] - backwards)) > 1e-3 * float(found[i])
    assert not bool(trust.divergence(old, here, query).abs().max() > 1e-15)
    # What stands in the padding is not seen.
    padded = dataclasses.replace(query, obs=query.obs + 9.0 * (1 - query.mask)[..., None])
    close(trust.divergence(trust.policies(here, padded), there, padded), found, 1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_entropy_is_the_mean_over_the_steps_that_happened(kind: str) -> None:
    apply, params = model(kind)
    query, each = episodes(1, params, kind), of_three(params)
    found = entropy(TrustRegion(apply).policies(each, query), query)
    for i in range(3):
        slow = reference.entropy(reference.policy(one(each, i), query.obs[i]))
        close(found[i], reference.over_steps(slow, query.mask[i]), 1e-12)


def test_the_stride_thins_the_curvature_and_nothing_else() -> None:
    apply, params = model()
    tasks, each = data(1, params), of_three(params)
    plain, strided = TrustRegion(apply), TrustRegion(apply, 2)
    old = plain.policies(each, tasks.query)
    assert all(map(torch.equal, leaves(old), leaves(strided.policies(each, tasks.query))))
    moved = of_three(params, 50)
    assert torch.equal(*(t.divergence(old, moved, tasks.query) for t in (plain, strided)))
    adaptation, start = adapt(apply, vpg, sgd(0.3)), expand(meta(params), 3)
    v = expand(meta({name: randn(i, *p.shape) for i, (name, p) in enumerate(params.items())}), 3)
    thin = TaskData(tasks.support, every(tasks.query, 2))
    found = strided.curvature(adaptation, start, tasks)(v)
    by_hand, whole = (plain.curvature(adaptation, start, part)(v) for part in (thin, tasks))
    assert all(map(torch.equal, leaves(found), leaves(by_hand)))
    assert not torch.allclose(found.model["net.0.weight"], whole.model["net.0.weight"], rtol=1e-2)


def test_the_support_stride_thins_what_is_adapted_to_and_nothing_else() -> None:
    apply, params = model()
    tasks, start = data(1, params), expand(meta(params), 3)
    adaptation = adapt(apply, vpg, sgd(0.3))
    v = expand(meta({name: randn(i, *p.shape) for i, (name, p) in enumerate(params.items())}), 3)
    thin = TaskData(tuple(every(b, 2) for b in tasks.support), tasks.query)
    found = TrustRegion(apply, 1, 2).curvature(adaptation, start, tasks)(v)
    by_hand, whole = (TrustRegion(apply).curvature(adaptation, start, part)(v) for part in (thin, tasks))
    assert all(map(torch.equal, leaves(found), leaves(by_hand)))
    assert not torch.allclose(found.model["net.0.weight"], whole.model["net.0.weight"], rtol=1e-2)


def test_curvature_of_a_chunk_is_each_task_s_own() -> None:
    apply, params = model()
    tasks, each_v = data(2, params), randn(4, 3, reference.flat(params).numel())
    tangents = [reference.unflat(v, params) for v in each_v]
    v = meta({name: torch.stack([tangent[name] for tangent in tangents]) for name in params})
    product = TrustRegion(apply).curvature(adapt(apply, vpg, sgd(0.3)), expand(meta(params), 3), tasks)
    found = product(v).model
    for i, task in enumerate(as_reference(tasks)):
        close(reference.flat(one(found, i)), reference.kl_hvp(params, [task], 0.3)(each_v[i]))
