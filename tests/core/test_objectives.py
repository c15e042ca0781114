"""Objectives against the slow twin and by hand, and what an average over steps must and must not see."""

import dataclasses
import functools
import math
from typing import Any

import pytest
import torch

import reference
from metarl.core.batch import Episodes, Shots
from metarl.core.objectives import clipped, cross_entropy, dice, mse, objectives, surrogate, vpg
from tiny import close, close_params, episodes, model, one, predictor, shots

KINDS = ["gaussian", "categorical", "choices"]
CLIP = 0.05  # the behaviour policy of the tiny episodes is nearer than usual
OBJECTIVES = [
    (vpg, reference.vpg),
    (surrogate, reference.surrogate),
    (dice, reference.dice),
    (clipped(CLIP), functools.partial(reference.clipped, clip=CLIP)),
]


def gradient(loss: Any, params: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    theta = reference.leaves(params)
    return dict(zip(theta, torch.autograd.grad(loss(theta), list(theta.values())), strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("fast", "slow"), OBJECTIVES)
def test_value_and_gradient_equal_the_twin(kind: str, fast: Any, slow: Any) -> None:
    apply, params = model(kind)
    for task in range(3):
        batch = one(episodes(1, params, kind), task)
        close(fast(apply, params, batch), slow(params, batch))
        grad = gradient(lambda p, b=batch: fast(apply, p, b), params)
        close_params(grad, gradient(lambda p, b=batch: slow(p, b), params))


@pytest.mark.parametrize(("fast", "slow"), OBJECTIVES)
def test_vmap_over_tasks_equals_a_loop(fast: Any, slow: Any) -> None:
    apply, params = model()
    batch = episodes(1, params)
    together = torch.vmap(lambda b: fast(apply, params, b))(batch)
    close(together, torch.stack([slow(params, one(batch, i)) for i in range(3)]))


def test_a_ratio_that_overflows_in_the_padding_has_no_say() -> None:
    """Nothing promises that the recorded log-probability is sensible where no step happened."""
    apply, params = model()
    batch = one(episodes(1, params), 1)
    odd = dataclasses.replace(batch, log_prob=torch.where(batch.mask > 0, batch.log_prob, -1000.0))
    close(surrogate(apply, params, odd), surrogate(apply, params, batch))
    close_params(*(gradient(lambda p, b=b: surrogate(apply, p, b), params) for b in (odd, batch)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["vpg", "lvc", "dice", "ppo"])
def test_padding_has_no_say(kind: str, name: str) -> None:
    apply, params = model(kind)
    batch = one(episodes(1, params, kind), 1)
    noise = {
        field: getattr(batch, field)
        + 3 * (1 - batch.mask).reshape(2, 4, *[1] * (getattr(batch, field).ndim - 2))
        for field in ("obs", "reward", "log_prob", "advantage")
    }
    other = dataclasses.replace(batch, **noise)
    before, after = (gradient(lambda p, b=b: objectives[name](apply, p, b), params) for b in (batch, other))
    close(objectives[name](apply, params, other), objectives[name](apply, params, batch))
    close_params(after, before)


def on_policy(params: dict[str, torch.Tensor], kind: str = "gaussian") -> Episodes:
    batch = one(episodes(1, params, kind), 0)
    log_prob = reference.log_prob(reference.policy(params, batch.obs), batch.action)
    return dataclasses.replace(batch, log_prob=log_prob)


@pytest.mark.parametrize("kind", KINDS)
def test_surrogate_at_the_behaviour_policy_is_the_mean_advantage_and_its_gradient_is_vpg_s(kind: str) -> None:
    apply, params = model(kind)
    batch = on_policy(params, kind)
    steps = batch.mask > 0
    close(surrogate(apply, params, batch), -batch.advantage[steps].mean())
    ours = gradient(lambda p: surrogate(apply, p, batch), params)
    close_params(ours, gradient(lambda p: vpg(apply, p, batch), params))


def test_ratio_is_one_also_for_actions_outside_the_action_space() -> None:
    apply, params = model()
    batch = on_policy(params)
    far = dataclasses.replace(batch, action=5 * batch.action)  # as drawn: nothing is clipped to +-1
    far = dataclasses.replace(far, log_prob=apply(params, far.obs).log_prob(far.action))
    unit = dataclasses.replace(far, advantage=torch.ones_like(far.advantage))
    assert float(surrogate(apply, params, unit)) == -1.0


@pytest.mark.parametrize("objective", [vpg, surrogate])
def test_each_step_counts_once_whatever_its_episode(objective: Any) -> None:
    """One batch of a short and a long episode equals the same steps laid out as one long episode."""
    apply, params = model()
    batch = one(episodes(1, params), 1)  # episodes of 1 and 4 steps
    flat = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch) if f.name != "success"}
    # (2, 4) -> (1, 8); the mask then has holes, which a mean over steps does not mind.
    flat = {n: x if n == "final_obs" else x.reshape(1, 8, *x.shape[2:]) for n, x in flat.items()}
    close(objective(apply, params, Episodes(**flat)), objective(apply, params, batch))
    ones = dataclasses.replace(batch, advantage=torch.zeros_like(batch.advantage))
    ones.advantage[0, 0] = 1.0  # the one step of the short episode: 1 of 5 steps, not half of the batch
    expected = apply(params, batch.obs[0, 0]).log_prob(batch.action[0, 0])
    expected = expected if objective is vpg else (expected - batch.log_prob[0, 0]).exp()
    close(objective(apply, params, ones), -expected / 5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["lvc", "dice", "ppo"])
def test_where_the_batch_was_collected_every_estimator_is_the_policy_gradient(name: str, kind: str) -> None:
    """And their Hessians are four different ones, which is what a meta-gradient of order 2 sees."""
    apply, params = model(kind)
    batch = on_policy(params, kind)
    found = gradient(lambda p: objectives[name](apply, p, batch), params)
    close_params(found, gradient(lambda p: vpg(apply, p, batch), params))

    def hessian_product(objective: Any) -> torch.Tensor:
        theta = reference.leaves(params)
        grads = torch.autograd.grad(objective(apply, theta, batch), list(theta.values()), create_graph=True)
        along = sum(g.sum() for g in grads)
        again = torch.autograd.grad(along, list(theta.values()), allow_unused=True)
        return torch.cat([g.reshape(-1) for g in again if g is not None])

    others = [objectives[other] for other in ("vpg", "lvc", "dice") if other != name and name != "ppo"]
    for other in others:
        assert float((hessian_product(objectives[name]) - hessian_product(other)).norm()) > 1e-2
    if name == "ppo":  # within its range it is lvc
        close(hessian_product(objectives["ppo"]), hessian_product(surrogate))


@pytest.mark.parametrize(("name", "same"), [("lvc", surrogate), ("a2c", vpg), ("ppo", clipped(0.2))])
def test_one_estimator_under_two_names(name: str, same: Any) -> None:
    apply, params = model()
    batch = one(episodes(1, params), 1)
    assert torch.equal(objectives[name](apply, params, batch), same(apply, params, batch))


def test_clipping_by_hand() -> None:
    # Ratios 1.5 and 0.5 with advantages of either sign, range 0.2. Advantage 2: min(3, 2.4) = 2.4 and
    # min(1, 1.6) = 1. Advantage -2: min(-3, -2.4) = -3 and min(-1, -1.6) = -1.6.
    ratio = torch.tensor([[1.5, 0.5, 1.5, 0.5]], dtype=torch.float64)
    advantage = torch.tensor([[2.0, 2.0, -2.0, -2.0]], dtype=torch.float64)
    apply, params = model("categorical")
    batch = one(episodes(1, params, "categorical"), 0)
    names = [f.name for f in dataclasses.fields(batch) if f.name != "success"]
    fields = {name: getattr(batch, name)[:1] for name in names}
    ones = torch.ones_like(fields["mask"])
    row = Episodes(**{**fields, "mask": ones, "advantage": advantage})
    row = dataclasses.replace(row, log_prob=apply(params, row.obs).log_prob(row.action) - ratio.log())
    close(clipped(0.2)(apply, params, row), torch.tensor(-(2.4 + 1.0 - 3.0 - 1.6) / 4, dtype=torch.float64))


@pytest.mark.parametrize("objective", [vpg, surrogate])
def test_descent_makes_good_actions_likelier(objective: Any) -> None:
    apply, params = model()
    batch = on_policy(params)
    good = dataclasses.replace(batch, advantage=torch.ones_like(batch.advantage))
    grad = gradient(lambda p: objective(apply, p, good), params)
    new = {name: p - 0.01 * grad[name] for name, p in params.items()}
    gained = apply(new, batch.obs).log_prob(batch.action) - apply(params, batch.obs).log_prob(batch.action)
    assert float((gained * batch.mask).sum()) > 0


# Labelled examples -------------------------------------------------------------------------------


def itself(params: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The network whose outputs are its inputs, scaled."""
    return params["scale"] * x


UNIT = {"scale": torch.tensor(1.0, dtype=torch.float64)}


def test_mean_squared_error_by_hand() -> None:
    # Errors 1, 2, 0 and 3 of two shots with two outputs each: (1 + 4 + 0 + 9) / 4. A sum over outputs would
    # give 7; the gradient with respect to the scale is the mean of 2 · error · x = (2·2 + 4·3 + 0 + 6·4) / 4.
    x = torch.tensor([[2.0, 3.0], [5.0, 4.0]], dtype=torch.float64)
    y = torch.tensor([[1.0, 1.0], [5.0, 1.0]], dtype=torch.float64)
    assert float(mse(itself, UNIT, Shots(x, y))) == 14 / 4
    assert float(gradient(lambda p: mse(itself, p, Shots(x, y)), UNIT)["scale"]) == 40 / 4
    single = Shots(x[:1, :1], y[:1, :1])
    assert float(mse(itself, UNIT, single)) == 1.0


def test_cross_entropy_by_hand() -> None:
    # Logits (0, ln 3) are probabilities (1/4, 3/4). Labels 1 and 0: −ln 3/4 and −ln 1/4, on average
    # (2 ln 4 − ln 3) / 2; the derivative by the logits is (probability − 1 where the label is) / 2 shots.
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)]], dtype=torch.float64)
    labels = torch.tensor([1, 0])
    found = cross_entropy(itself, UNIT, Shots(logits, labels))
    assert float(found) == pytest.approx((2 * math.log(4) - math.log(3)) / 2, rel=1e-15)
    moving = logits.clone().requires_grad_()
    (grad,) = torch.autograd.grad(cross_entropy(itself, UNIT, Shots(moving, labels)), moving)
    close(grad, torch.tensor([[0.25, -0.25], [-0.75, 0.75]], dtype=torch.float64) / 2, 1e-15)
    # The same logits plus a constant are the same network, however large: nothing overflows.
    close(cross_entropy(itself, UNIT, Shots(logits + 1e4, labels)), found, 1e-10)


@pytest.mark.parametrize("name", ["mse", "cross-entropy"])
def test_vmap_over_tasks_of_examples_equals_a_loop(name: str) -> None:
    apply, params = predictor()
    batch = shots(1, name)
    together = torch.vmap(lambda b: objectives[name](apply, params, b))(batch)
    assert together.shape == (3,)
    close(together, torch.stack([objectives[name](apply, params, one(batch, i)) for i in range(3)]), 1e-14)
    assert len(set(together.tolist())) == 3
