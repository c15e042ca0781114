"""MAML's loss, gradient and KL against the slow twin, and against central differences."""

import dataclasses

import pytest
import torch

import reference
from metarl.core.objectives import surrogate, vpg
from metarl.core.params import Meta, Params, expand, ravel, tree_map, unravel
from metarl.core.rules import sgd
from metarl.learn.adapt import adapt, unroll
from metarl.learn.learners import learners
from metarl.learn.maml import maml
from metarl.learn.problem import Problem, TaskData
from tiny import as_reference, close, close_params, data, learner_of, meta, model, momentum, one, randn

LR = 0.3
KINDS = ["gaussian", "categorical", "choices"]


def problem(tasks: TaskData, kind: str = "gaussian", order: int = 2, chunk: int = 2) -> Problem:
    apply, _ = model(kind)
    return learner_of(apply, order=order, chunk=chunk)(tasks)


def moved(params: Params, seed: int = 9, by: float = 0.5) -> Params:
    return {name: p + by * randn(seed + i, *p.shape) for i, (name, p) in enumerate(params.items())}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradient_equal_the_twin_s(kind: str, steps: int, order: int) -> None:
    _, params = model(kind)
    tasks = data(steps, params, kind)
    point = problem(tasks, kind, order).at(meta(params))
    close(point.loss, reference.maml_loss(reference.leaves(params), as_reference(tasks), LR).detach())
    close_params(point.grad.model, reference.maml_grad(params, as_reference(tasks), LR, order))
    assert point.grad.rule == {}


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_kl_elsewhere_equal_the_twin_s(kind: str, steps: int) -> None:
    _, params = model(kind)
    tasks, new = data(steps, params, kind), moved(params)
    fast = problem(tasks, kind)
    found = fast.losses(meta(new), fast.at(meta(params)))
    close(found.loss, reference.maml_loss(reference.leaves(new), as_reference(tasks), LR).detach())
    assert found.kl is not None and float(found.kl) > 1e-3
    slow = reference.maml_kl(reference.leaves(new), params, as_reference(tasks), LR).detach()
    close(found.kl, slow)
    # The other direction is another number: this test can tell them apart.
    other = reference.maml_kl(reference.leaves(params), new, as_reference(tasks), LR).detach()
    assert abs(float(other - slow)) > 1e-3 * float(slow)


def test_losses_where_the_point_was_made_are_the_point_s() -> None:
    _, params = model()
    fast = problem(data(1, params))
    point = fast.at(meta(params))
    found = fast.losses(meta(params), point)
    assert torch.equal(found.loss, point.loss)
    assert found.kl is not None and abs(float(found.kl)) < 1e-15


def test_the_point_holds_the_adapted_policies() -> None:
    _, params = model()
    tasks = data(1, params)
    point = problem(tasks).at(meta(params))
    entropies = []
    for i, (support, query) in enumerate(as_reference(tasks)):
        slow = reference.policy(reference.inner_steps(reference.leaves(params), support, LR, 2), query.obs)
        for a, b in zip(one(point.policies, i), slow, strict=True):
            close(a, b.detach())
            assert not a.requires_grad
        entropies.append(reference.over_steps(reference.entropy(slow), query.mask))
    assert point.metrics["entropy"] == pytest.approx(float(torch.stack(entropies).mean().detach()), rel=1e-12)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_gradient_equals_central_differences(steps: int) -> None:
    """For each meta-parameter, those of a learned rule too."""
    apply, params = model()
    numbers = {"lr": torch.tensor(0.2, dtype=torch.float64), "beta": torch.tensor(0.7, dtype=torch.float64)}
    for rule, start in ((sgd(LR), Meta(params, {})), (momentum(), Meta(params, numbers))):
        fast = learner_of(apply, rule, chunk=3)(data(steps, params))
        point, x = fast.at(start), ravel(start)
        grad, h = ravel(point.grad), 1e-5
        for i in range(len(x)):
            e = torch.zeros_like(x)
            e[i] = h
            up, down = (fast.losses(unravel(x + s * e, start), point).loss for s in (1, -1))
            assert float((up - down) / (2 * h)) == pytest.approx(float(grad[i]), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("steps", [1, 3])
def test_order_1_is_the_gradient_at_the_adapted_parameters(steps: int) -> None:
    apply, params = model()
    tasks = data(steps, params)
    adapted = unroll(adapt(apply, vpg, sgd(LR)), expand(meta(params), 3), tasks.support).params
    there = []
    for i in range(3):
        theta = reference.leaves(one(adapted, i))
        loss = surrogate(apply, theta, one(tasks.query, i))
        there.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(theta.values()))]))
    first, second = (reference.flat(problem(tasks, order=k).at(meta(params)).grad.model) for k in (1, 2))
    close(first, torch.stack(there).mean(0))
    assert not torch.allclose(first, second, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("order", [1, 2])
def test_every_task_contributes_alike(order: int) -> None:
    _, params = model()
    tasks = data(2, params)
    whole = reference.flat(problem(tasks, order=order).at(meta(params)).grad.model)
    alone = []
    for i in range(3):
        part = TaskData(*(tree_map(lambda x, i=i: x[i : i + 1], t) for t in tasks))
        alone.append(reference.flat(problem(part, order=order).at(meta(params)).grad.model))
        assert float(alone[-1].norm()) > 1e-3
    close(whole, torch.stack(alone).mean(0))
    without = dataclasses.replace(tasks.query, advantage=tasks.query.advantage.clone())
    without.advantage[2] = 0
    less = reference.flat(problem(TaskData(tasks.support, without), order=order).at(meta(params)).grad.model)
    close(less, (alone[0] + alone[1]) / 3)


def test_at_the_behaviour_policy_the_loss_is_minus_the_mean_advantage() -> None:
    """Query data drawn by the adapted policies: ratio 1, a task's steps count alike, and so do the tasks."""
    _, params = model()
    tasks = data(1, params)
    policies = problem(tasks).at(meta(params)).policies
    query = dataclasses.replace(tasks.query, log_prob=policies.log_prob(tasks.query.action))
    point = problem(TaskData(tasks.support, query)).at(meta(params))
    means = [query.advantage[i][query.mask[i] > 0].mean() for i in range(3)]
    close(point.loss, -torch.stack(means).mean())


def test_the_meta_parameters_are_left_alone_and_found_by_name() -> None:
    _, params = model()
    before = {name: p.clone() for name, p in params.items()}
    problem(data(1, params)).at(meta(params))
    close_params(params, before)
    assert not any(p.requires_grad for p in params.values())
    assert learners["maml"] is maml
