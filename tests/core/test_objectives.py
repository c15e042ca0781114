"""Objectives against the slow twin, and what an average over steps must and must not see."""

import dataclasses
from typing import Any

import pytest
import torch

import reference
from metarl.core.batch import Episodes
from metarl.core.objectives import objectives, surrogate, vpg
from tiny import close, close_params, episodes, model, one

KINDS = ["gaussian", "categorical"]
OBJECTIVES = [(vpg, reference.vpg), (surrogate, reference.surrogate)]


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
@pytest.mark.parametrize("name", ["vpg", "surrogate"])
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
    flat = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    # (2, 4) -> (1, 8); the mask then has holes, which a mean over steps does not mind.
    flat = {n: x if n == "final_obs" else x.reshape(1, 8, *x.shape[2:]) for n, x in flat.items()}
    close(objective(apply, params, Episodes(**flat)), objective(apply, params, batch))
    ones = dataclasses.replace(batch, advantage=torch.zeros_like(batch.advantage))
    ones.advantage[0, 0] = 1.0  # the one step of the short episode: 1 of 5 steps, not half of the batch
    expected = apply(params, batch.obs[0, 0]).log_prob(batch.action[0, 0])
    expected = expected if objective is vpg else (expected - batch.log_prob[0, 0]).exp()
    close(objective(apply, params, ones), -expected / 5)


@pytest.mark.parametrize("objective", [vpg, surrogate])
def test_descent_makes_good_actions_likelier(objective: Any) -> None:
    apply, params = model()
    batch = on_policy(params)
    good = dataclasses.replace(batch, advantage=torch.ones_like(batch.advantage))
    grad = gradient(lambda p: objective(apply, p, good), params)
    new = {name: p - 0.01 * grad[name] for name, p in params.items()}
    gained = apply(new, batch.obs).log_prob(batch.action) - apply(params, batch.obs).log_prob(batch.action)
    assert float((gained * batch.mask).sum()) > 0
