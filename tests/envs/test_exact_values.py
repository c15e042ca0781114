"""Dynamic programming: numbers worked out by hand, and the sum over all courses of an episode."""

from itertools import product

import numpy as np
import pytest

from metarl_envs.finite.exact_values import MDP, optimal_policy, optimal_return, policy_return, random_return
from row_by_row import refused


def random_mdp(n: int, s: int, a: int, seed: int = 0) -> MDP:
    """With a start that is drawn too."""
    rng = np.random.default_rng(seed)
    return MDP(rng.dirichlet(np.ones(s), n), rng.dirichlet(np.ones(s), (n, s, a)), rng.normal(size=(n, s, a)))


def enumerated_return(mdp: MDP, policy: np.ndarray, row: int) -> float:
    """The sum over all courses of probability times return, for policy "horizon s a"."""
    horizon, s, a = policy.shape
    total = 0.0
    for states in product(range(s), repeat=horizon):
        for actions in product(range(a), repeat=horizon):
            chance, earned = mdp.start[row, states[0]], 0.0
            for t in range(horizon):
                chance *= policy[t, states[t], actions[t]]
                earned += mdp.reward[row, states[t], actions[t]]
                if t + 1 < horizon:
                    chance *= mdp.transition[row, states[t], actions[t], states[t + 1]]
            total += chance * earned
    return total


def two_states(slip: float, reward: list[list[float]]) -> MDP:
    """Action a leads to state a, but for a slip."""
    to = np.array([[1.0 - slip, slip], [slip, 1.0 - slip]])
    return MDP(np.array([[1.0, 0.0]]), np.stack([to, to])[None], np.array([reward]))


def test_two_states_by_hand():
    mdp = two_states(0.25, [[0.0, 1.0], [2.0, -1.0]])
    # With one step left the states are worth 1 and 2, so at first action 0 is worth 0 + 0.75 · 1 + 0.25 · 2
    # and action 1 is worth 1 + 0.25 · 1 + 0.75 · 2 = 2.75. Random actions earn 0.5 in
    # either state, at any time.
    assert optimal_return(mdp, 1).tolist() == [1.0] and optimal_return(mdp, 2).tolist() == [2.75]
    assert optimal_policy(mdp, 2).tolist() == [[[1, 0], [1, 0]]]
    assert random_return(mdp, 1).tolist() == [0.5] and random_return(mdp, 2).tolist() == [1.0]
    always_zero = np.array([[[1.0, 0.0], [1.0, 0.0]]])
    assert policy_return(mdp, always_zero, 2).tolist() == [0.75 * 0.0 + 0.25 * 2.0]


def test_the_best_policy_depends_on_the_time_left():
    mdp = two_states(0.0, [[0.5, 0.0], [2.0, 0.0]])  # going to state 1 costs 0.5 and pays 2 one step later
    assert optimal_policy(mdp, 2)[0, :, 0].tolist() == [1, 0]
    # 1 then 0 pays 0 + 2; three steps pay 0.5 + 0 + 2.
    assert [optimal_return(mdp, h)[0] for h in (1, 2, 3)] == [0.5, 2.0, 2.5]


@pytest.mark.parametrize("timed", [False, True])
def test_a_policys_return_is_the_sum_over_all_courses(timed):
    mdp, horizon = random_mdp(3, 3, 2), 3
    shape = (3, horizon, 3) if timed else (3, 3)
    policy = np.random.default_rng(1).dirichlet(np.ones(2), shape)
    found = policy_return(mdp, policy, horizon)
    for row in range(3):
        full = policy[row] if timed else np.stack([policy[row]] * horizon)
        assert found[row] == pytest.approx(enumerated_return(mdp, full, row), abs=1e-12)
    shared = policy_return(mdp, policy[:1], horizon)  # one policy for all tasks
    assert shared == pytest.approx(policy_return(mdp, np.repeat(policy[:1], 3, axis=0), horizon), abs=1e-14)


def test_random_actions_are_a_policy_too():
    mdp = random_mdp(2, 3, 2)
    for row, value in enumerate(random_return(mdp, 3)):
        assert value == pytest.approx(enumerated_return(mdp, np.full((3, 3, 2), 0.5), row), abs=1e-12)


def test_no_policy_of_all_is_better_than_the_optimum_and_the_best_policy_reaches_it():
    horizon, (n, s, a) = 3, (2, 3, 2)
    mdp = random_mdp(n, s, a, seed=5)
    plans = np.array(list(product(range(a), repeat=horizon * s))).reshape(-1, horizon, s)
    assert len(plans) == 512
    returns = np.stack([policy_return(mdp, np.eye(a)[plan][None], horizon) for plan in plans])
    assert optimal_return(mdp, horizon) == pytest.approx(returns.max(axis=0), abs=1e-12)
    best = np.eye(a)[optimal_policy(mdp, horizon)]
    assert policy_return(mdp, best, horizon) == pytest.approx(optimal_return(mdp, horizon), abs=1e-12)
    assert best.shape == (n, horizon, s, a)


@pytest.mark.parametrize(
    ("shape", "fill", "words"),
    [
        ((2, 2, 3), 0.5, "policy has shape (2, 2, 3); allowed: (2, 3, 2) or (2, 4, 3, 2)"),
        ((3, 3, 2), 0.5, "policy has shape (3, 3, 2); "),
        ((2, 1, 3, 2), 0.5, "policy has shape (2, 1, 3, 2); "),
        ((3, 2), 0.5, "policy has shape (3, 2); "),
        ((2, 3, 2), 0.4, "no probabilities; allowed: at least 0, summing to 1"),
        ((2, 3, 2), [1.5, -0.5], "no probabilities"),
        ((2, 3, 2), np.nan, "no probabilities"),
    ],
)
def test_bad_policies_and_horizons_are_refused(shape, fill, words):
    mdp = random_mdp(2, 3, 2)
    with refused(words):
        policy_return(mdp, np.full(shape, fill), 4)
    with refused("exact values: horizon is 0; allowed: integers from 1"):
        optimal_return(mdp, 0)
