"""What the meta-gradient asks of the policies that collect the support: E-MAML's score, ProMP's penalty."""

from typing import Any

import pytest
import torch
from torch import Tensor

import reference
from metarl.core.errors import RequestError
from metarl.core.objectives import clipped, surrogate, vpg
from metarl.core.params import Meta, Params, leaves, ravel, tree_map, unravel
from metarl.core.rules import sgd
from metarl.learn.adapt import adapt
from metarl.learn.chunks import Chunking
from metarl.learn.learners import learners
from metarl.learn.maml import e_maml, exploration, maml
from metarl.learn.optimizers import adam, ppo
from metarl.learn.problem import Problem, Sampling, TaskData
from metarl.learn.trust_region import TrustRegion
from tiny import as_reference, close, data, learner_of, meta, model, one, randn

LR = 0.3


def credited(steps: int, params: Params) -> TaskData:
    return data(steps, params)._replace(credit=torch.tensor([0.7, -1.2, 0.4], dtype=torch.float64))


def promp(tasks: TaskData, chunk: int = 2) -> Problem:
    apply, _ = model()
    adaptation = adapt(apply, surrogate, sgd(LR))
    return maml(apply, adaptation, clipped(0.3), Chunking(chunk), trust_region=TrustRegion(apply))(tasks)


def sampling(problem: Problem) -> Sampling:
    assert problem.sampling is not None
    return problem.sampling


def near(params: Params, by: float = 0.1) -> Meta:
    return meta({name: p + by * randn(40 + i, *p.shape) for i, (name, p) in enumerate(params.items())})


def slow_path(params: Params, support: list[Any], objective: Any) -> list[Params]:
    """One task's parameters before each step and after the last."""
    path = [params]
    apply, _ = model()
    for batch in support:
        grads = torch.autograd.grad(
            objective(apply, path[-1], batch), list(path[-1].values()), create_graph=True
        )
        path.append({n: p - LR * g for (n, p), g in zip(path[-1].items(), grads, strict=True)})
    return path


def test_exploration_by_hand() -> None:
    """−credit times the sum, over all steps of all episodes, of log π − log π_behaviour."""
    apply, params = model()
    batch = one(data(1, params).support[0], 1)  # episodes of 1 and 4 steps
    log_prob = reference.log_prob(reference.policy(params, batch.obs), batch.action)
    left = sum(float(log_prob[e, t] - batch.log_prob[e, t]) for e, n in ((0, 1), (1, 4)) for t in range(n))
    found = exploration(apply, params, batch, torch.tensor(1.5, dtype=torch.float64))
    assert float(found) == pytest.approx(-1.5 * left, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 3])
def test_e_maml_is_maml_and_the_score_of_each_support_batch(steps: int) -> None:
    apply, params = model()
    tasks = credited(steps, params)
    problem = learner_of(apply, make=e_maml)(tasks)
    theta, total = reference.leaves(params), torch.zeros((), dtype=torch.float64)
    for i, (support, query) in enumerate(as_reference(tasks)):
        path = slow_path(theta, list(support), vpg)
        total = total + reference.surrogate(path[-1], query)
        for at, batch in zip(path, support, strict=False):
            log_prob = reference.log_prob(reference.policy(at, batch.obs), batch.action)
            total = total - tasks.credit[i] * ((log_prob - batch.log_prob) * batch.mask).sum()
    grads = torch.autograd.grad(total / 3, list(theta.values()))
    point = problem.at(meta(params))
    close(point.loss, total.detach() / 3)
    close(ravel(point.grad), torch.cat([g.reshape(-1) for g in grads]))
    # Elsewhere the losses are those of the same function: its differences are the gradient.
    assert problem.losses is not None
    x, h = ravel(meta(params)), 1e-5
    for i in range(0, len(x), 3):
        e = torch.zeros_like(x)
        e[i] = h
        up, down = (problem.losses(unravel(x + s * e, meta(params)), point).loss for s in (1, -1))
        assert float((up - down) / (2 * h)) == pytest.approx(float(ravel(point.grad)[i]), rel=1e-6, abs=1e-8)
    without = learner_of(apply)(tasks)
    assert float((ravel(without.at(meta(params)).grad) - ravel(point.grad)).norm()) > 1e-2
    assert learners["e-maml"] is e_maml


