"""A pole on a cart with other masses, another length, another force: Gymnasium's CartPole-v1.

The equations are Barto, Sutton & Anderson's (1983, "Neuronlike adaptive elements that can solve difficult
learning control problems") as corrected by Florian (2007); Gymnasium integrates them by Euler steps. Each
product and sum is taken in Gymnasium's order, so that all bits agree.
"""

import math

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from metarl_envs.base.formulas import Bools, Floats, Tasks
from metarl_envs.control.physical import PhysicalFamily, Physics

STEP = 0.02  # seconds
FAR, TILTED = 2.4, 12 * 2 * math.pi / 360  # metres and radians beyond which the episode ends


def _starts(uniforms: Floats) -> Floats:
    """Return x, ẋ, θ, θ̇, all four uniform in [−0.05, 0.05)."""
    return uniforms * 0.1 - 0.05


def _step(
    state: Floats, action: NDArray[np.int64], tasks: Tasks, noise: Floats
) -> tuple[Floats, Floats, Bools]:
    """Pay 1 a step, also for the one that ends the episode."""
    x, x_dot, theta, theta_dot = state.T
    pole, half_length = tasks["masspole"], tasks["length"]
    total = pole + tasks["masscart"]
    moment = pole * half_length
    force = np.where(action == 1, tasks["force_mag"], -tasks["force_mag"])
    cos, sin = np.cos(theta), np.sin(theta)
    push = (force + moment * (theta_dot * theta_dot) * sin) / total
    theta_acc = (tasks["gravity"] * sin - cos * push) / (
        half_length * (4.0 / 3.0 - pole * (cos * cos) / total)
    )
    x_acc = push - moment * theta_acc * cos / total
    x, theta = x + STEP * x_dot, theta + STEP * theta_dot
    new = np.array([x, x_dot + STEP * x_acc, theta, theta_dot + STEP * theta_acc]).T
    return new, np.ones(len(new)), (np.abs(x) > FAR) | (np.abs(theta) > TILTED)


def _observe(state: Floats, tasks: Tasks) -> NDArray[np.float32]:
    return state.astype(np.float32)


_BOUNDS = np.array([2 * FAR, np.inf, 2 * TILTED, np.inf], np.float32)


class CartPoleParams(PhysicalFamily):
    """The family ``cartpole-params``: gravity, masscart, masspole, length (half the pole's) and force_mag."""

    name = "cartpole-params"
    physics = {
        "gymnasium": Physics(
            text="CartPole-v1 of Gymnasium, v1: gravity 9.8, masscart 1, masspole 0.1, length 0.5 and "
            "force_mag 10, each times 2^u, u uniform in [-1, 1); ood: u uniform in 1 < max|u| <= 1.5",
            constants={
                "gravity": 9.8,
                "masscart": 1.0,
                "masspole": 0.1,
                "length": 0.5,
                "force_mag": 10.0,
            },
            factor=2.0,
            horizon=500,
            observation_space=Box(-_BOUNDS, _BOUNDS, dtype=np.float32),
            action_space=Discrete(2),
            start_draws=4,
            start=_starts,
            step=_step,
            observe=_observe,
        )
    }
    specs = {spec: variant.text for spec, variant in physics.items()}
