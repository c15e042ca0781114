"""The value network among the policy's parameters: its values, its error, and whom each concerns."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

import reference
from metarl.core.advantages import value_unit, with_critic_advantage
from metarl.core.batch import Episodes
from metarl.core.critic import PREFIX, critic_params, values, values_of_tasks, with_critic
from metarl.core.models import MLP
from metarl.core.objectives import surrogate, vpg
from metarl.core.params import Params, expand
from tiny import close, close_params, episodes, masks, model, one, randn


def critic() -> MLP:
    torch.manual_seed(3)
    return MLP(2, (4,), 1).double()


def together() -> tuple[Params, Params]:
    """Parameters of the policy with a value network's among them, and the policy's alone."""
    _, params = model()
    drawn = {
        name: p + 0.3 * randn(i, *p.shape) for i, (name, p) in enumerate(critic_params(critic()).items())
    }
    return params | drawn, params


def test_values_are_the_network_s_and_the_policy_does_not_see_it() -> None:
    both, alone = together()
    obs = randn(1, 3, 4, 2)
    hidden = torch.tanh(obs @ both["critic.0.weight"].T + both["critic.0.bias"])
    expected = (hidden @ both["critic.2.weight"].T + both["critic.2.bias"])[..., 0]
    close(values(critic())(both, obs), expected)
    apply, _ = model()
    for a, b in zip(apply(both, obs), apply(alone, obs), strict=True):
        assert torch.equal(a, b)


def test_values_of_tasks_are_each_task_s_own() -> None:
    both, _ = together()
    each = {name: p + 0.1 * randn(7, *p.shape) for name, p in expand(both, 3).items()}
    obs = randn(2, 3, 5, 2)
    found = values_of_tasks(critic())(each, obs)
    close(found, torch.stack([values(critic())(one(each, i), obs[i]) for i in range(3)]))


@pytest.mark.parametrize("objective", [vpg, surrogate])
def test_the_loss_is_the_objective_s_and_half_the_mean_squared_error(objective: Any) -> None:
    both, alone = together()
    apply, _ = model()
    batch = one(episodes(1, alone), 1)
    value = values(critic())
    loss = with_critic(objective, value, 0.5)
    steps = batch.mask > 0
    error = (value(both, batch.obs) - batch.target)[steps]
    close(loss(apply, both, batch), objective(apply, alone, batch) + 0.5 * (error**2).mean())
    theta = reference.leaves(both)
    found = dict(
        zip(theta, torch.autograd.grad(loss(apply, theta, batch), list(theta.values())), strict=True)
    )
    policy = reference.leaves(alone)
    grads = torch.autograd.grad(objective(apply, policy, batch), list(policy.values()))
    close_params(
        {n: g for n, g in found.items() if not n.startswith(PREFIX)}, dict(zip(policy, grads, strict=True))
    )
    # d/d(bias of the output) of 0.5 · mean(e²) is mean(e).
    close(found["critic.2.bias"][0], error.mean())


def constant_reward(terminated: bool, steps: int = 5) -> Episodes:
    """A task of reward 1 whose episodes are cut short, or end, after as many steps as they have."""
    _, params = model()
    whole = one(episodes(1, params), 0)
    shape = (2, steps)
    last = torch.zeros(shape, dtype=torch.bool)
    last[:, -1] = True
    none = torch.zeros_like(last)
    ones = torch.ones(shape, dtype=torch.float64)
    return dataclasses.replace(
        whole,
        obs=randn(1, *shape, 2),
        action=randn(2, *shape, 2),
        reward=ones,
        mask=ones,
        log_prob=ones,
        advantage=ones,
        target=ones,
        terminated=last if terminated else none,
        truncated=none if terminated else last,
        final_obs=randn(3, 2, 2),
    )


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_where_time_cuts_an_episode_short_its_value_goes_on(lam: float) -> None:
    """Reward 1 for ever is worth 1 / (1 − γ), which is 1 in the network's unit: nothing is left to learn."""
    gamma, batch = 0.9, constant_reward(terminated=False)
    exact, ends = torch.ones(2, 5, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    found, estimate = with_critic_advantage(batch, exact, ends, gamma, lam)
    close(found.target, exact, 1e-12)
    assert float(estimate.std) < 1e-12
    # The same episodes, ended: the last step is worth 1 and no more, 0.1 in the unit.
    ended, after = with_critic_advantage(constant_reward(terminated=True), exact, ends, gamma, lam)
    close(ended.target[:, -1], torch.full((2,), 0.1, dtype=torch.float64), 1e-12)
    for of_what_happened in (estimate.start_return, after.start_return):  # whatever the network says
        close(of_what_happened, torch.tensor((1 - gamma**5) / (1 - gamma), dtype=torch.float64))
    assert float(after.std) > 0.1


def test_target_and_advantage_of_drawn_episodes_are_the_twin_s() -> None:
    _, params = model()
    batch, gamma, lam = one(episodes(1, params), 1), 1.0, 0.8
    value, final = randn(5, 2, 4), randn(6, 2)
    unit = value_unit(gamma, 4)
    assert unit == 0.25  # 1 / horizon; with a discount it is 1 − γ
    found, estimate = with_critic_advantage(batch, value, final, gamma, lam)
    slow = reference.gae(batch.reward, value / unit, final / unit, batch.terminated, batch.mask, gamma, lam)
    steps = batch.mask > 0
    close(found.target, (slow + value / unit) * unit * batch.mask)
    close(found.advantage[steps], (slow[steps] - slow[steps].mean()) / slow[steps].std(correction=0), 1e-6)
    close(estimate.std, slow[steps].std(correction=0))


def test_tasks_do_not_mix_and_padding_has_no_say() -> None:
    _, params = model()
    batch, value, final = episodes(1, params), randn(5, 3, 2, 4), randn(6, 3, 2)
    empty = 1 - masks()
    noisy = dataclasses.replace(batch, reward=batch.reward + 9 * empty)

    def found(batch: Episodes, value: Tensor) -> list[Tensor]:
        out, estimate = with_critic_advantage(batch, value, final, 0.9, 0.8)
        return [out.advantage, out.target, *estimate]

    for a, b in zip(found(batch, value), found(noisy, value + 9 * empty), strict=True):
        close(a, b)
    other = value.clone()
    other[1] += 1
    for a, b in zip(found(batch, value), found(batch, other), strict=True):
        assert [torch.equal(x, y) for x, y in zip(a, b, strict=True)][::2] == [True, True]