def test_without_credit_e_maml_is_maml() -> None:
    apply, params = model()
    tasks = credited(2, params)
    tasks = tasks._replace(credit=torch.zeros_like(tasks.credit))
    makers = (maml, e_maml)
    found = [learner_of(apply, make=make)(tasks).at(meta(params)) for make in makers]
    close(ravel(found[0].grad), ravel(found[1].grad), 1e-14)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_sampling_policies_are_those_before_each_step(steps: int) -> None:
    _, params = model()
    tasks = data(steps, params)
    found = sampling(promp(tasks)).policies(meta(params))
    assert len(found) == steps
    for i, (support, _) in enumerate(as_reference(tasks)):
        path = slow_path(reference.leaves(params), list(support), surrogate)
        for of_step, at, batch in zip(found, path, support, strict=False):
            for a, b in zip(one(of_step, i), reference.policy(at, batch.obs), strict=True):
                close(a, b.detach())
    assert not any(x.requires_grad for x in leaves(found))


@pytest.mark.parametrize("steps", [1, 3])
def test_the_penalty_is_the_mean_kl_from_them_in_that_direction(steps: int) -> None:
    _, params = model()
    tasks, new = data(steps, params), near(params)
    problem = promp(tasks)
    reference_policies = sampling(problem).policies(meta(params))
    total = []
    for support, _ in as_reference(tasks):
        old = slow_path(reference.leaves(params), list(support), surrogate)
        moved = slow_path(reference.leaves(new.model), list(support), surrogate)
        for a, b, batch in zip(old, moved, support, strict=False):
            of_steps = reference.kl(reference.policy(a, batch.obs), reference.policy(b, batch.obs))
            total.append(reference.over_steps(of_steps, batch.mask).detach())
    expected = torch.stack(total).mean()
    assert sampling(problem).kl(new, reference_policies) == pytest.approx(float(expected), rel=1e-10)
    point = sampling(problem).penalised(new, reference_policies, 2.0)
    assert point.metrics["sampling_kl"] == pytest.approx(float(expected), rel=1e-10)
    close(point.loss, problem.at(new).loss + 2.0 * expected)
    assert sampling(problem).kl(meta(params), reference_policies) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("steps", [1, 2])
def test_the_penalised_gradient_equals_central_differences(steps: int) -> None:
    """Away from the reference, where the KL's own gradient is not zero, through the inner steps too."""
    _, params = model()
    problem, at, h = promp(data(steps, params)), near(params), 1e-5
    reference_policies = sampling(problem).policies(meta(params))
    grad, x = ravel(sampling(problem).penalised(at, reference_policies, 3.0).grad), ravel(at)
    plain = ravel(problem.at(at).grad)
    assert float((grad - plain).norm()) > 1e-2
    for i in range(0, len(x), 2):
        e = torch.zeros_like(x)
        e[i] = h
        up, down = (
            sampling(problem).penalised(unravel(x + s * e, at), reference_policies, 3.0).loss for s in (1, -1)
        )
        assert float((up - down) / (2 * h)) == pytest.approx(float(grad[i]), rel=1e-6, abs=1e-8)


def test_chunks_leave_every_bit_alone() -> None:
    _, params = model()
    tasks = data(2, params)

    def everything(chunk: int) -> list[Tensor]:
        of = sampling(promp(tasks, chunk))
        policies = of.policies(meta(params))
        point = of.penalised(near(params), policies, 1.0)
        return [*leaves(policies), point.loss, *leaves(point.grad)]

    assert all(map(torch.equal, everything(3), everything(2)))


