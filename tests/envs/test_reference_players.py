"""Reference players: first pulls worked out by hand, posteriors, exact values, bad input."""

import numpy as np
import pytest

from metarl_envs import Bandit, TabularMDP
from metarl_envs.finite.exact_values import optimal_return, random_return
from metarl_envs.finite.reference_players import (
    BANDIT_PLAYERS,
    MDP_PLAYERS,
    best_arm,
    best_policy,
    greedy,
    psrl,
    random_actions,
    random_arms,
    thompson,
    ucb1,
)
from row_by_row import refused, rng

Z = 4.5  # standard errors that a mean may be off: seeds are fixed, and one in 150,000 would be


class Known(np.random.Generator):
    """Draws to work out by hand: no noise on rewards; of a posterior, one sd above its mean, or its mean."""

    def __init__(self):
        super().__init__(np.random.PCG64(0))
        self.asked = []

    def random(self, size):
        return np.full(size, 0.5)

    def normal(self, mean, sd):
        self.asked.append(("normal", mean, sd))
        return mean + sd

    def beta(self, a, b):
        self.asked.append(("beta", a, b))
        return a / (a + b)

    def standard_gamma(self, shape):
        self.asked.append(("gamma", shape))
        return shape


def by_hand(player, spec, means, pulls, **args):
    """The rewards of one task without noise, which tell what was pulled."""
    bandit = Bandit(spec, arms=len(means))
    return player(bandit, {"mean": [means]}, pulls, Known(), **args)[0].tolist()


def test_ucb1_by_hand():
    # Both arms once, then from t pulls: the good arm 1 + √(2 ln t / n) against the bad one's √(2 ln t).
    # t = 2: 2.18, 1.18; 3: 2.05, 1.48; 4: 1.96, 1.67; 5: 1.90, 1.79; 6: 1.85, 1.89: the bad arm again.
    assert by_hand(ucb1, "bernoulli", [1.0, 0.0], 7) == [1, 0, 1, 1, 1, 1, 0]
    # Half the width: 1 + √(ln t / 2n) against √(ln t / 2) has not come to that by then.
    assert by_hand(ucb1, "bernoulli", [1.0, 0.0], 7, width=0.5) == [1, 0, 1, 1, 1, 1, 1]


def test_ucb1_for_gaussian_rewards_is_twice_as_wide():
    # t = 2: 0.9 + √(8 ln 2) against √(8 ln 2); 3: 0.9 + √(8 ln 3 / 2) = 2.996 against 2.965 (with ln 4 in
    # place of ln 3 it would be 3.255 against 3.330); 4: 0.9 + √(8 ln 4 / 3) = 2.82 against 3.33.
    assert by_hand(ucb1, "gaussian", [0.9, 0.0], 5) == [0.9, 0.0, 0.9, 0.9, 0.0]


def test_thompson_by_hand():
    # Posterior means: 1/2, 1/2; after a failure of arm 0: 1/3, 1/2; then arm 1 only grows.
    assert by_hand(thompson, "bernoulli", [0.0, 1.0], 4) == [0, 1, 1, 1]
    # Both at 0 + 1. Arm 0 after 0.2: 0.1 + √½ = 0.80711. Arm 1 after n pulls: 0.5 n / (n + 1) + 1 / √(n + 1)
    # = 0.957, 0.910, 0.875, 0.847, 0.825, 0.80654: the sixth is the last one.
    assert by_hand(thompson, "gaussian", [0.2, 0.5], 8) == [0.2, *[0.5] * 6, 0.2]


def test_greedy_by_hand():
    # 1/2, 1/2; a success: 2/3; it stays, though arm 1 might be as good. After a failure it leaves for good.
    assert by_hand(greedy, "bernoulli", [1.0, 1.0], 3) == [1, 1, 1]
    assert by_hand(greedy, "bernoulli", [0.0, 0.0, 1.0], 4) == [0, 0, 1, 1]
    # 0, 0; arm 0 after −0.3 is at −0.15; arm 1 after −0.5 is at −0.25, so arm 0 again.
    assert by_hand(greedy, "gaussian", [-0.3, -0.5], 3) == [-0.3, -0.5, -0.3]


