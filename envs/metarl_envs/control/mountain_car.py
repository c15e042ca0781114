"""A car too weak for the hill, with another engine or gravity: Gymnasium's two mountain cars.

The task is Moore's (1990, "Efficient memory-based learning for robot control"). Each product and sum is taken
in Gymnasium's order and precision, so that all bits agree: float64 with discrete actions, and float32 with
continuous ones, whose gravity alone is rounded only after its product.
"""

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from metarl_envs.base.formulas import Bools, Floats, Tasks
from metarl_envs.control.physical import PhysicalFamily, Physics

Float32s = NDArray[np.float32]

LEFT, RIGHT, MAX_SPEED = -1.2, 0.6, 0.07  # the valley's ends, and metres a step


def _starts(uniforms: Floats) -> Floats:
    """Return positions uniform in [−0.6, −0.4), at rest."""
    return np.array([uniforms[:, 0] * 0.2 - 0.6, np.zeros(len(uniforms))]).T


def _single_starts(uniforms: Floats) -> Float32s:
    return _starts(uniforms).astype(np.float32)


def _rolled(position: NDArray[Any], speed: NDArray[Any], goal: float) -> tuple[NDArray[Any], Bools]:
    """Return the next state "n 2" in the precision of both, by the unlimited speed, and who is there."""
    speed = np.minimum(np.maximum(speed, -MAX_SPEED), MAX_SPEED)
    position = np.minimum(np.maximum(position + speed, LEFT), RIGHT)
    speed = np.where((position == LEFT) & (speed < 0.0), 0.0, speed)  # the wall stops it
    return np.array([position, speed], position.dtype).T, (position >= goal) & (speed >= 0.0)


def _discrete_step(
    state: Floats, action: NDArray[np.int64], tasks: Tasks, noise: Floats
) -> tuple[Floats, Floats, Bools]:
    """Push left, not at all or right; pay −1 a step; end at 0.5."""
    position, speed = state.T
    pull = (action - 1) * tasks["force"] + np.cos(3 * position) * -tasks["gravity"]
    new, there = _rolled(position, speed + pull, goal=0.5)
    return new, np.full(len(new), -1.0), there


def _continuous_step(
    state: Float32s, action: Floats, tasks: Tasks, noise: Floats
) -> tuple[Float32s, Floats, Bools]:
    """Pay −0.1 a² of the action, 100 more for the step that ends the episode at 0.45."""
    position, speed = state.T
    push = np.minimum(np.maximum(action[:, 0], -1.0), 1.0).astype(np.float32)
    slope = np.cos((3 * position).astype(np.float64))
    pull = push * tasks["power"].astype(np.float32) - (tasks["gravity"] * slope).astype(np.float32)
    new, there = _rolled(position, speed + pull, goal=0.45)
    effort = push.astype(np.float64)
    return new, np.where(there, 100.0, 0.0) - effort * effort * 0.1, there


def _observe(state: NDArray[Any], tasks: Tasks) -> Float32s:
    return state.astype(np.float32)


_SPACE = Box(np.array([LEFT, -MAX_SPEED], np.float32), np.array([RIGHT, MAX_SPEED], np.float32))


class MountainCarParams(PhysicalFamily):
    """The family ``mountain-car-params``: power (``discrete``: force) of the engine, and gravity.

    In Gymnasium the gravity of the continuous car is a number in its code, not an attribute.
    """

    name = "mountain-car-params"
    physics = {
        "continuous": Physics(
            text="MountainCarContinuous-v0 of Gymnasium, v1: power 0.0015 and gravity 0.0025, each times "
            "1.5^u, u uniform in [-1, 1); ood: u uniform in 1 < max|u| <= 1.5",
            constants={"power": 0.0015, "gravity": 0.0025},
            factor=1.5,
            horizon=999,
            observation_space=_SPACE,
            action_space=Box(-1.0, 1.0, (1,), np.float32),
            start_draws=1,
            start=_single_starts,
            step=_continuous_step,
            observe=_observe,
        ),
        "discrete": Physics(
            text="MountainCar-v0 of Gymnasium, v1: force 0.001 and gravity 0.0025, each times 1.5^u, "
            "u uniform in [-1, 1); ood: u uniform in 1 < max|u| <= 1.5",
            constants={"force": 0.001, "gravity": 0.0025},
            factor=1.5,
            horizon=200,
            observation_space=_SPACE,
            action_space=Discrete(3),
            start_draws=1,
            start=_starts,
            step=_discrete_step,
            observe=_observe,
        ),
    }
    specs = {spec: variant.text for spec, variant in physics.items()}
