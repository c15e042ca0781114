"""The inner rules as plain updates, their derivatives, and the mask that hides parameters from them."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import vmap

import reference
from metarl.core.errors import RequestError
from metarl.core.objectives import vpg
from metarl.core.params import Meta, Params, detach, expand, leaves, ravel, tree_map
from metarl.core.rules import Rule, adam, lstm, meta_sgd, only, rules, sgd
from metarl.learn.adapt import adapt, unroll
from tiny import close, close_params, data, generator, model, randn

LOSS = torch.zeros((), dtype=torch.float64)
HEAD = ("net.2.weight", "net.2.bias")


def gradients(seed: int) -> Params:
    return {name: randn(seed + i, *p.shape) for i, (name, p) in enumerate(model()[1].items())}


def run(rule: Rule, learned: Params, params: Params, grads: list[Params]) -> Params:
    memory = rule.begin(learned, params)
    for g in grads:
        params, memory = rule.step(learned, memory, params, g, LOSS)
    return params


def by_torch(optimizer: type[torch.optim.Optimizer], grads: list[Params], **options: Any) -> Params:
    theirs = reference.leaves(model()[1])
    stepper = optimizer(list(theirs.values()), **options)
    for g in grads:
        for name, p in theirs.items():
            p.grad = g[name]
        stepper.step()
    return detach(theirs)


# sgd


def test_sgd_and_meta_sgd_move_by_their_step_sizes_times_the_gradient() -> None:
    _, params = model()
    grads = gradients(50)
    new, carry = sgd(0.25).step({}, (), params, grads, LOSS)
    assert carry == ()
    close_params({n: new[n] - params[n] for n in params}, {n: -0.25 * grads[n] for n in params})
    alpha = gradients(70)  # of either sign
    new, _ = meta_sgd().step(alpha, (), params, grads, LOSS)
    close_params(new, {n: p - alpha[n] * grads[n] for n, p in params.items()})
    grads = [gradients(10 * k) for k in range(3)]
    close_params(run(sgd(0.1), {}, params, grads), by_torch(torch.optim.SGD, grads, lr=0.1))


# meta-sgd


def test_meta_sgd_starts_as_sgd_with_a_step_size_for_each_entry() -> None:
    _, params = model()
    grads, rule = [gradients(10 * k) for k in range(3)], meta_sgd(0.07)
    alpha = rule.init(params, generator(0))
    assert {n: (a.shape, a.dtype) for n, a in alpha.items()} == {
        n: (p.shape, p.dtype) for n, p in params.items()
    }
    close_params(run(rule, alpha, params, grads), run(sgd(0.07), {}, params, grads), 1e-14)


# adam


@pytest.mark.parametrize(
    "options", [{}, {"beta1": 0.5, "beta2": 0.7, "eps": 0.1}, {"beta1": 0.0, "beta2": 0.0}], ids=str
)
def test_adam_equals_torch_over_six_steps(options: dict[str, float]) -> None:
    grads = [gradients(10 * k) for k in range(6)]
    grads[0] = tree_map(torch.zeros_like, grads[0])  # no gradient yet
    grads[3] = tree_map(torch.zeros_like, grads[3])  # none any more
    betas = options.get("beta1", 0.9), options.get("beta2", 0.999)
    theirs = by_torch(torch.optim.Adam, grads, lr=0.03, betas=betas, eps=options.get("eps", 1e-8))
    close_params(run(adam(0.03, **options), {}, model()[1], grads), theirs, 1e-12)


def test_adam_s_first_steps_are_exact_in_float32() -> None:
    """Each of these steps is -lr g / |g| up to rounding; with 1 - 0.999 in float32 they would be 1e-5 off."""
    params, rule = {"x": torch.zeros(2)}, adam(1.0)
    grads, memory = {"x": torch.tensor([0.3, -2.0])}, rule.begin({}, {"x": torch.zeros(2)})
    for step in (1, 2, 3):
        params, memory = rule.step({}, memory, params, grads, LOSS.float())
        close(params["x"], torch.tensor([-1.0, 1.0]) * step, 5e-7)


def test_adam_has_the_right_derivative_where_all_gradients_are_zero() -> None:
    """The k-th update of gradients 0 ... 0, g is −lr (1 − β₁) g / (1 − β₁ᵏ) / (√v̂ + ε), so its derivative at
    g = 0 is −lr (1 − β₁) / (1 − β₁ᵏ) / ε."""
    rule, zero = adam(0.01, eps=1e-6), torch.zeros((), dtype=torch.float64)
    params, memory = {"x": zero + 3}, rule.begin({}, {"x": zero})
    for k in (1, 2, 3):
        g = zero.clone().requires_grad_()
        new, after = rule.step({}, memory, params, {"x": g}, LOSS)
        slope = float(torch.autograd.grad(new["x"], g, retain_graph=True)[0])
        assert slope == pytest.approx(-0.01 * 0.1 / (1 - 0.9**k) / 1e-6, rel=1e-12)
        for h in (1e-11, -1e-11):  # far below eps, on both sides
            moved = rule.step({}, memory, params, {"x": zero + h}, LOSS)[0]["x"]
            assert float(moved - 3) / h == pytest.approx(slope, rel=1e-4)
        params, memory = detach((new, after))


def read_x(params: Params, x: Tensor) -> Tensor:
    return params["x"]


def half_square(apply: Any, params: Params, batch: Tensor) -> Tensor:
    return 0.5 * (apply(params, batch) ** 2).sum()


def test_adam_s_meta_gradient_is_right_where_a_gradient_is_zero() -> None:
    """At the minimum of ½ x² the gradient is 0 and its derivative 1: dx′/dx = 1 − lr / ε. Nothing reads y."""
    params = {"x": torch.zeros(2, dtype=torch.float64), "y": torch.ones((), dtype=torch.float64)}
    each = tree_map(lambda x: x.requires_grad_(), expand(Meta(params, {}), 3))
    for order, slope in ((2, 1 - 0.1 / 0.2), (1, 1.0)):
        adaptation = adapt(read_x, half_square, adam(0.1, eps=0.2), order)
        adapted = unroll(adaptation, each, [torch.zeros(3, 1)]).params
        grads = torch.autograd.grad(ravel(adapted).sum(), list(each.model.values()))
        close(grads[0], torch.full((3, 2), slope, dtype=torch.float64))
        close(grads[1], torch.ones(3, dtype=torch.float64))


# all of them


@pytest.mark.parametrize("name", list(rules))
def test_what_each_is_known_by(name: str) -> None:
    rule, facts = rules[name](), rules.facts(name)
    assert rule.name == name
    assert rule.learns is only(rule, HEAD).learns is (name in ("lstm", "meta-sgd"))
    assert bool(rule.init(model()[1], generator(0))) is rule.learns
    assert facts.first_order is (name == "lstm") and facts.fixed_step is (name == "sgd")
    assert facts.gradient_descent is (name in ("sgd", "meta-sgd"))


def test_an_unknown_rule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"unknown rule 'sgdd'; allowed: .*sgd"):
        rules["sgdd"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("sgd", {"lr": -0.1}, "sgd needs a finite step size of 0 or more, not -0.1"),
        ("meta-sgd", {"lr": math.nan}, "meta-sgd needs a finite step size of 0 or more, not nan"),
        ("adam", {"lr": math.inf}, "adam needs a finite step size of 0 or more, not inf"),
        ("adam", {"beta1": 1.0}, r"adam needs beta1 in \[0, 1\), not 1.0"),
        ("adam", {"beta2": -0.5}, r"adam needs beta2 in \[0, 1\), not -0.5"),
        ("adam", {"eps": 0.0}, "adam needs an eps above 0, not 0.0"),
    ],
)
def test_impossible_numbers_are_refused(name: str, options: dict[str, float], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        rules[name](**options)


def meta_gradient(rule: Rule, base: Meta, steps: int, order: int = 2) -> list[Tensor]:
    """Of the sum over three tasks of the loss after ``steps`` inner steps by policy gradients."""
    apply, params = model()
    tasks, meta = data(steps, params), tree_map(lambda x: x.clone().requires_grad_(), base)
    adapted = unroll(adapt(apply, vpg, rule, order), expand(meta, 3), tasks.support).params
    loss = vmap(lambda p, batch: vpg(apply, p, batch))(adapted, tasks.query).sum()
    return list(torch.autograd.grad(loss, leaves(meta), materialize_grads=True))


# only


def seen_by(names: Any) -> tuple[Rule, list[Any]]:
    """The mask of a rule that notes the names it is handed."""
    seen: list[Any] = []

    def init(params: Params, generator: torch.Generator) -> Params:
        seen.append(list(params))
        return {}

    def begin(learned: Params, params: Params) -> Any:
        seen.append(list(params))
        return ()

    def step(learned: Params, carry: Any, params: Params, grads: Params, loss: Tensor) -> Any:
        seen.extend([list(params), list(grads)])
        return sgd(0.1).step(learned, carry, params, grads, loss)

    return only(Rule("noting", step=step, begin=begin, init=init), names), seen


def test_the_masked_rule_sees_the_named_parameters_alone() -> None:
    _, params = model()
    rule, seen = seen_by(HEAD)
    rule.init(params, generator(0))
    rule.step({}, rule.begin({}, params), params, gradients(50), LOSS)
    assert seen == [list(HEAD)] * 4


@pytest.mark.parametrize("inner", [sgd(0.1), meta_sgd(0.1), adam(0.1), lstm(3)], ids=lambda rule: rule.name)
def test_the_mask_leaves_the_rest_untouched_and_moves_the_part_as_the_rule_would(inner: Rule) -> None:
    _, params = model()
    part, grads = {n: params[n] for n in HEAD}, [gradients(10 * k) for k in range(3)]
    rule = only(inner, HEAD)
    learned = rule.init(params, generator(0))
    found = run(rule, learned, params, grads)
    alone = run(inner, inner.init(part, generator(0)), part, [{n: g[n] for n in HEAD} for g in grads])
    assert list(found) == list(params)
    for name, p in found.items():
        assert torch.equal(p, alone[name] if name in HEAD else params[name]), name


def test_under_the_mask_the_body_learns_from_the_query_alone_at_order_1() -> None:
    """ANIL: the body is the same before and after, so its gradient is that of the query loss."""
    apply, params = model()
    base, rule = Meta(params, {}), only(sgd(0.3), HEAD)
    tasks = data(3, params)
    adapted = detach(unroll(adapt(apply, vpg, rule, 1), expand(base, 3), tasks.support).params)
    after = tree_map(lambda x: x.requires_grad_(), adapted)
    loss = vmap(lambda p, batch: vpg(apply, p, batch))(after, tasks.query).sum()
    by_query = dict(zip(after, torch.autograd.grad(loss, leaves(after)), strict=True))
    found = dict(zip(params, meta_gradient(rule, base, 3, order=1), strict=True))
    close_params(found, {n: g.sum(0) for n, g in by_query.items()})
    # At order 2 the body also bends the gradient that the head follows.
    second = dict(zip(params, meta_gradient(rule, base, 3, order=2), strict=True))
    assert not torch.allclose(second["net.0.weight"], found["net.0.weight"], atol=1e-3)


def test_a_mask_with_unknown_names_is_refused_with_the_known_ones() -> None:
    _, params = model()
    plain, learning = (only(rule, ["net.2.weight", "head"]) for rule in (sgd(), meta_sgd()))
    assert learning.learns and not plain.learns
    for call in (lambda: learning.init(params, generator(0)), lambda: plain.begin({}, params)):
        with pytest.raises(RequestError, match=r"^no parameter is called head; allowed: .*net\.0\.weight, "):
            call()


def test_a_mask_without_names_is_refused_and_one_name_is_one_name() -> None:
    with pytest.raises(RequestError, match=r"only\(\) needs the name of at least one parameter"):
        only(sgd(), [])
    params = {"head": torch.ones(()), "h": torch.ones(())}
    new, _ = only(sgd(0.5), "head").step({}, (), params, params, LOSS)
    assert {name: float(x) for name, x in new.items()} == {"head": 0.5, "h": 1.0}
