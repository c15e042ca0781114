"""Meta-optimizers against torch.optim, the slow twin and problems solved by hand."""

import inspect
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import reference
from metarl.core.errors import RequestError
from metarl.core.params import Meta, Params, leaves, ravel, tree_map
from metarl.learn.optimizers import MetaOptimizer, adam, optimizers, sgd, trpo
from metarl.learn.problem import Losses, Point, Problem, TaskData
from metarl.learn.trpo import conjugate_gradient
from tiny import as_reference, close, close_params, data, learner_of, meta, model, randn

LR = 0.3
START = Meta({"w": randn(1, 3, 2), "b": randn(2, 2)}, {"lr": randn(3)})


def bowl(meta: Meta, scale: float = 1.0) -> Tensor:
    """A loss that is not quadratic and pulls on every meta-parameter, the rule's too."""
    terms = [
        (x**4).sum() + (x * (i + 1)).sum() for i, x in enumerate([*meta.model.values(), *meta.rule.values()])
    ]
    return scale * torch.stack(terms).sum()


def plain_problem(kl: float | None = None, gain: float = 1.0, scale: float = 1.0) -> Problem:
    """The bowl as a Problem; a trust region of H = identity whose true KL is ``kl`` everywhere."""

    def at(meta: Meta) -> Point:
        theta = Meta(reference.leaves(meta.model), reference.leaves(meta.rule))
        tensors = [*theta.model.values(), *theta.rule.values()]
        grads = torch.autograd.grad(bowl(theta, scale), tensors)
        model = dict(zip(theta.model, grads, strict=False))
        return Point(bowl(meta, scale), Meta(model, {"lr": grads[-1]}), {"extra": 1.5})

    def losses(meta: Meta, point: Point) -> Losses:
        value = point.loss - gain * (point.loss - bowl(meta, scale))
        return Losses(value, None if kl is None else torch.tensor(kl, dtype=torch.float64))

    return Problem(at, losses, None if kl is None else lambda meta: lambda v: v)


def run(optimizer: MetaOptimizer, problem: Problem, steps: int) -> Meta:
    meta, state = START, optimizer.init(START)
    for _ in range(steps):
        meta, state, _ = optimizer.step(problem, meta, state)
    return meta


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (sgd(0.01), lambda p: torch.optim.SGD(p, lr=0.01)),
        (adam(0.05), lambda p: torch.optim.Adam(p, lr=0.05)),
        (adam(0.05, 0.8, 0.95, 1e-2), lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.95), eps=1e-2)),
    ],
)
@pytest.mark.parametrize("steps", [1, 7])
def test_sgd_and_adam_equal_torch(ours: MetaOptimizer, theirs: Any, steps: int) -> None:
    theta = Meta(reference.leaves(START.model), reference.leaves(START.rule))
    tensors = [*theta.model.values(), *theta.rule.values()]
    optimizer = theirs(tensors)
    for _ in range(steps):
        optimizer.zero_grad()
        bowl(theta).backward()
        optimizer.step()
    found = run(ours, plain_problem(), steps)
    for a, b in zip([*found.model.values(), *found.rule.values()], tensors, strict=True):
        close(a, b.detach(), 1e-12)


# All of them ---------------------------


@pytest.mark.parametrize("name", list(optimizers))
def test_each_step_is_a_value_that_improves_the_loss(name: str) -> None:
    _, problem, params = tasks_and_problem(2, "gaussian", 2)
    options = {"lr": 0.01} if "lr" in inspect.signature(optimizers[name]).parameters else {}
    optimizer, start = optimizers[name](**options), meta(params)
    state = optimizer.init(start)
    before = tree_map(torch.clone, (start, state))
    new, after, metrics = optimizer.step(problem, start, state)
    again, _, _ = optimizer.step(problem, start, state)
    for found, expected in (((start, state), before), (again, new)):
        assert all(map(torch.equal, leaves(found), leaves(expected)))
    assert after.keys() == state.keys()
    point = problem.at(start)
    assert problem.losses is not None and float(problem.losses(new, point).loss) < float(point.loss)
    assert metrics["loss"] == float(point.loss) and metrics["kl"] > 0 and metrics["improvement"] > 0
    assert metrics["grad_norm"] == pytest.approx(float(ravel(point.grad).norm()))
    assert metrics["entropy"] == point.metrics["entropy"]  # whatever the learner reports


