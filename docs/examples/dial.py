"""A task family of one's own: turn a dial to a setting that cannot be seen.

``metarl train maml --family dial:Dial`` trains on it from the folder of this file.
"""

import numpy as np
from gymnasium.spaces import Box

from metarl_envs import Analytic, AnalyticFamily


def turn(state, action, tasks, noise):
    """One time step of n dials at once: the next states "n 1", rewards "n" and which episodes ended, "n"."""
    state = state + 0.2 * np.clip(action, -1, 1)
    error = np.abs(state - tasks["setting"])[:, 0]
    return state, -error, error < 0.01


MODEL = Analytic(
    title="dial",
    horizon=20,
    observation_space=Box(-5, 5, (1,), np.float32),
    action_space=Box(-1, 1, (1,), np.float32),
    task_shapes={"setting": (1,)},
    task_draws=1,  # uniform numbers in [0, 1) that make a task
    task=lambda u: {"setting": 2 * u - 1},
    start=lambda u: np.zeros((len(u), 1)),
    step=turn,
    observe=lambda state, tasks: state.astype(np.float32),
)


class Dial(AnalyticFamily):
    """Tasks are ``{"setting": float64 "n 1"}`` in [-1, 1), the same in every split."""

    name, specs = "dial", {"v1": "turn a dial to a setting in [-1, 1) that cannot be seen"}

    def __init__(self, spec=None):
        super().__init__(spec or "v1", MODEL)
