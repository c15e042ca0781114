"""Reptile by hand, against torch.optim task after task, and what it refuses."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import reference
from metarl.core.batch import Shots
from metarl.core.errors import RequestError
from metarl.core.objectives import mse, surrogate, vpg
from metarl.core.params import Params, expand, leaves, split, tree_map
from metarl.core.rules import Rule, adam, lstm, meta_sgd, sgd
from metarl.learn.adapt import adapt
from metarl.learn.chunks import Chunking
from metarl.learn.learners import learners
from metarl.learn.optimizers import sgd as meta_descent
from metarl.learn.problem import Problem, Report, TaskData, nothing
from metarl.learn.reptile import reptile
from metarl.rollout.shots import mini_batch
from tiny import close_params, data, lessons, meta, model, one, predictor, shots

LR = 0.3


def problem(tasks: TaskData, rule: Rule | None = None, chunk: int = 2, report: Report = nothing) -> Problem:
    apply, _ = predictor()
    adaptation = adapt(apply, mse, rule or sgd(LR), 1)
    return reptile(apply, adaptation, mse, Chunking(chunk), report=report)(tasks)


def trained(params: Params, batches: Sequence[Shots], make: Callable[..., Any]) -> Params:
    """What a torch optimizer makes of the parameters of one task, a step on each batch."""
    theta, (apply, _) = reference.leaves(params), predictor()
    optimizer = make(list(theta.values()))
    for batch in batches:
        optimizer.zero_grad()
        mse(apply, theta, batch).backward()
        optimizer.step()
    return {name: p.detach() for name, p in theta.items()}


def torch_sgd(params: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=LR)


# By hand -----------------------------------------------------------------------------------------

# One weight w, outputs w·x, loss (w − y)² at x = 1, hence gradient 2 (w − y). With α = 1/4 a step halves the
# distance to y. From w = 0: towards y = 1 it goes 1/2, 3/4, 7/8; towards y = 5 it goes 5/2, 15/4, 35/8.
HALFWAY = {1: (0.5 + 2.5) / 2, 2: (0.75 + 3.75) / 2, 3: (0.875 + 4.375) / 2}


def weighted(params: Params, x: Tensor) -> Tensor:
    return params["w"] * x


def numbers(*y: float) -> Shots:
    """One example at x = 1 for each task."""
    return Shots(torch.ones(len(y), 1, 1), torch.tensor(y).reshape(-1, 1, 1))


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_worked_example(steps: int) -> None:
    tasks = TaskData((numbers(1.0, 5.0),) * steps, numbers(0.0, 0.0))
    start = meta({"w": torch.zeros(())})
    hand = reptile(weighted, adapt(weighted, mse, sgd(0.25), 1), mse, Chunking(2))(tasks)
    point = hand.at(start)
    assert float(point.grad.model["w"]) == -HALFWAY[steps]
    new, _, metrics = meta_descent(0.5).step(hand, start, {})
    assert float(new.model["w"]) == 0.5 * HALFWAY[steps]
    # The query asks for 0: each task's loss there is the square of where it went.
    squares = [(y * (1 - 0.5**steps)) ** 2 for y in (1.0, 5.0)]
    assert metrics["loss"] == float(point.loss) == sum(squares) / 2


# Against torch -----------------------------------------------------------------------------------


def test_one_inner_step_is_sgd_on_the_average_loss() -> None:
    """θ − mean U(θ) = α · ∇ of the mean loss, so the outer step is SGD with step size ε α."""
    apply, params = predictor()
    tasks = lessons(1)
    theta = reference.leaves(params)
    losses = [mse(apply, theta, one(tasks.support[0], i)) for i in range(3)]
    grads = torch.autograd.grad(torch.stack(losses).mean(), list(theta.values()))
    average = dict(zip(theta, grads, strict=True))
    found = problem(tasks).at(meta(params)).grad.model
    close_params(found, {name: LR * g for name, g in average.items()}, 1e-14)
    new, _, _ = meta_descent(0.7).step(problem(tasks), meta(params), {})
    close_params(new.model, {name: p - 0.7 * LR * average[name] for name, p in params.items()}, 1e-14)


OPTIMIZERS = [
    (sgd(LR), torch_sgd),
    (adam(0.05), lambda p: torch.optim.Adam(p, lr=0.05)),
    (adam(0.05, beta1=0.0), lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.0, 0.999))),
]


@pytest.mark.parametrize(("rule", "theirs"), OPTIMIZERS)
@pytest.mark.parametrize("steps", [1, 4])
def test_it_moves_towards_the_mean_of_what_torch_makes_of_each_task(
    rule: Rule, theirs: Any, steps: int
) -> None:
    _, params = predictor()
    tasks = lessons(steps)
    ends = [trained(params, [one(batch, i) for batch in tasks.support], theirs) for i in range(3)]
    expected = {name: p - torch.stack([end[name] for end in ends]).mean(0) for name, p in params.items()}
    close_params(problem(tasks, rule).at(meta(params)).grad.model, expected, 1e-12)


def test_mini_batches_are_gone_through_in_order() -> None:
    _, params = predictor()
    whole = shots(1)  # five examples in batches of two: 0 1, 2 3, 4 0, 1 2
    tasks = TaskData(tuple(mini_batch(whole, 2, k) for k in range(4)), shots(50))
    ends = []
    for i in range(3):
        own = one(whole, i)
        rows = [[0, 1], [2, 3], [4, 0], [1, 2]]
        ends.append(trained(params, [Shots(own.x[r], own.y[r]) for r in rows], torch_sgd))
    expected = {name: p - torch.stack([end[name] for end in ends]).mean(0) for name, p in params.items()}
    close_params(problem(tasks).at(meta(params)).grad.model, expected, 1e-12)


# Tasks -------------------------------------------------------------------------------------------


def alone(tasks: TaskData) -> list[TaskData]:
    return split(tasks, 1)


def test_a_task_at_a_time_is_the_serial_algorithm() -> None:
    """Algorithm 1: the next task starts where the step towards the last one ended."""
    _, params = predictor()
    tasks = lessons(2)
    found = meta(params)
    for part in alone(tasks):
        found, _, _ = meta_descent(0.5).step(problem(part), found, {})
    theta = params
    for i in range(3):
        end = trained(theta, [one(batch, i) for batch in tasks.support], torch_sgd)
        theta = {name: p + 0.5 * (end[name] - p) for name, p in theta.items()}
    close_params(found.model, theta, 1e-12)
    batched, _, _ = meta_descent(0.5).step(problem(tasks), meta(params), {})
    assert not torch.allclose(batched.model["0.weight"], found.model["0.weight"], rtol=1e-2)


@pytest.mark.parametrize("chunk", [1, 2, 3, 9])
def test_neither_order_nor_chunks_of_tasks_matter(chunk: int) -> None:
    _, params = predictor()
    tasks, order = lessons(2), torch.tensor([2, 0, 1])
    expected = problem(tasks, chunk=3).at(meta(params)).grad.model
    permuted = tree_map(lambda x: x[order], tasks)
    close_params(problem(tasks, chunk=chunk).at(meta(params)).grad.model, expected, 1e-13)
    close_params(problem(permuted, chunk=chunk).at(meta(params)).grad.model, expected, 1e-13)


# What it is not ----------------------------------------------------------------------------------


def test_the_query_is_measured_and_never_learned_from() -> None:
    _, params = predictor()
    tasks = lessons(2)
    other = TaskData(tasks.support, dataclasses.replace(tasks.query, y=tasks.query.y + 1))
    first, second = (problem(t).at(meta(params)) for t in (tasks, other))
    assert all(map(torch.equal, leaves(first.grad), leaves(second.grad)))
    assert not torch.equal(first.loss, second.loss)


def test_without_inner_steps_nothing_moves() -> None:
    _, params = predictor()
    point = problem(lessons(0)).at(meta(params))
    assert not any(bool(g.any()) for g in point.grad.model.values())


def test_it_reports_along_the_way() -> None:
    """The parameters before each step and after the last, with the data of the same tasks."""
    apply, params = predictor()
    tasks = lessons(2)

    def report(path: Sequence[Params], part: TaskData) -> dict[str, Tensor]:
        losses = [torch.vmap(functools.partial(mse, apply))(p, part.query) for p in path]
        return {f"loss/step_{k}": loss for k, loss in enumerate(losses)}

    point = problem(tasks, report=report).at(meta(params))
    assert list(point.metrics) == ["loss/step_0", "loss/step_1", "loss/step_2", "grad_variance"]
    start = torch.vmap(functools.partial(mse, apply))(expand(params, 3), tasks.query).mean()
    assert point.metrics["loss/step_0"] == pytest.approx(float(start), rel=1e-14)
    assert point.metrics["loss/step_2"] == pytest.approx(float(point.loss), rel=1e-14)
    assert not any(x.requires_grad for x in leaves(point.grad))


def test_it_is_the_same_for_episodes() -> None:
    apply, params = model()
    tasks = data(2, params)
    point = reptile(apply, adapt(apply, vpg, sgd(LR), 1), surrogate, Chunking(2))(tasks).at(meta(params))
    ends = []
    for i in range(3):
        support = [one(batch, i) for batch in tasks.support]
        end = reference.inner_steps(reference.leaves(params), support, LR, 1)
        ends.append({name: p.detach() for name, p in end.items()})
    mean = {name: torch.stack([end[name] for end in ends]).mean(0) for name in params}
    close_params(point.grad.model, {name: p - mean[name] for name, p in params.items()})


def test_it_has_neither_losses_nor_a_curvature() -> None:
    assert problem(lessons(1)).curvature is problem(lessons(1)).losses is None
    assert not learners.facts("reptile").has_loss and learners["reptile"] is reptile


@pytest.mark.parametrize("rule", [meta_sgd(0.1), lstm(2)], ids=lambda rule: rule.name)
def test_a_rule_that_learns_is_refused_by_name(rule: Rule) -> None:
    _, params = predictor()
    start = meta(params)._replace(rule=rule.init(params, torch.Generator().manual_seed(0)))
    with pytest.raises(
        RequestError, match=r"learner 'reptile' .*allowed: a rule that learns nothing"
    ) as caught:
        problem(lessons(1), rule).at(start)
    assert "\n" not in str(caught.value)
