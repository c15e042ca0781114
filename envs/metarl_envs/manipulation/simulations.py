"""A pool of Meta-World's simulations; needs the package ``metaworld``.

A simulation of its own takes 20 MB and 0.2 s to make, nearly all of it for the MuJoCo model. Those that play
the same task at the same time share one.
"""

import copy
from typing import Any

import mujoco
import numpy as np
from gymnasium.spaces import Box
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from numpy.typing import NDArray

NAMES = tuple(ALL_V3_ENVIRONMENTS)  # an environment's number is its place

Key = tuple[int, bytes]


class Simulations:
    """Simulations by the task that they play; what one did before leaves no trace in what it does next.

    A reset writes positions of its task into the model, the same ones each time, and nothing else does: so
    the model can be shared as long as the task is the same.
    """

    def __init__(self) -> None:
        self._idle: dict[int, list[Any]] = {}
        self._playing: dict[Key, tuple[Any, int]] = {}  # one of a task's simulations, and their number

    def spaces(self, name: str) -> tuple[Box, Box]:
        """Return observation and action space, which are the same for all environments."""
        number, vector = NAMES.index(name), np.empty(0)
        simulation = self.take(number, vector)
        self.give(number, vector)
        return simulation.observation_space, simulation.action_space

    def take(self, number: int, vector: NDArray[np.float64]) -> Any:
        """Take a simulation for a task of environment ``number``, to be given back."""
        key = number, vector.tobytes()
        if key in self._playing:
            simulation, users = self._playing[key]
            self._playing[key] = simulation, users + 1
            return _twin(simulation)
        idle = self._idle.get(number)
        simulation = idle.pop() if idle else ALL_V3_ENVIRONMENTS[NAMES[number]]()
        self._playing[key] = simulation, 1
        return simulation

    def give(self, number: int, vector: NDArray[np.float64]) -> None:
        """Give back what was taken for the same task."""
        key = number, vector.tobytes()
        simulation, users = self._playing.pop(key)
        if users > 1:
            self._playing[key] = simulation, users - 1
        else:
            self._idle.setdefault(number, []).append(simulation)


def _twin(simulation: Any) -> Any:
    """Make another simulation with the same model, and with all else of its own."""
    model, data = simulation.model, mujoco.MjData(simulation.model)
    mujoco.mj_forward(model, data)
    twin = object.__new__(type(simulation))
    shared = {id(model): model, id(simulation.data): data}
    twin.__dict__.update(copy.deepcopy(simulation.__dict__, shared))
    twin.init_left_pad, twin.init_right_pad = twin.get_body_com("leftpad"), twin.get_body_com("rightpad")
    return twin
