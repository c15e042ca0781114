"""Exact values of finite MDPs by dynamic programming, for many tasks at once.

Returns are undiscounted sums over a finite horizon: the recursions are Bellman's, run backwards from the last
time step (Puterman 1994, "Markov decision processes", chapter 4).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_envs.base.arguments import positive_int
from metarl_envs.base.formulas import Floats


class MDP(NamedTuple):
    """Finite MDPs, one a row: n tasks, s states, a actions; all float64.

    Attributes:
        start: probability of the first state, "n s".
        transition: probability of the next state (last axis) after a state and an action, "n s a s".
        reward: mean reward of an action in a state, "n s a".
    """

    start: Floats
    transition: Floats
    reward: Floats


def action_values(mdp: MDP, horizon: int, value: Callable[[int, Floats], Floats]) -> Floats:
    """Return Q at each time: the reward of an action, then the value of the next state at the next time.

    Args:
        horizon: time steps of an episode.
        value: (time, Q at that time "n s a") to the value of each state at that time "n s".

    Returns:
        float64 "n horizon s a".
    """
    n, s, a = mdp.reward.shape
    q = np.empty((n, positive_int("exact values", "horizon", horizon), s, a))
    later = np.zeros((n, s))
    for t in reversed(range(horizon)):
        q[:, t] = mdp.reward + (mdp.transition @ later[:, None, :, None])[..., 0]
        later = value(t, q[:, t])
    return q


def optimal_policy(mdp: MDP, horizon: int) -> NDArray[np.int64]:
    """Return a best action at each time in each state, int64 "n horizon s"; the first of several."""
    best: NDArray[np.int64] = action_values(mdp, horizon, _best).argmax(axis=-1)
    return best


def optimal_return(mdp: MDP, horizon: int) -> Floats:
    """Return the largest expected return of an episode under any policy that knows the task, "n"."""
    return _from_start(mdp, action_values(mdp, horizon, _best)[:, 0].max(axis=-1))


def random_return(mdp: MDP, horizon: int) -> Floats:
    """Return the expected return of an episode of uniformly random actions, "n"."""
    n, s, a = mdp.reward.shape
    return policy_return(mdp, np.full((n, s, a), 1.0 / a), horizon)


def policy_return(mdp: MDP, policy: Floats, horizon: int) -> Floats:
    """Return the expected return of an episode under a policy, "n".

    Args:
        policy: probability of each action, "n s a" for a stationary policy, "n horizon s a" for one that
            depends on the time; a first axis of 1 serves all tasks.

    Raises:
        ValueError: a policy of another shape, or one that is no probability; one line.
    """
    policy = _read_policy(mdp, policy, horizon)

    def value(t: int, q: Floats) -> Floats:
        return np.asarray((policy[:, t] * q).sum(axis=-1))

    q = action_values(mdp, horizon, value)
    return _from_start(mdp, value(0, q[:, 0]))


def _best(t: int, q: Floats) -> Floats:
    return np.asarray(q.max(axis=-1))


def _from_start(mdp: MDP, value: Floats) -> Floats:
    """Return the mean over the first state of values "n s", "n"."""
    return np.asarray((mdp.start * value).sum(axis=-1))


def _read_policy(mdp: MDP, policy: Floats, horizon: int) -> Floats:
    """Return the policy as probabilities "n horizon s a" or "1 horizon s a"."""
    n, s, a = mdp.reward.shape
    policy = np.asarray(policy, dtype=np.float64)
    stationary = policy.shape[1:] == (s, a)
    timed = np.repeat(policy[:, None], horizon, axis=1) if stationary else policy
    if timed.shape not in ((n, horizon, s, a), (1, horizon, s, a)):
        raise ValueError(
            f"policy has shape {policy.shape}; allowed: ({n}, {s}, {a}) or ({n}, {horizon}, {s}, {a})"
        )
    if not ((timed >= 0.0).all() and np.allclose(timed.sum(axis=-1), 1.0)):
        raise ValueError("policy has rows that are no probabilities; allowed: at least 0, summing to 1")
    return timed