@pytest.mark.parametrize("name", list(optimizers))
def test_each_refuses_a_problem_that_lacks_what_its_facts_say(name: str) -> None:
    facts = optimizers.facts(name)
    optimizer = optimizers[name](**({} if name == "trpo" else {"lr": 0.01}))
    bare, state = Problem(plain_problem().at), optimizer.init(START)
    assert facts.needs_policy == facts.needs_loss == (not facts.takes_critic or facts.leaves_policy)
    if not facts.needs_policy:
        _, _, metrics = optimizer.step(bare, START, state)
        assert metrics.keys() == {"loss", "grad_norm", "extra"}
        return
    for problem in (bare, plain_problem()):
        with pytest.raises(RequestError, match=f"^meta-optimizer {name!r} needs .*use adam$"):
            optimizer.step(problem, START, state)


def matrix() -> tuple[Tensor, Tensor]:
    a = randn(1, 6, 6)
    return a @ a.T + 0.1 * torch.eye(6, dtype=torch.float64), randn(2, 6)


def test_conjugate_gradient_solves_in_as_many_steps_as_dimensions() -> None:
    a, b = matrix()
    x, product = conjugate_gradient(lambda v: a @ v, b, 6)
    close(x, torch.linalg.solve(a, b), 1e-7)
    close(product, a @ x, 1e-7)


@pytest.mark.parametrize("iterations", [1, 3, 5])
def test_conjugate_gradient_stops_where_the_twin_does(iterations: int) -> None:
    a, b = matrix()
    x, product = conjugate_gradient(lambda v: a @ v, b, iterations)
    close(x, reference.conjugate_gradients(lambda v: a @ v, b, iterations), 1e-9)
    close(product, a @ x, 1e-9)  # the residual's account of A x is A x