def test_the_posteriors_that_thompson_draws_from():
    known, tasks = Known(), {"mean": [[0.0, 1.0]]}
    thompson(Bandit(arms=2), tasks, 4, known)
    asked = [(a.tolist(), b.tolist()) for _, a, b in known.asked]
    assert asked[0] == ([[1, 1]], [[1, 1]]) and asked[3] == ([[1, 3]], [[2, 1]])  # 1 failure, 2 successes
    known = Known()
    thompson(Bandit("gaussian", arms=2), {"mean": [[0.2, 0.5]]}, 4, known)
    _, mean, sd = known.asked[3]
    assert mean[0] == pytest.approx([0.1, 1 / 3]) and sd[0] ** 2 == pytest.approx([1 / 2, 1 / 3])


def test_thompson_repeats_a_success_with_the_probability_of_its_posterior():
    """Arm 0 after its success has P(Beta(2, 1) > U) = 2/3, after arm 1's failure P(U > Beta(1, 2)) = 2/3."""
    n = 20_000
    rewards = thompson(Bandit(arms=2), {"mean": np.tile([1.0, 0.0], (n, 1))}, 2, rng())
    for first in (0.0, 1.0):
        rows = rewards[:, 0] == first
        assert rows.mean() == pytest.approx(0.5, abs=Z * 0.5 / np.sqrt(n))
        assert rewards[rows, 1].mean() == pytest.approx(2 / 3, abs=Z * np.sqrt(2 / 9 / rows.sum()))


@pytest.mark.parametrize("spec", Bandit.specs)
def test_random_arms_earn_the_mean_of_all_and_the_best_arm_the_largest(spec):
    bandit, n, pulls = Bandit(spec), 4000, 3
    tasks = bandit.sample_tasks(n, rng(1))
    for player, expected in [
        (random_arms, tasks["mean"].mean(axis=1)),
        (best_arm, tasks["mean"].max(axis=1)),
    ]:
        rewards = player(bandit, tasks, pulls, rng(2))
        assert rewards.shape == (n, pulls) and rewards.dtype == np.float64
        off = rewards - expected[:, None]
        assert (np.abs(off.mean(axis=0)) < Z * off.std(axis=0) / np.sqrt(n)).all()
        assert np.abs(np.corrcoef(off.T) - np.eye(pulls)).max() < Z / np.sqrt(n)  # each pull by itself


def test_random_arms_pull_each_arm_as_often():
    n = 4000
    rewards = random_arms(Bandit("gaussian", arms=4), {"mean": np.tile([0, 10, 20, 30], (n, 1))}, 5, rng())
    share = np.stack([np.bincount(arm, minlength=4) for arm in np.rint(rewards / 10).astype(int).T]) / n
    assert np.abs(share - 0.25).max() < Z * np.sqrt(0.1875 / n)


@pytest.mark.parametrize("spec", Bandit.specs)
def test_players_that_learn_are_between_chance_and_the_optimum_and_get_better(spec):
    bandit = Bandit(spec)
    tasks = bandit.sample_tasks(4000, rng(3))
    rewards = {name: player(bandit, tasks, 100, rng(4)) for name, player in BANDIT_PLAYERS.items()}
    mean = {name: r.mean(axis=0) for name, r in rewards.items()}
    for name in ("ucb1", "thompson", "greedy"):
        assert mean["random"].mean() + 0.1 < mean[name].mean() < mean["optimum"].mean() - 0.01
        assert mean[name][:10].mean() + 0.05 < mean[name][-10:].mean() <= mean["optimum"].mean() + 0.02
    assert mean["thompson"][-10:].mean() > mean["greedy"][-10:].mean()  # greedy got stuck
    assert mean["thompson"][:10].mean() < mean["greedy"][:10].mean()  # but was the quicker one


def test_players_are_a_function_of_the_generator():
    bandit, mdp = Bandit("gaussian"), TabularMDP(states=3, actions=2, horizon=4)
    for family, players in [(bandit, BANDIT_PLAYERS), (mdp, MDP_PLAYERS)]:
        tasks = family.sample_tasks(5, rng())
        for player in players.values():
            one, two, other = (player(family, tasks, 3, rng(seed)) for seed in (1, 1, 2))
            assert np.array_equal(one, two) and not np.isin(one, other).any()


