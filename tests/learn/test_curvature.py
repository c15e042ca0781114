"""The curvature product against the Hessian of the KL by double backward."""

import pytest
import torch
from torch import Tensor, nn

import reference
from metarl.core.batch import every
from metarl.core.models import policy
from metarl.core.objectives import surrogate, vpg
from metarl.core.params import Meta, Params, leaves, ravel
from metarl.learn.adapt import adapt
from metarl.learn.chunks import Chunking
from metarl.learn.curvature import LinearMap
from metarl.learn.maml import maml
from metarl.learn.problem import Problem, TaskData
from metarl.learn.trust_region import TrustRegion
from tiny import as_reference, close, data, learner_of, meta, model, momentum, one, randn

LR = 0.3
KINDS = ["gaussian", "categorical", "choices"]


def problem(
    tasks: TaskData, kind: str = "gaussian", order: int = 2, chunk: int = 2, stride: int = 1
) -> Problem:
    apply, _ = model(kind)
    return learner_of(apply, order=order, chunk=chunk, stride=stride)(tasks)


def product(fast: Problem, params: Params, v: Tensor) -> Tensor:
    assert fast.curvature is not None
    return fast.curvature(meta(params))(v)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_hessian_of_the_kl(kind: str, steps: int, order: int) -> None:
    _, params = model(kind)
    tasks = data(steps, params, kind)
    fast = problem(tasks, kind, order)
    assert fast.curvature is not None
    apply_fast = fast.curvature(meta(params))  # one linear map, used many times
    apply_slow = reference.kl_hvp(params, as_reference(tasks), LR, order)
    for seed in range(3):
        v = randn(seed, reference.flat(params).numel())
        expected = apply_slow(v)
        assert float(expected.norm()) > 1e-2
        close(apply_fast(v), expected)


def test_the_order_makes_a_difference_to_it() -> None:
    _, params = model()
    tasks, v = data(1, params), randn(0, reference.flat(params).numel())
    first, second = (product(problem(tasks, order=k), params, v) for k in (1, 2))
    assert not torch.allclose(first, second, rtol=1e-2)


def test_it_is_linear_symmetric_and_positive() -> None:
    _, params = model()
    fast = problem(data(3, params))
    assert fast.curvature is not None
    curvature = fast.curvature(meta(params))
    columns = torch.stack(
        [curvature(e) for e in torch.eye(reference.flat(params).numel(), dtype=torch.float64)]
    )
    close(columns, columns.T)
    assert float(torch.linalg.eigvalsh(columns).min()) > -1e-12
    v = randn(1, len(columns))
    close(curvature(v), columns @ v)
    close(curvature(3 * v), 3 * curvature(v))


@pytest.mark.parametrize("steps", [1, 3])
def test_it_covers_a_learned_rule_s_own_parameters(steps: int) -> None:
    apply, params = model()
    tasks = data(steps, params)
    numbers = {"beta": torch.tensor(0.7, dtype=torch.float64), "lr": torch.tensor(0.2, dtype=torch.float64)}
    start, adaptation = Meta(params, numbers), adapt(apply, vpg, momentum())
    fast = maml(apply, adaptation, surrogate, Chunking(2), trust_region=TrustRegion(apply))(tasks)
    assert fast.curvature is not None
    theta = Meta(reference.leaves(params), reference.leaves(numbers))
    divergences = []
    for i in range(3):  # the KL itself, one task after the other, differentiated twice
        inner = adaptation.begin(theta)
        for batch in tasks.support:
            inner, _ = adaptation.step(theta, inner, one(batch, i))
        new = tuple(apply(inner.params, one(tasks.query, i).obs))
        old = tuple(x.detach() for x in new)
        divergences.append(reference.over_steps(reference.kl(old, new), tasks.query.mask[i]))
    first = torch.autograd.grad(torch.stack(divergences).mean(), leaves(theta), create_graph=True)
    v = randn(3, ravel(start).numel())
    slow = torch.autograd.grad(torch.cat([g.reshape(-1) for g in first]) @ v, leaves(theta))
    found = fast.curvature(start)(v)
    close(found, torch.cat([g.reshape(-1) for g in slow]))
    assert [bool(x) for x in found[-2:] != 0] == [steps > 1, True]  # beta, lr: one step has no momentum yet


def test_a_stride_thins_what_is_averaged_over_and_leaves_the_adaptation_whole() -> None:
    _, params = model()
    tasks, v = data(1, params), randn(0, reference.flat(params).numel())
    thin = TaskData(tasks.support, every(tasks.query, 2))
    found = product(problem(tasks, stride=2), params, v)
    close(found, reference.kl_hvp(params, as_reference(thin), LR)(v))
    assert not torch.allclose(found, product(problem(tasks), params, v), rtol=1e-2)


@pytest.mark.parametrize("chunk", [1, 2, 3, 5])
def test_chunks_do_not_change_it(chunk: int) -> None:
    _, params = model()
    tasks, v = data(1, params), randn(0, reference.flat(params).numel())
    close(
        product(problem(tasks, chunk=chunk), params, v), reference.kl_hvp(params, as_reference(tasks), LR)(v)
    )


def test_a_linear_map_is_the_jacobian_both_ways() -> None:
    x, y = randn(1, 3).requires_grad_(), randn(2, 2).requires_grad_()

    def fn(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(x).prod() * y, x[:2] * 2

    jacobian = torch.autograd.functional.jacobian(fn, (x, y))
    dense = torch.cat([torch.cat([block.reshape(2, -1) for block in row], 1) for row in jacobian])
    linear, v, w = LinearMap(fn(x, y), (x, y)), randn(3, 5), randn(4, 4)
    for _ in range(2):  # the graphs are kept
        close(torch.cat([t.detach() for t in linear.push((v[:3], v[3:]))]), dense @ v)
        close(torch.cat([t.detach() for t in linear.pull((w[:2], w[2:]))]), dense.T @ w)


class TwoHeads(nn.Module):
    """A policy with a head that its distribution does not use (a value head, say)."""

    def __init__(self) -> None:
        super().__init__()
        self.policy, self.value = nn.Linear(2, 3), nn.Linear(2, 1)

    def forward(self, obs: Tensor) -> Tensor:
        logits: Tensor = self.policy(obs)
        return logits


def test_parameters_that_the_policy_does_not_use_have_no_curvature() -> None:
    apply = policy(TwoHeads().double())
    params = {"policy.weight": randn(1, 3, 2), "policy.bias": randn(2, 3)}
    idle = {"value.weight": randn(3, 1, 2), "value.bias": randn(4, 1)}
    tasks = data(1, params, "categorical")
    fast = learner_of(apply)(tasks)
    found = product(fast, params | idle, randn(5, 12))
    close(found[:9], reference.kl_hvp(params, as_reference(tasks), LR)(randn(5, 12)[:9]))
    assert not bool(found[9:].any())