def test_conjugate_gradient_keeps_its_digits_in_single_precision() -> None:
    """Without orthogonal residuals the tenth iterate is off by percents where eigenvalues lie far apart."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(60, 60, generator=generator, dtype=torch.float64))[0]
    a = basis @ torch.diag(torch.logspace(-4, 2, 60, dtype=torch.float64)) @ basis.mT
    b = torch.randn(60, generator=generator, dtype=torch.float64)
    exact, _ = conjugate_gradient(lambda v: a @ v, b, 10)
    single, _ = conjugate_gradient(lambda v: (a @ v.double()).float(), b.float(), 10)
    assert float((single - exact).norm() / exact.norm()) < 1e-4


def test_conjugate_gradient_stops_where_the_matrix_is_not_positive() -> None:
    b = torch.tensor([1.0, 1.0], dtype=torch.float64)
    x, product = conjugate_gradient(lambda v: torch.zeros_like(v), b, 10)
    assert torch.equal(x, torch.zeros_like(b)) and torch.equal(product, torch.zeros_like(b))


def test_conjugate_gradient_ends_early_where_it_is_done() -> None:
    calls: list[int] = []

    def twice(v: Tensor) -> Tensor:
        calls.append(1)
        return 2 * v

    x, _ = conjugate_gradient(twice, randn(1, 5), 10)
    close(x, randn(1, 5) / 2)
    assert len(calls) == 1
    x, product = conjugate_gradient(twice, torch.zeros(5, dtype=torch.float64), 10)
    assert not bool(x.any() | product.any()) and len(calls) == 1


def tasks_and_problem(steps: int, kind: str, order: int) -> tuple[TaskData, Problem, Params]:
    apply, params = model(kind)
    tasks = data(steps, params, kind)
    return (
        tasks,
        learner_of(apply, order=order)(tasks),
        params,
    )


@pytest.mark.parametrize("max_kl", [0.01, 1.0])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("kind", ["gaussian", "categorical", "choices"])
def test_trpo_equals_the_twin(kind: str, steps: int, order: int, max_kl: float) -> None:
    tasks, problem, params = tasks_and_problem(steps, kind, order)
    # Damping of 0.1 and five iterations keep the directions well conditioned.
    ours = trpo(max_kl=max_kl, cg_iterations=5, cg_damping=0.1)
    new, state, metrics = ours.step(problem, meta(params), ours.init(meta(params)))
    slow, shrunk = reference.trpo_step(params, as_reference(tasks), LR, order, max_kl, 5, 0.1)
    close_params(new.model, slow, 1e-6)
    assert state == {} and metrics["line_search/accepted"] == (shrunk is not None)
    # A direction of order 1 need not lead downhill: after three large steps it does not, and neither moves.
    assert (shrunk is None) is ((kind, steps, order) == ("gaussian", 3, 1))
    if shrunk is not None:
        kl = reference.maml_kl(reference.leaves(slow), params, as_reference(tasks), LR).detach()
        assert metrics["kl"] == pytest.approx(float(kl), rel=1e-4) and 0 < metrics["kl"] <= max_kl
        assert metrics["line_search/step_fraction"] == pytest.approx(0.8**shrunk)
        assert metrics["improvement"] > 0


def test_trpo_by_default_equals_the_twin_s_defaults() -> None:
    tasks, problem, params = tasks_and_problem(1, "gaussian", 2)
    new, _, _ = trpo().step(problem, meta(params), {})
    close_params(new.model, reference.trpo_step(params, as_reference(tasks), LR)[0], 1e-5)


def test_trpo_steps_exactly_to_the_edge_of_a_round_trust_region() -> None:
    """H = identity, damping 1: (H + 1)/2 |step|^2 = delta where |step| = sqrt(delta), along g."""
    problem = plain_problem(kl=0.0, scale=1e-3)
    gradient = ravel(problem.at(START).grad)
    new, _, metrics = trpo(max_kl=0.01, cg_damping=1.0).step(problem, START, {})
    assert metrics["line_search/step_fraction"] == 1
    close(ravel(START) - ravel(new), 0.1 * gradient / gradient.norm())


@pytest.mark.parametrize(
    ("kl", "gain"), [(0.011, 1.0), (0.0, -1.0), (0.0, 0.0), (math.nan, 1.0), (0.0, math.nan)]
)
def test_trpo_stays_where_no_step_is_good(kl: float, gain: float) -> None:
    """KL beyond the limit; a worse loss; a loss that is only equal; numbers that are none."""
    new, _, metrics = trpo(max_kl=0.01).step(plain_problem(kl, gain), START, {})
    assert torch.equal(ravel(new), ravel(START))
    assert metrics["line_search/accepted"] == 0 and metrics["kl"] == 0


@pytest.mark.parametrize(
    ("options", "fits", "fraction"),
    [
        ({"backtrack_ratio": 0.5, "max_backtracks": 3}, 1, 1),
        ({"backtrack_ratio": 0.5, "max_backtracks": 3}, 0.5**3, 0.5**3),
        ({"backtrack_ratio": 0.5, "max_backtracks": 3}, 0.5**4, 0),
        ({}, 0.8**15, 0.8**15),
        ({}, 0.8**16, 0),
    ],
)
def test_trpo_shortens_as_often_as_allowed(options: Any, fits: float, fraction: float) -> None:
    """With max_kl 0.02, H = identity and no damping a full step has length sqrt(2 * 0.02) = 0.2."""

    def losses(new: Meta, point: Point) -> Losses:
        fraction = float((ravel(new) - ravel(START)).norm()) / 0.2
        return Losses(point.loss - 1, torch.tensor(0.0 if fraction < 1.01 * fits else 1.0))

    plain = plain_problem(kl=0.0)
    ours = trpo(max_kl=0.02, cg_damping=0.0, **options)
    new, _, metrics = ours.step(Problem(plain.at, losses, plain.curvature), START, {})
    assert metrics["line_search/step_fraction"] == pytest.approx(fraction)
    assert float((ravel(new) - ravel(START)).norm()) == pytest.approx(0.2 * fraction)


@pytest.mark.parametrize("factor", [0.0, math.nan, math.inf])
def test_trpo_with_no_gradient_or_no_numbers_stays(factor: float) -> None:
    """Even if the loss at such parameters looked fine, NaN must never become the parameters."""
    plain = plain_problem(kl=0.0)

    def at(meta: Meta) -> Point:
        point = plain.at(meta)
        return point._replace(grad=tree_map(lambda g: factor * g, point.grad))

    def losses(meta: Meta, point: Point) -> Losses:
        return Losses(point.loss - float(factor != 0), torch.tensor(0.0))

    new, _, metrics = trpo().step(Problem(at, losses, plain.curvature), START, {})
    assert torch.equal(ravel(new), ravel(START)) and metrics["line_search/accepted"] == 0
