"""chain: its definition in arrays, every course of an episode, splits."""

from itertools import product

import numpy as np
import pytest

from metarl_envs import Chain
from metarl_envs.base import row_draws
from metarl_envs.finite.exact_values import optimal_return, random_return
from row_by_row import rng, same

Z = 4.5  # standard errors that a frequency may be off: seeds are fixed, and one in 150,000 would be


TASK = {"slip": np.array([0.2]), "reward": np.array([[[0.5, -1.0], [2.0, 0.25]]])}


def test_the_arrays_of_a_task_are_its_definition():
    start, transition, reward = Chain().mdp(TASK)
    assert start.tolist() == [[1.0, 0.0]]
    # Action 0 leads to state 0 with probability 0.8, action 1 to state 1, from either state.
    assert transition.tolist() == [[[[0.8, 0.2], [0.2, 0.8]], [[0.8, 0.2], [0.2, 0.8]]]]
    assert same(reward, TASK["reward"])
    two = Chain().mdp({"slip": [0.0, 1.0], "reward": np.zeros((2, 2, 2))}).transition
    assert two[0].tolist() == [np.eye(2).tolist()] * 2 and two[1].tolist() == [np.eye(2)[::-1].tolist()] * 2


def test_exact_values_by_hand():
    mdp = Chain().mdp(TASK)
    # The last step is worth 0.5 in state 0 and 2 in state 1, so the first action is worth
    # 0.5 + 0.8 · 0.5 + 0.2 · 2 = 1.3 or −1 + 0.2 · 0.5 + 0.8 · 2 = 0.7.
    assert optimal_return(mdp, 2) == pytest.approx([1.3], abs=1e-15)
    # Random: −0.25 and then −0.25 or 1.125, each in half of all cases.
    assert random_return(mdp, 2) == pytest.approx([-0.25 + 0.5 * (-0.25 + 1.125)], abs=1e-15)


def test_every_course_of_an_episode_is_as_frequent_as_its_probability():
    """Actions by a policy with p(1) = 0.3 in state 0 and 0.6 in state 1, from random numbers of the test."""
    n, family = 40_000, Chain()
    (_,), (transition,), (reward,) = family.mdp(TASK)
    env = family.make_vec(n)
    obs, _ = env.reset(seed=0, options={"task": {key: np.repeat(v, n, axis=0) for key, v in TASK.items()}})
    seen = [obs.argmax(axis=1)]
    for u in rng(1).random((2, n)):
        state = obs.argmax(axis=1)
        action = (u < np.where(state == 0, 0.3, 0.6)).astype(int)
        obs, earned, terminated, truncated, _ = env.step(action)
        assert np.array_equal(earned, reward[state, action]) and not terminated.any()
        seen += [action, obs.argmax(axis=1)]
    assert truncated.all()
    policy = np.array([[0.7, 0.3], [0.4, 0.6]])
    total = 0.0
    for a0, s1, a1, s2 in product(range(2), repeat=4):
        p = policy[0, a0] * transition[0, a0, s1] * policy[s1, a1] * transition[s1, a1, s2]
        total += p
        rows = (seen[0] == 0) & (seen[1] == a0) & (seen[2] == s1) & (seen[3] == a1) & (seen[4] == s2)
        assert abs(rows.mean() - p) < Z * np.sqrt(p * (1 - p) / n)
    assert total == pytest.approx(1.0, abs=1e-15)


def test_a_step_slips_where_the_seeds_noise_is_below_or_above_the_bound():
    seeds = np.arange(200, dtype=np.uint64)
    env = Chain().make_vec(200)
    env.reset(seed=seeds, options={"task": {key: np.repeat(v, 200, axis=0) for key, v in TASK.items()}})
    for t, action in enumerate((0, 1)):
        u = row_draws.uniform(seeds, 1, row_draws.STEP + t)[:, 0]
        first = 0.8 if action == 0 else 0.2  # probability of state 0, whose interval comes first
        assert np.array_equal(env.step(np.full(200, action))[0][:, 0] == 1.0, u < first)


@pytest.mark.parametrize("split", ["train", "validation", "test", "ood"])
def test_tasks_of_a_split_fill_their_intervals(split):
    n, family = 4000, Chain()
    tasks = family.sample_tasks(n, rng(2), split)
    low = 0.5 if split == "ood" else 0.0
    assert tasks["slip"].shape == (n,) and tasks["reward"].shape == (n, 2, 2)
    assert tasks["slip"].min() >= low and tasks["slip"].max() < low + 0.5
    assert tasks["slip"].mean() == pytest.approx(low + 0.25, abs=Z * 0.5 / np.sqrt(12 * n))
    assert tasks["slip"].std() == pytest.approx(0.5 / np.sqrt(12), rel=Z / np.sqrt(2 * n))
    assert np.abs(tasks["reward"]).max() <= 1.0
    assert np.abs(tasks["reward"].mean(axis=0)).max() < Z * 2 / np.sqrt(12 * n)
    assert np.abs(tasks["reward"].std(axis=0) - 2 / np.sqrt(12)).max() < Z / np.sqrt(2 * n)
    features = family.task_features(tasks)
    assert np.abs(np.corrcoef(features.T) - np.eye(5)).max() < Z / np.sqrt(n)


def test_an_oracle_sees_slip_and_rewards():
    assert same(Chain().task_features(TASK), np.float32([[0.2, 0.5, -1.0, 2.0, 0.25]]))
