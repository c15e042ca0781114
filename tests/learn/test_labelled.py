"""MAML of both orders on labelled examples: what tests of policies cannot show, and that tasks stay apart."""

import functools
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import reference
from metarl.core.batch import Shots
from metarl.core.errors import RequestError
from metarl.core.objectives import objectives
from metarl.core.params import Params, expand, leaves, ravel, split
from metarl.core.rules import only, sgd
from metarl.learn.adapt import adapt, unroll
from metarl.learn.chunks import Chunking
from metarl.learn.maml import maml
from metarl.learn.optimizers import trpo
from metarl.learn.problem import Problem, TaskData
from tiny import close, close_params, lessons, meta, one, predictor

LR = 0.3
KINDS = ["mse", "cross-entropy"]


def problem(tasks: TaskData, kind: str = "mse", order: int = 2, chunk: int = 2) -> Problem:
    apply, _ = predictor()
    adaptation = adapt(apply, objectives[kind], sgd(LR), order)
    return maml(apply, adaptation, objectives[kind], Chunking(chunk))(tasks)


def grad(tasks: TaskData, kind: str = "mse", order: int = 2, chunk: int = 2) -> Params:
    return problem(tasks, kind, order, chunk).at(meta(predictor()[1])).grad.model


def slow_loss(theta: Params, shots: Shots, kind: str) -> Tensor:
    """tanh network and loss of one task, written out."""
    hidden = (shots.x @ theta["0.weight"].T + theta["0.bias"]).tanh()
    out = hidden @ theta["2.weight"].T + theta["2.bias"]
    if kind == "mse":
        return ((out - shots.y) ** 2).mean()
    return -(out - out.logsumexp(-1, keepdim=True))[torch.arange(len(shots.y)), shots.y].mean()


def slow_adapted(theta: Params, support: list[Shots], kind: str, create_graph: bool) -> Params:
    for batch in support:
        loss = slow_loss(theta, batch, kind)
        grads = torch.autograd.grad(loss, list(theta.values()), create_graph=create_graph)
        theta = {name: p - LR * g for (name, p), g in zip(theta.items(), grads, strict=True)}
    return theta


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradient_are_those_of_a_loop_over_tasks(kind: str, steps: int) -> None:
    tasks, theta = lessons(steps, kind), reference.leaves(predictor()[1])
    losses = [
        slow_loss(
            slow_adapted(theta, [one(b, i) for b in tasks.support], kind, True), one(tasks.query, i), kind
        )
        for i in range(3)
    ]
    slow = torch.autograd.grad(torch.stack(losses).mean(), list(theta.values()))
    point = problem(tasks, kind).at(meta(predictor()[1]))
    close(point.loss, torch.stack(losses).mean().detach(), 1e-12)
    close_params(point.grad.model, dict(zip(theta, slow, strict=True)), 1e-12)
    found = problem(tasks, kind).losses
    assert found is not None
    assert torch.equal(found(meta(predictor()[1]), point).loss, point.loss)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_first_order_is_the_gradient_at_the_adapted_parameters_and_differs(kind: str, steps: int) -> None:
    tasks, there = lessons(steps, kind), []
    for i in range(3):
        start = reference.leaves(predictor()[1])
        support = [one(batch, i) for batch in tasks.support]
        adapted = reference.leaves(slow_adapted(start, support, kind, False))
        loss = slow_loss(adapted, one(tasks.query, i), kind)
        there.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(adapted.values()))]))
    first, second = (ravel(grad(tasks, kind, order)) for order in (1, 2))
    close(first, torch.stack(there).mean(0), 1e-12)
    assert float((first - second).norm() / second.norm()) > 0.1


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_batch_is_the_mean_over_its_tasks_and_each_has_its_say(kind: str, order: int) -> None:
    tasks = lessons(2, kind)
    alone = [ravel(grad(part, kind, order)) for part in split(tasks, 1)]
    assert all(float(g.norm()) > 1e-2 for g in alone)
    assert all(float((a - b).norm()) > 1e-2 for a, b in itertools.pairwise(alone))
    for chunk in (1, 2, 3, 5):
        close(ravel(grad(tasks, kind, order, chunk)), torch.stack(alone).mean(0), 1e-13)


def test_what_does_not_adapt_learns_from_the_query_all_the_same() -> None:
    """ANIL: the body stays in the inner loop, and the meta-gradient moves it."""
    apply, params = predictor()
    tasks, names = lessons(2), ("2.weight", "2.bias")
    adaptation = adapt(apply, objectives["mse"], only(sgd(LR), names))
    adapted = unroll(adaptation, expand(meta(params), 3), tasks.support).params
    for name, p in adapted.items():
        assert torch.equal(p, params[name].expand_as(p)) is (name not in names), name
    learner: Any = maml(apply, adaptation, objectives["mse"], Chunking(3))
    found = learner(tasks).at(meta(params)).grad.model
    assert all(float(g.norm()) > 1e-3 for g in found.values())
    close(found["0.weight"], body_gradient(tasks), 1e-12)


def body_gradient(tasks: TaskData) -> Tensor:
    """Of the first layer's weights where the second alone adapts, by one backward pass through the loop."""
    theta, losses = reference.leaves(predictor()[1]), []
    for i in range(3):
        now = theta
        for batch in tasks.support:
            grads = torch.autograd.grad(
                slow_loss(now, one(batch, i), "mse"), [now["2.weight"], now["2.bias"]], create_graph=True
            )
            now = now | {"2.weight": now["2.weight"] - LR * grads[0], "2.bias": now["2.bias"] - LR * grads[1]}
        losses.append(slow_loss(now, one(tasks.query, i), "mse"))
    (found,) = torch.autograd.grad(torch.stack(losses).mean(), theta["0.weight"])
    return found


def test_it_reports_along_the_way_and_the_report_is_no_part_of_the_gradient() -> None:
    apply, params = predictor()
    tasks, objective = lessons(2), objectives["mse"]

    def report(path: Any, part: TaskData) -> dict[str, Tensor]:
        losses = [torch.vmap(functools.partial(objective, apply))(p, part.query) for p in path]
        return {f"loss/step_{k}": loss for k, loss in enumerate(losses)}

    learner = maml(apply, adapt(apply, objective, sgd(LR)), objective, Chunking(2), report=report)
    point = learner(tasks).at(meta(params))
    for k in range(3):
        fewer = maml(apply, adapt(apply, objective, sgd(LR)), objective, Chunking(3))
        expected = fewer(TaskData(tasks.support[:k], tasks.query)).at(meta(params)).loss
        assert point.metrics[f"loss/step_{k}"] == pytest.approx(float(expected), rel=1e-13)
    assert all(map(torch.equal, leaves(point.grad.model), leaves(grad(tasks))))
    reported = {f"loss/step_{k}" for k in range(3)}
    assert set(point.metrics) == reported | {"grad_variance"}  # no entropy: there is no policy


def test_without_a_policy_there_is_no_trust_region() -> None:
    found = problem(lessons(1))
    start = meta(predictor()[1])
    assert found.curvature is None
    assert found.losses is not None
    assert found.losses(start, found.at(start)).kl is None
    with pytest.raises(RequestError, match="meta-optimizer 'trpo' needs a loss and a policy's KL"):
        trpo().step(found, start, {})
