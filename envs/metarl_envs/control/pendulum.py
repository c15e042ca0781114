"""A pendulum that has to be swung up, with another mass, length or gravity: Gymnasium's Pendulum-v1.

Each product and sum is taken in Gymnasium's order and precision, so that all bits agree: the action and what
it is multiplied with alone are float32, and squares are the C library's ``pow``, whose last bit now and then
differs from that of a product.
"""

import math

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from metarl_envs.base.formulas import Bools, Floats, Tasks
from metarl_envs.control.physical import PhysicalFamily, Physics

STEP = 0.05  # seconds
MAX_SPEED, MAX_TORQUE = 8.0, 2.0  # radians a second, newton metres


def _starts(uniforms: Floats) -> Floats:
    """Return θ uniform in [−π, π), θ̇ in [−1, 1); θ = 0 points up."""
    return (2.0 * uniforms - 1.0) * [math.pi, 1.0]


def _square_of_singles(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Square as NumPy does single numbers, one by one: whole arrays are rounded differently."""
    return np.fromiter([one**2 for one in x], np.float32, len(x))


def _step(state: Floats, action: Floats, tasks: Tasks, noise: Floats) -> tuple[Floats, Floats, Bools]:
    """Pay −(θ² + 0.1 θ̇² + 0.001 u²) of the state before the step, θ in [−π, π); never end."""
    theta, speed = state.T
    torque = np.minimum(np.maximum(action[:, 0], -MAX_TORQUE), MAX_TORQUE).astype(np.float32)
    upright = (theta + np.pi) % (2 * np.pi) - np.pi
    cost = np.float_power(upright, 2.0) + 0.1 * np.float_power(speed, 2.0)
    cost += 0.001 * _square_of_singles(torque)
    inertia = tasks["m"] * np.float_power(tasks["l"], 2.0)
    pull = 3.0 * tasks["g"] / (2.0 * tasks["l"]) * np.sin(theta)
    speed = speed + (pull + (3.0 / inertia).astype(np.float32) * torque) * STEP
    speed = np.minimum(np.maximum(speed, -MAX_SPEED), MAX_SPEED)
    return np.array([theta + speed * STEP, speed]).T, -cost, np.zeros(len(cost), dtype=np.bool_)


def _observe(state: Floats, tasks: Tasks) -> NDArray[np.float32]:
    theta, speed = state.T
    return np.array([np.cos(theta), np.sin(theta), speed]).T.astype(np.float32)


_BOUNDS = np.array([1.0, 1.0, MAX_SPEED], np.float32)


class PendulumParams(PhysicalFamily):
    """The family ``pendulum-params``: gravity g, mass m and length l of a rod that hangs from its end."""

    name = "pendulum-params"
    physics = {
        "gymnasium": Physics(
            text="Pendulum-v1 of Gymnasium, v1: g 10, m 1 and l 1, each times 1.5^u, u uniform in [-1, 1); "
            "the largest torque stays 2; ood: u uniform in 1 < max|u| <= 1.5",
            constants={"g": 10.0, "m": 1.0, "l": 1.0},
            factor=1.5,
            horizon=200,
            observation_space=Box(-_BOUNDS, _BOUNDS, dtype=np.float32),
            action_space=Box(-MAX_TORQUE, MAX_TORQUE, (1,), np.float32),
            start_draws=2,
            start=_starts,
            step=_step,
            observe=_observe,
        )
    }
    specs = {spec: variant.text for spec, variant in physics.items()}
