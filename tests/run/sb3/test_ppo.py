"""PPO on a family's tasks, and one update on episodes that were collected elsewhere."""

import dataclasses
import random
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from torch import Tensor

from metarl.core.batch import Episodes
from metarl.core.params import expand, tree_map
from metarl.rollout.collector import collect
from metarl.rollout.seeding import Address
from metarl.run.agent.agent import Agent
from metarl.run.experience.gather import USES
from metarl.run.sb3.names import names_of
from metarl.run.sb3.ppo import learn_from, own_randomness, ppo_of, train_on_tasks
from metarl.run.sb3.vec_env import TaskVecEnv
from tiny_runs import agent

GOAL = {"goal": [0.3, -0.2]}


def state_of(model: PPO) -> dict[str, Tensor]:
    return {name: x.clone() for name, x in model.policy.state_dict().items()}


def episodes(reward: list[list[Any]], mask: list[list[int]], ends: list[str]) -> Episodes:
    """Of the family Field, with nothing seen; ``ends`` says how each episode ended."""
    shape = len(mask), len(mask[0])
    happened = torch.tensor(mask).float()
    last = happened * (1 - torch.cat([happened[:, 1:], torch.zeros(shape[0], 1)], 1))
    how = torch.tensor([end == "terminated" for end in ends])[:, None]
    zero = torch.zeros(shape)
    return Episodes(
        obs=torch.zeros(*shape, 2),
        action=torch.arange(shape[0] * shape[1] * 2).reshape(*shape, 2) / 10,
        reward=torch.tensor(reward).float(),
        terminated=(last > 0) & how,
        truncated=(last > 0) & ~how,
        mask=happened,
        log_prob=zero,
        final_obs=torch.zeros(shape[0], 2),
        advantage=zero,
        target=zero,
    )


def field() -> Agent:
    return agent(family="tiny_families:Field", family_arg={"horizon": 6}, spec="random", gamma=0.5)


def test_an_update_has_these_steps_with_these_advantages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are 2 everywhere, γ = λ = 1/2. Backwards through both episodes:

    terminated: 3 − 2 = 1; then 1 + 0.5·2 − 2 + 0.25·1 = 0.25.
    cut short:  4 + 0.5·2 − 2 = 3; then −1 + 1 − 2 + 0.25·3 = −1.25; then 0 + 1 − 2 + 0.25·(−1.25) = −1.3125.
    """
    model = ppo_of(field(), None, gae_lambda=0.5)
    with torch.no_grad():
        model.policy.value_net.weight.zero_()
        model.policy.value_net.bias.fill_(2.0)
    monkeypatch.setattr(model, "train", lambda: None)
    batch = episodes([[1, 3, 99], [0, -1, 4]], [[1, 1, 0], [1, 1, 1]], ["terminated", "truncated"])
    learn_from(model, batch)
    buffer = model.rollout_buffer
    np.testing.assert_allclose(buffer.advantages[:, 0], [0.25, 1, -1.3125, -1.25, 3], rtol=1e-6)
    np.testing.assert_allclose(buffer.returns[:, 0], np.array([0.25, 1, -1.3125, -1.25, 3]) + 2, rtol=1e-6)
    np.testing.assert_array_equal(buffer.episode_starts[:, 0], [1, 0, 1, 0, 0])
    np.testing.assert_allclose(buffer.actions[:, 0], batch.action[batch.mask.bool()])
    expected = model.policy.evaluate_actions(torch.zeros(5, 2), batch.action[batch.mask.bool()])[1]
    np.testing.assert_allclose(buffer.log_probs[:, 0], expected.detach(), rtol=1e-6)


def test_it_is_what_stable_baselines3_makes_of_the_same_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without noise, so that both collect the same; nobody's episode ends before the horizon.

    Spread 2e-9 is below a float's resolution of these actions. Ours has 1e-6 as its least (``min_std``),
    hence acts by the mode; the noise of that would add up to 2e-5 over the steps of an episode.
    """
    built = field()
    env: Any = TaskVecEnv(built.episodic, 3, {"goal": [-0.3, 0.2]}, seed=4)
    theirs = ppo_of(built, None, env, n_steps=6, batch_size=6, init_seed=1)
    with torch.no_grad():
        theirs.policy.log_std.fill_(-20.0)
    names = names_of(built.config, built.family, built.module, False)
    params = names.from_sb3(state_of(theirs))
    tasks = {"goal": np.tile([[-0.3, 0.2]], (3, 1))}
    batch = collect(
        built.episodic.make_vec(3), built.apply_tasks, expand(params, 3), tasks,
        episodes=1, horizon=6, address=Address(4, USES["sb3"]), deterministic=True,
    )  # fmt: skip
    ours = ppo_of(built, None, init_seed=1)
    ours.policy.load_state_dict(theirs.policy.state_dict())
    for model in (theirs, ours):
        monkeypatch.setattr(model, "train", lambda: None)
    theirs.learn(18)
    assert not batch.terminated.any()
    learn_from(ours, tree_map(lambda x: x[:, 0], batch))  # one task of three episodes
    for name in ("observations", "rewards", "values", "advantages", "returns", "episode_starts"):
        column = getattr(theirs.rollout_buffer, name).swapaxes(0, 1)
        found = getattr(ours.rollout_buffer, name)
        np.testing.assert_allclose(found[:, 0], column.reshape(18, *column.shape[2:]), atol=1e-6)