def test_random_actions_and_the_best_policy_return_their_exact_values():
    family, n, episodes = TabularMDP(states=4, actions=3, horizon=3), 4000, 2
    tasks = {key: np.repeat(value, n, axis=0) for key, value in family.sample_tasks(2, rng(5)).items()}
    mdp = family.mdp(tasks)
    for player, exact in [(random_actions, random_return), (best_policy, optimal_return)]:
        rewards = player(family, tasks, episodes, rng(6))
        assert rewards.shape == (2 * n, episodes * 3)
        returns = rewards.reshape(2, n, episodes, 3).sum(axis=-1)
        error = returns.std(axis=1) / np.sqrt(n)
        expected = exact(mdp, 3).reshape(2, n)[:, :1]
        assert (np.abs(returns.mean(axis=1) - expected) < Z * error).all()


def test_the_best_policy_knows_the_time_left():
    """Going to state 1 costs 0.5 and pays 2 one step later: too late for that at the last step."""
    family = TabularMDP(states=2, actions=2, horizon=3)
    tasks = {"transition": [[np.eye(2), np.eye(2)]], "reward": [[[0.5, 0.0], [2.0, 0.0]]]}
    assert best_policy(family, tasks, 2, Known()).tolist() == [[0.5, 0.0, 2.0] * 2]


def test_the_posterior_that_psrl_draws_from():
    """Two states and one action, which swaps them; state 0 pays 4 and state 1 pays 7."""
    family, known = TabularMDP(states=2, actions=1, horizon=3), Known()
    tasks = {"transition": [[[[0.0, 1.0]], [[1.0, 0.0]]]], "reward": [[[4.0], [7.0]]]}
    assert psrl(family, tasks, 2, known).tolist() == [[4.0, 7.0, 4.0] * 2]
    (_, prior), (_, mean, sd), (_, shape), (_, mean_after, sd_after) = known.asked
    assert prior.tolist() == [[[[1, 1]], [[1, 1]]]] and mean.tolist() == [[[1], [1]]] and (sd == 1).all()
    # An episode visits state 0 twice and state 1 once: the counts, means (1 + 8) / 3 and (1 + 7) / 2.
    assert shape.tolist() == [[[[1, 3]], [[2, 1]]]]
    assert mean_after[0, :, 0] == pytest.approx([3.0, 4.0])
    assert sd_after[0, :, 0] ** 2 == pytest.approx([1 / 3, 1 / 2])


def test_psrl_plans_with_what_it_drew():
    """One state: a bandit. Arms pay −2 and 3; arm 0 comes first, of equals, and is left after one episode."""
    family = TabularMDP(states=1, actions=2, horizon=2)
    tasks = {"transition": [[[[1.0], [1.0]]]], "reward": [[[-2.0, 3.0]]]}
    assert psrl(family, tasks, 3, Known()).tolist() == [[-2, -2, 3, 3, 3, 3]]


def test_psrl_is_between_chance_and_the_optimum_and_gets_better():
    family = TabularMDP()
    tasks = family.sample_tasks(300, rng(7))
    by_episode = psrl(family, tasks, 40, rng(8)).reshape(300, 40, 10).sum(axis=-1).mean(axis=0)
    mdp = family.mdp(tasks)
    chance, best = random_return(mdp, 10).mean(), optimal_return(mdp, 10).mean()
    assert by_episode[0] == pytest.approx(chance, abs=1.0)  # it knows nothing yet
    assert chance + 0.7 * (best - chance) < by_episode[-5:].mean() < best


def test_bad_tasks_and_lengths_are_refused():
    bandit, family = Bandit(arms=2), TabularMDP(states=2, actions=1)
    bad = {"transition": np.full((1, 2, 1, 2), 0.5), "reward": np.zeros((1, 2))}
    for player in BANDIT_PLAYERS.values():
        with refused("bandit/bernoulli: task 'mean' of row 0 is [0.5, 1.5]", "from 0 to 1"):
            player(bandit, {"mean": [[0.5, 1.5]]}, 3, rng())
        with refused("bandit/bernoulli: number of pulls is 0", "from 1"):
            player(bandit, {"mean": [[0.5, 0.5]]}, 0, rng())
    for player in MDP_PLAYERS.values():
        with refused("tabular-mdp/rl2: task 'reward' has shape (1, 2); allowed: (1, 2, 1)"):
            player(family, bad, 3, rng())
        with refused("tabular-mdp/rl2: number of episodes is 0", "from 1"):
            player(family, family.sample_tasks(1, rng()), 0, rng())