def test_one_epoch_without_a_penalty_is_adam() -> None:
    _, params = model()
    problem, start = promp(data(1, params)), meta(params)
    one_epoch, plain = ppo(0.01, epochs=1, kl_coefficient=0.0), adam(0.01)
    found, state, metrics = one_epoch.step(problem, start, one_epoch.init(start))
    expected, _, _ = plain.step(problem, start, plain.init(start))
    close(ravel(found), ravel(expected), 1e-14)
    assert metrics["kl_coefficient"] == 0.0 and float(state["count"]) == 1


def test_several_epochs_are_adam_on_the_penalised_loss() -> None:
    _, params = model()
    problem, start, lr = promp(data(1, params)), meta(params), 0.02
    optimizer = ppo(lr, epochs=3, kl_coefficient=0.5, kl_target=1.0)
    found, state, metrics = optimizer.step(problem, start, optimizer.init(start))
    policies, x, grads = sampling(problem).policies(start), start, []
    for _ in range(3):
        grads.append(ravel(sampling(problem).penalised(x, policies, 0.5).grad))
        x = unravel(reference.adam_steps(ravel(start), grads, lr), start)
    close(ravel(found), ravel(x), 1e-10)
    assert metrics["sampling_kl"] == pytest.approx(sampling(problem).kl(x, policies), rel=1e-8)
    assert metrics["loss"] == pytest.approx(float(problem.at(start).loss), rel=1e-12)
    assert metrics["kl"] > 0 and float(state["count"]) == 3


@pytest.mark.parametrize(("share", "factor"), [(1.6, 0.5), (1.4, 1.0), (1 / 1.4, 1.0), (1 / 1.6, 2.0)])
def test_the_coefficient_follows_the_kl(share: float, factor: float) -> None:
    """Halved where the KL is under target / 1.5, doubled where it is above 1.5 times the target."""
    _, params = model()
    problem, start = promp(data(1, params)), meta(params)
    first = ppo(0.02, epochs=2, kl_coefficient=0.5)
    kl = first.step(problem, start, first.init(start))[2]["sampling_kl"]
    optimizer = ppo(0.02, epochs=2, kl_coefficient=0.5, kl_target=share * kl)
    _, state, _ = optimizer.step(problem, start, optimizer.init(start))
    assert float(state["kl_coefficient"]) == 0.5 * factor


def test_without_inner_steps_there_is_nobody_to_keep_near_to() -> None:
    _, params = model()
    problem, start = promp(data(0, params)), meta(params)
    optimizer = ppo(0.02, epochs=2)
    found, _, metrics = optimizer.step(problem, start, optimizer.init(start))
    assert metrics["sampling_kl"] == 0.0 and not torch.equal(ravel(found), ravel(start))


def test_tasks_gradients_differ_by_what_is_reported() -> None:
    _, params = model()
    tasks = data(1, params)
    alone = [
        ravel(promp(TaskData(*(one_task(tree, i) for tree in tasks[:2]))).at(meta(params)).grad)
        for i in range(3)
    ]
    each = torch.stack(alone)
    expected = (each - each.mean(0)).square().sum() / 3
    assert promp(tasks).at(meta(params)).metrics["grad_variance"] == pytest.approx(float(expected), rel=1e-10)


def one_task(tree: Any, i: int) -> Any:
    return tree_map(lambda x: x[i : i + 1], tree)


@pytest.mark.parametrize(("target", "bound"), [(1e9, 0.5 / 64), (1e-30, 0.5 * 64)])
def test_the_coefficient_stays_within_reach(target: float, bound: float) -> None:
    """However long the KL is on one side of its target; else it would take as long to come back."""
    _, params = model()
    problem, start = promp(data(1, params)), meta(params)
    optimizer = ppo(1e-4, epochs=2, kl_coefficient=0.5, kl_target=target)
    state = optimizer.init(start)
    for _ in range(8):
        _, state, _ = optimizer.step(problem, start, state)
    assert float(state["kl_coefficient"]) == bound


def test_a_score_without_credit_is_refused() -> None:
    apply, params = model()
    learner = learner_of(apply, make=e_maml)
    with pytest.raises(RequestError, match=r"TaskData.credit; core.returns.credit makes it"):
        learner(data(1, params))