def test_the_update_moves_towards_what_paid() -> None:
    """Of two first actions, the one on the right is followed by reward."""
    built = field()
    model = ppo_of(built, None, learning_rate=0.01)
    batch = episodes([[1.0], [0.0]] * 8, [[1]] * 16, ["terminated"] * 16)
    action = torch.tensor([[[0.4, 0.0]], [[-0.4, 0.0]]] * 8)
    before = model.predict(np.zeros(2, np.float32), deterministic=True)[0][0]
    with own_randomness(0):
        learn_from(model, dataclasses.replace(batch, action=action))
    after = model.predict(np.zeros(2, np.float32), deterministic=True)[0][0]
    assert after > before + 0.01 and after > 0


def test_training_takes_the_steps_that_are_asked_for_in_whole_rollouts() -> None:
    built = agent()  # a rollout is 4 · 3 · 10 steps
    for asked, taken in {0: 0, 1: 120, 120: 120, 121: 240}.items():
        model = train_on_tasks(built, asked, seed=3)
        assert model.num_timesteps == taken
    # 30 minibatches divide 120, 32 do not.
    assert (model.n_steps, model.n_envs, model.batch_size) == (10, 12, 4)
    assert model.policy.net_arch == {"pi": [8], "vf": [8]} and model.gamma == built.config.gamma


@pytest.mark.parametrize(("tasks", "horizon"), [(4, 1), (4, 2), (1, 1), (11, 1)])
def test_rollouts_of_a_few_steps_have_minibatches_of_two_or_more(tasks: int, horizon: int) -> None:
    """12, 24, 3 and 33 steps: of each a whole number of minibatches, as many as may be."""
    built = agent(tasks=tasks, family_arg={"horizon": horizon})
    model = train_on_tasks(built, 1, seed=3)
    assert model.batch_size == {12: 2, 24: 2, 3: 3, 33: 3}[tasks * 3 * horizon] and model.num_timesteps


def test_training_repeats_and_draws_from_nobody_else_s_generators() -> None:
    built, places = agent(), []
    for seed in (3, 3, 4):
        torch.manual_seed(7)
        random.seed(7)
        np.random.seed(7)  # noqa: NPY002
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
        places.append(train_on_tasks(built, 120, seed).policy.state_dict()["action_net.weight"])
        after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1]  # noqa: NPY002
        assert torch.equal(before[0], after[0]) and before[1] == after[1] and (before[2] == after[2]).all()
    first, again, other = places
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_progress_counts_the_rollouts(capsys: pytest.CaptureFixture[str]) -> None:
    train_on_tasks(agent(), 240, seed=3, about="sb3-pretrained")
    assert "sb3-pretrained rollout 2/2" in capsys.readouterr().err
