"""Random finite MDPs, whose exact values ``exact_values`` gives, and the model of every finite MDP.

Definitions follow Duan et al. 2016 ("RL²: Fast reinforcement learning via slow reinforcement learning").
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from metarl_envs.base.analytic_family import AnalyticFamily
from metarl_envs.base.arguments import chosen_spec, no_others, positive_int
from metarl_envs.base.formulas import (
    Analytic,
    Bools,
    Floats,
    Refusal,
    Tasks,
    read_tasks,
)
from metarl_envs.base.from_uniforms import categorical, flat_dirichlet, normal
from metarl_envs.finite.exact_values import MDP

States = NDArray[np.int64]
ReadMDP = Callable[[Tasks], MDP]
"""A family's tasks of n rows, already checked, as n finite MDPs."""


def tabular_model(
    title: str,
    horizon: int,
    *,
    states: int,
    actions: int,
    mdp: ReadMDP,
    reward_noise: bool,
    task_shapes: Mapping[str, tuple[int, ...]],
    task_draws: int,
    task: Callable[[Floats], Tasks],
    ood: Callable[[Floats], Tasks],
    refuse: Callable[[Tasks], list[Refusal]],
) -> Analytic:
    """Return the formulas of MDPs that start in state 0, observe it one-hot (float32) and never terminate.

    Args:
        mdp: what a task means.
        reward_noise: whether standard normal noise is added to the mean reward.
        task_shapes: and the arguments after it, as in ``Analytic``.
    """
    return Analytic(
        title=title,
        horizon=horizon,
        observation_space=Box(0.0, 1.0, (states,), np.float32),
        action_space=Discrete(actions),
        task_shapes=task_shapes,
        task_draws=task_draws,
        task=task,
        ood=ood,
        start=_first_states,
        step=partial(_step, mdp=mdp, reward_noise=reward_noise),
        step_draws=2 if reward_noise else 1,
        observe=partial(_one_hot, states=states),
        refuse=refuse,
    )


def start_in_first(n: int, states: int) -> Floats:
    """Return the start distribution "n states" of ``tabular_model``: state 0, always."""
    start = np.zeros((n, states))
    start[:, 0] = 1.0
    return start


def _first_states(uniforms: Floats) -> States:
    return np.zeros(len(uniforms), dtype=np.int64)


def _one_hot(state: States, tasks: Tasks, states: int) -> NDArray[np.float32]:
    return np.eye(states, dtype=np.float32)[state]


def _step(
    state: States, action: NDArray[np.int64], tasks: Tasks, noise: Floats, mdp: ReadMDP, reward_noise: bool
) -> tuple[States, Floats, Bools]:
    """Draw the next state by the first column of ``noise``, a noisy reward by the second."""
    rows, (_, transition, mean) = np.arange(len(state)), mdp(tasks)
    reward = mean[rows, state, action]
    if reward_noise:
        reward = reward + normal(noise[:, 1])
    moved = categorical(transition[rows, state, action], noise[:, 0])
    return moved, reward, np.zeros(len(state), dtype=np.bool_)


def _random_tasks(uniforms: Floats, states: int, actions: int) -> Tasks:
    """Draw mean rewards N(1, 1) and flat Dirichlet next states."""
    n, pairs = len(uniforms), states * actions
    cuts = uniforms[:, pairs:].reshape(n, states, actions, states - 1)
    return {
        "transition": flat_dirichlet(cuts),
        "reward": 1.0 + normal(uniforms[:, :pairs]).reshape(n, states, actions),
    }


def _certain_tasks(uniforms: Floats, states: int, actions: int) -> Tasks:
    """Draw the same, with the likeliest next state certain: by symmetry each is equally often the one."""
    tasks = _random_tasks(uniforms, states, actions)
    return tasks | {"transition": np.eye(states)[tasks["transition"].argmax(axis=-1)]}


def _given(tasks: Tasks) -> MDP:
    transition, reward = tasks["transition"], tasks["reward"]
    return MDP(start_in_first(*transition.shape[:2]), transition, reward)


def _no_distribution(tasks: Tasks) -> list[Refusal]:
    """Refuse what is no distribution; rounding to float32 passes, as ``categorical`` draws in proportion."""
    transition = tasks["transition"]
    off = np.abs(transition.sum(axis=-1) - 1.0) > 1e-6
    bad = off | (transition < 0.0).any(axis=-1)
    return [Refusal("transition", bad, "probabilities that sum to 1")]


class TabularMDP(AnalyticFamily):
    """The family ``tabular-mdp``: tasks are ``{"transition": "n s a s", "reward": "n s a"}``, float64.

    Args:
        spec: a key of ``specs``; None takes the first.
        states: number of states s; each episode starts in state 0.
        actions: number of actions a.
        horizon: time steps of an episode.

    Raises:
        ValueError: an unknown spec or argument, fewer than one state, action or time step; one line.
    """

    name = "tabular-mdp"
    specs = {
        "rl2": "random MDPs, v1: start in state 0, next states flat Dirichlet, rewards normal with standard "
        "deviation 1 and means N(1, 1), never terminates; ood: each action leads to one state for certain"
    }

    def __init__(
        self,
        spec: str | None = None,
        *,
        states: int = 10,
        actions: int = 5,
        horizon: int = 10,
        **unknown: object,
    ) -> None:
        no_others(self.name, unknown, ["states", "actions", "horizon"])
        spec = chosen_spec(self.name, spec, self.specs)
        self.states = positive_int(self.name, "states", states)
        self.actions = positive_int(self.name, "actions", actions)
        model = tabular_model(
            f"{self.name}/{spec}",
            positive_int(self.name, "horizon", horizon),
            states=self.states,
            actions=self.actions,
            mdp=_given,
            reward_noise=True,
            task_shapes={"transition": (states, actions, states), "reward": (states, actions)},
            task_draws=states * actions * states,
            task=partial(_random_tasks, states=states, actions=actions),
            ood=partial(_certain_tasks, states=states, actions=actions),
            refuse=_no_distribution,
        )
        super().__init__(spec, model)

    def mdp(self, tasks: Mapping[str, Any]) -> MDP:
        """Return tasks as finite MDPs: start "n s", transition "n s a s" and mean reward "n s a".

        Raises:
            ValueError: tasks that the family does not have; one line.
        """
        return _given(read_tasks(self.model, tasks))
