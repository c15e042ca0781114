"""tabular-mdp: a step by hand, frequencies, splits, exact values."""

from statistics import NormalDist

import numpy as np
import pytest

from metarl.testing import check_family
from metarl_envs import TabularMDP
from metarl_envs.base import row_draws
from metarl_envs.finite.exact_values import optimal_policy, optimal_return, policy_return
from row_by_row import rng, same

Z = 4.5  # standard errors that a frequency may be off: seeds are fixed, and one in 150,000 would be


def repeated(tasks, n: int):
    return {key: np.repeat(value, n, axis=0) for key, value in tasks.items()}


def test_a_step_is_a_function_of_the_task_the_seed_and_the_time():
    """Two noise columns a step: the first draws the next state, the second the reward."""
    family, seeds = TabularMDP(states=3, actions=2, horizon=6), np.array([3, 4, 2**63], np.uint64)
    tasks = family.sample_tasks(3, rng())
    env = family.make_vec(3)
    obs, _ = env.reset(seed=seeds, options={"task": tasks})
    assert obs.tolist() == [[1.0, 0.0, 0.0]] * 3 and obs.dtype == np.float32
    state, actions = [0, 0, 0], rng(1).integers(2, size=(6, 3))
    for t, action in enumerate(actions):
        noise = row_draws.uniform(seeds, 2, row_draws.STEP + t)
        obs, reward, terminated, truncated, _ = env.step(action)
        for row in range(3):
            mean = tasks["reward"][row, state[row], action[row]]
            assert reward[row] == mean + NormalDist().inv_cdf(noise[row, 1])
            p = tasks["transition"][row, state[row], action[row]].tolist()
            state[row] = 0 if noise[row, 0] < p[0] else 1 if noise[row, 0] < p[0] + p[1] else 2
        assert obs.tolist() == np.eye(3)[state].tolist()
        assert not terminated.any() and truncated.tolist() == [t == 5] * 3


def test_frequencies_of_transitions_and_rewards_are_those_of_the_task():
    n, family = 40_000, TabularMDP(states=4, actions=3, horizon=3)
    task = family.sample_tasks(1, rng(2))
    env = family.make_vec(n)
    obs, _ = env.reset(seed=0, options={"task": repeated(task, n)})
    for t in range(3):
        state, action = obs.argmax(axis=1), rng(t).integers(3, size=n)
        obs, reward, *_ = env.step(action)
        after, z = obs.argmax(axis=1), reward - task["reward"][0, state, action]
        assert np.array_equal(obs.sum(axis=1), np.ones(n)) and (obs.max(axis=1) == 1.0).all()
        for s, a in np.argwhere(np.ones((4, 3))):
            rows = (state == s) & (action == a)
            if not rows.any():
                assert t == 0 and s != 0  # every state is reached by the second step
                continue
            p, m = task["transition"][0, s, a], rows.sum()
            seen = np.bincount(after[rows], minlength=4) / m
            assert (np.abs(seen - p) <= Z * np.sqrt(p * (1 - p) / m)).all()
            assert abs(z[rows].mean()) < Z / np.sqrt(m)
        assert z.std() == pytest.approx(1.0, abs=Z / np.sqrt(2 * n))
        for state_reached in np.eye(4)[after].T:  # a reward tells nothing about where the step led
            assert abs(np.corrcoef(z, state_reached)[0, 1]) < Z / np.sqrt(n)


def test_episodes_under_the_best_policy_return_what_dynamic_programming_says():
    n, family = 4000, TabularMDP(states=5, actions=3, horizon=4)
    tasks = family.sample_tasks(3, rng(3))
    mdp = family.mdp(tasks)
    best, rows = np.repeat(optimal_policy(mdp, 4), n, axis=0), np.arange(3 * n)
    env = family.make_vec(3 * n)
    obs, _ = env.reset(seed=0, options={"task": repeated(tasks, n)})
    returns = np.zeros(3 * n)
    for t in range(4):
        obs, reward, *_ = env.step(best[rows, t, obs.argmax(axis=1)])
        returns += reward
    by_task = returns.reshape(3, n)
    error = by_task.std(axis=1) / np.sqrt(n)
    assert (np.abs(by_task.mean(axis=1) - optimal_return(mdp, 4)) < Z * error).all()
    stuck = policy_return(mdp, np.eye(3)[np.zeros((1, 5), dtype=int)], 4)  # always action 0
    assert (by_task.mean(axis=1) > stuck + 2 * error).all()


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_tasks_have_the_published_distribution(split):
    n, family = 400, TabularMDP()
    tasks = family.sample_tasks(n, rng(4), split)
    transition, reward = tasks["transition"], tasks["reward"]
    assert transition.shape == (n, 10, 5, 10) and reward.shape == (n, 10, 5)
    assert (transition >= 0.0).all() and (transition.sum(axis=-1) == 1.0).all()
    assert reward.mean() == pytest.approx(1.0, abs=Z / np.sqrt(reward.size))
    assert reward.std() == pytest.approx(1.0, abs=Z / np.sqrt(2 * reward.size))
    # An entry of a flat Dirichlet of ten is Beta(1, 9): P(p > x) = (1 − x)⁹, whichever entry it is.
    share, chance, m = (transition > 0.2).mean(axis=(0, 1, 2)), 0.8**9, n * 50
    assert np.abs(share - chance).max() < Z * np.sqrt(chance * (1 - chance) / m)


def test_rewards_tell_nothing_about_transitions():
    n = 4000
    family = TabularMDP(states=3, actions=2)
    features = family.task_features(family.sample_tasks(n, rng(7)))
    assert np.abs(np.corrcoef(features.T)[:18, 18:]).max() < 5 / np.sqrt(n)  # the largest of 108
    assert np.abs(np.corrcoef(features[:, 18:].T) - np.eye(6)).max() < 5 / np.sqrt(n)


def test_ood_tasks_lead_to_one_state_for_certain_and_each_is_equally_often_the_one():
    n, family = 400, TabularMDP()
    tasks = family.sample_tasks(n, rng(6), "ood")
    assert set(np.unique(tasks["transition"])) == {0.0, 1.0}
    assert (tasks["transition"].sum(axis=-1) == 1.0).all()
    share, m = tasks["transition"].mean(axis=(0, 1, 2)), n * 50
    assert np.abs(share - 0.1).max() < Z * np.sqrt(0.09 / m)
    assert tasks["reward"].mean() == pytest.approx(1.0, abs=Z / np.sqrt(m))
    env = family.make_vec(n)
    env.reset(seed=0, options={"task": tasks})
    obs = env.step(np.full(n, 2))[0]
    assert np.array_equal(obs, tasks["transition"][:, 0, 2].astype(np.float32))


def test_the_mdp_is_the_task_with_a_fixed_start_and_an_oracle_sees_all_of_it():
    family = TabularMDP(states=2, actions=3)
    tasks = family.sample_tasks(4, rng())
    start, transition, reward = family.mdp(tasks)
    assert start.tolist() == [[1.0, 0.0]] * 4
    assert same(transition, tasks["transition"]) and same(reward, tasks["reward"])
    features = family.task_features(tasks)
    assert features.shape == (4, 12 + 6) and features.dtype == np.float32
    assert np.array_equal(features[3, :12], tasks["transition"][3].ravel().astype(np.float32))
    assert np.array_equal(features[3, 12:], tasks["reward"][3].ravel().astype(np.float32))


def test_one_state_and_one_action_are_an_mdp_too():
    check_family(TabularMDP(states=1, actions=1, horizon=2))
