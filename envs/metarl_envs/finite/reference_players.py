"""Classical players of ``bandit``, ``tabular-mdp`` and ``maze``, to be held beside what was meta-learned.

Each plays every task by itself and returns the reward of each pull (each time step, episodes one after the
other), float64 "task pull", so that the share of the optimal return in the first n pulls is
``player[:, :n].sum() / optimum[:, :n].sum()``. Tasks are refused as the family refuses them.

Players that learn know at most the distribution of training tasks. Rewards are drawn by the family's own
formulas from ``rng``, not by the seeds of its environments.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from metarl_envs.base.arguments import positive_int
from metarl_envs.base.formulas import Floats, Integers, read_tasks
from metarl_envs.finite.bandit import Bandit
from metarl_envs.finite.exact_values import MDP, optimal_policy
from metarl_envs.finite.maze import Maze
from metarl_envs.finite.maze_layout import MOVES
from metarl_envs.finite.tabular_mdp import TabularMDP, start_in_first

GivenTasks: TypeAlias = Mapping[str, Any]


# --- bandits ---


def random_arms(bandit: Bandit, tasks: GivenTasks, pulls: int, rng: np.random.Generator) -> Floats:
    """Pull an arm at random each time, all equally likely."""
    return _pulled(bandit, tasks, pulls, rng, lambda count, total: rng.integers(bandit.arms, size=len(count)))


def best_arm(bandit: Bandit, tasks: GivenTasks, pulls: int, rng: np.random.Generator) -> Floats:
    """Pull an arm of the largest mean always, which no player can beat on average."""
    best = _largest(read_tasks(bandit.model, tasks)["mean"])
    return _pulled(bandit, tasks, pulls, rng, lambda count, total: best)


def ucb1(
    bandit: Bandit, tasks: GivenTasks, pulls: int, rng: np.random.Generator, *, width: float = 1.0
) -> Floats:
    """Pull each arm once, then, after t pulls, that of the largest mean + width · σ · √(8 ln t / its pulls).

    σ is 1/2 for rewards in [0, 1], which makes it √(2 ln t / pulls) as published, and 1 for ``gaussian``: the
    same confidence, since rewards in [0, 1] are sub-Gaussian with 1/2. Of equal arms it takes the first.

    Args:
        width: 1 has the guarantee; smaller is better for few pulls.

    References:
        Auer, Cesa-Bianchi & Fischer 2002, "Finite-time analysis of the multiarmed bandit problem".
    """
    sigma = 1.0 if bandit.spec == "gaussian" else 0.5

    def choose(count: Floats, total: Floats) -> Integers:
        tried = np.maximum(count, 1.0)
        t = np.maximum(count.sum(axis=1, keepdims=True), 1.0)
        bound = total / tried + width * sigma * np.sqrt(8.0 * np.log(t) / tried)
        return _largest(np.where(count == 0.0, np.inf, bound))

    return _pulled(bandit, tasks, pulls, rng, choose)


def thompson(bandit: Bandit, tasks: GivenTasks, pulls: int, rng: np.random.Generator) -> Floats:
    """Pull the best arm of means drawn from the posterior, with the training tasks as prior.

    That is Beta(1 + successes, 1 + failures) for ``bernoulli``, and for ``gaussian`` the normal distribution
    with mean total / (1 + pulls) and variance 1 / (1 + pulls).

    References:
        Thompson 1933, "On the likelihood that one unknown probability exceeds another".
    """

    def choose(count: Floats, total: Floats) -> Integers:
        if bandit.spec == "gaussian":
            return _largest(rng.normal(total / (1.0 + count), 1.0 / np.sqrt(1.0 + count)))
        return _largest(rng.beta(1.0 + total, 1.0 + count - total))

    return _pulled(bandit, tasks, pulls, rng, choose)


def greedy(bandit: Bandit, tasks: GivenTasks, pulls: int, rng: np.random.Generator) -> Floats:
    """Pull the arm of the largest posterior mean (the posteriors of ``thompson``), the first of several.

    It may stay with a worse arm for ever, but for ten pulls of five arms it is far better than ``ucb1`` and
    ``thompson``, which explore for longer.
    """

    def choose(count: Floats, total: Floats) -> Integers:
        if bandit.spec == "gaussian":
            return _largest(total / (1.0 + count))
        return _largest((1.0 + total) / (2.0 + count))

    return _pulled(bandit, tasks, pulls, rng, choose)


def _largest(scores: Floats) -> Integers:
    """Return the first arm "task" of the largest score "task arm"."""
    arm: Integers = scores.argmax(axis=1)
    return arm


def _pulled(
    bandit: Bandit,
    tasks: GivenTasks,
    pulls: int,
    rng: np.random.Generator,
    choose: Callable[[Floats, Floats], Integers],
) -> Floats:
    """Return the rewards "task pull" of a player that turns counts and totals "task arm" into arms "task"."""
    read = read_tasks(bandit.model, tasks)
    n = len(read["mean"])
    rows, (count, total) = np.arange(n), np.zeros((2, n, bandit.arms))
    rewards = np.empty((n, positive_int(bandit.model.title, "number of pulls", pulls)))
    state = bandit.model.start(np.zeros((n, 0)))
    for t in range(pulls):
        arm = choose(count, total)
        _, rewards[:, t], _ = bandit.model.step(state, arm, read, rng.random((n, bandit.model.step_draws)))
        count[rows, arm] += 1.0
        total[rows, arm] += rewards[:, t]
    return rewards


# --- finite MDPs ---


def random_actions(family: TabularMDP, tasks: GivenTasks, episodes: int, rng: np.random.Generator) -> Floats:
    """Act at random, all actions equally likely: a drawn plan uses each of its entries at most once."""

    def plan(count: Floats, total: Floats) -> Integers:
        return rng.integers(family.actions, size=(len(count), family.horizon, family.states))

    return _lived(family, tasks, episodes, rng, plan)


def best_policy(family: TabularMDP, tasks: GivenTasks, episodes: int, rng: np.random.Generator) -> Floats:
    """Follow the best policy of the true MDP (dynamic programming), which no player can beat on average."""
    best = optimal_policy(family.mdp(tasks), family.horizon)
    return _lived(family, tasks, episodes, rng, lambda count, total: best)


def psrl(family: TabularMDP, tasks: GivenTasks, episodes: int, rng: np.random.Generator) -> Floats:
    """Follow, each episode, the best policy of an MDP drawn from the posterior (posterior sampling).

    The prior is the distribution of training tasks: flat Dirichlet next states, mean rewards N(1, 1).

    References:
        Osband, Russo & Van Roy 2013, "(More) efficient reinforcement learning via posterior sampling".
    """

    def plan(count: Floats, total: Floats) -> Integers:
        weights = rng.standard_gamma(1.0 + count)
        precision = 1.0 + count.sum(axis=-1)
        drawn = MDP(
            start_in_first(len(count), family.states),
            weights / weights.sum(axis=-1, keepdims=True),
            rng.normal((1.0 + total) / precision, 1.0 / np.sqrt(precision)),
        )
        return optimal_policy(drawn, family.horizon)

    return _lived(family, tasks, episodes, rng, plan)


def _lived(
    family: TabularMDP,
    tasks: GivenTasks,
    episodes: int,
    rng: np.random.Generator,
    plan: Callable[[Floats, Floats], Integers],
) -> Floats:
    """Return the rewards "task pull" of a player that plans each episode by what it has seen of each task.

    Args:
        plan: how often each state followed "task s a s" and total rewards "task s a", to actions
            "task time s".
    """
    model, horizon, read = family.model, family.horizon, read_tasks(family.model, tasks)
    n = len(read["reward"])
    rows, count, total = np.arange(n), np.zeros_like(read["transition"]), np.zeros_like(read["reward"])
    rewards = np.empty((n, positive_int(model.title, "number of episodes", episodes), horizon))
    for episode in range(episodes):
        policy, state = plan(count, total), model.start(np.zeros((n, 0)))
        for t in range(horizon):
            action = policy[rows, t, state]
            after, reward, _ = model.step(state, action, read, rng.random((n, model.step_draws)))
            count[rows, state, action, after] += 1.0
            total[rows, state, action] += reward
            rewards[:, episode, t], state = reward, after
    return rewards.reshape(n, -1)


# --- mazes ---


def random_moves(family: Maze, tasks: GivenTasks, episodes: int, rng: np.random.Generator) -> Floats:
    """Move at random, all moves equally likely; earns ``exact_values.random_return`` on average."""
    return _walked(family, tasks, episodes, lambda cell: rng.integers(len(MOVES), size=len(cell)))


def shortest_path(family: Maze, tasks: GivenTasks, episodes: int, rng: np.random.Generator) -> Floats:
    """Move to a neighbour that is nearest to the goal, which no player can reach sooner."""
    read = read_tasks(family.model, tasks)
    n, frame = len(read["goal"]), ((0, 0), (1, 1), (1, 1))
    far = np.pad(family.distances(tasks), frame, constant_values=np.inf)
    ends = [np.roll(far, (-row, -column), axis=(1, 2))[:, 1:-1, 1:-1] for row, column in MOVES]
    best = np.where(read["walls"] == 0.0, np.stack(ends, axis=-1), np.inf).argmin(axis=-1).reshape(n, -1)
    return _walked(family, tasks, episodes, lambda cell: best[np.arange(n), cell])


def _walked(family: Maze, tasks: GivenTasks, episodes: int, choose: Callable[[Integers], Integers]) -> Floats:
    """Return the rewards "task pull" of a player that turns cells "task" into moves "task"; 0 at the end."""
    model, read = family.model, read_tasks(family.model, tasks)
    n = len(read["goal"])
    rewards = np.zeros((n, positive_int(model.title, "number of episodes", episodes), family.horizon))
    for episode in range(episodes):
        cell, going = model.start(np.zeros((n, 0))), np.ones(n, dtype=np.bool_)
        for t in range(family.horizon):
            cell, reward, there = model.step(cell, choose(cell), read, np.zeros((n, 0)))
            rewards[:, episode, t], going = np.where(going, reward, 0.0), going & ~there
    return rewards.reshape(n, -1)


BANDIT_PLAYERS = {
    "random": random_arms,
    "ucb1": ucb1,
    "thompson": thompson,
    "greedy": greedy,
    "optimum": best_arm,
}
"""Players ``(bandit, tasks, pulls, rng) -> rewards "task pull"`` by name."""

MDP_PLAYERS = {"random": random_actions, "psrl": psrl, "optimum": best_policy}
"""Players ``(family, tasks, episodes, rng) -> rewards "task pull"`` by name."""

MAZE_PLAYERS = {"random": random_moves, "optimum": shortest_path}
"""Players ``(family, tasks, episodes, rng) -> rewards "task pull"`` by name."""
