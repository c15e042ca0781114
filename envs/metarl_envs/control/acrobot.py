"""Two links, of which only the joint between them is driven, with other masses and lengths: Acrobot-v1.

The equations are those of Sutton & Barto's book (they correct Sutton 1996, "Generalization in reinforcement
learning: successful examples using sparse coarse coding"), one Runge-Kutta step of fourth order a time step.
Each product and sum is taken in Gymnasium's order, so that all bits agree; squares are the C library's
``pow``, whose last bit now and then differs from that of a product.
"""

from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from metarl_envs.base.formulas import Bools, Floats, Tasks
from metarl_envs.control.physical import PhysicalFamily, Physics

STEP, GRAVITY = 0.2, 9.8  # seconds, metres a second squared
PI = np.pi
MAX_SPEEDS = np.array([[4 * PI], [9 * PI]])


class _Links(NamedTuple):
    """Coefficients of the equations of motion, each "n", from the constants of tasks."""

    first: Floats  # m₁ l_c1²
    second: Floats  # l₁² + l_c2²
    arm: Floats  # l₁ l_c2
    coupling: Floats  # m₂ l₁ l_c2
    weight_1: Floats  # (m₁ l_c1 + m₂ l₁) g
    weight_2: Floats  # m₂ l_c2 g
    mass_2: Floats
    second_alone: Floats  # m₂ l_c2² + I
    second_square: Floats  # l_c2²
    inertia: Floats  # I


def _links(tasks: Tasks) -> _Links:
    m1, m2, l1 = tasks["link_mass_1"], tasks["link_mass_2"], tasks["link_length_1"]
    c1, c2, inertia = tasks["link_com_pos_1"], tasks["link_com_pos_2"], tasks["link_moi"]
    second_square = np.float_power(c2, 2.0)
    return _Links(
        first=m1 * np.float_power(c1, 2.0),
        second=np.float_power(l1, 2.0) + second_square,
        arm=l1 * c2,
        coupling=m2 * l1 * c2,
        weight_1=(m1 * c1 + m2 * l1) * GRAVITY,
        weight_2=m2 * c2 * GRAVITY,
        mass_2=m2,
        second_alone=m2 * second_square + inertia,
        second_square=second_square,
        inertia=inertia,
    )


def _motion(state: Floats, torque: Floats, links: _Links) -> Floats:
    """Return d/dt of (θ₁, θ₂, ω₁, ω₂), "4 n": θ₁ from hanging down, θ₂ from the first link on."""
    theta_1, theta_2, omega_1, omega_2 = state
    cos, sin = np.cos(theta_2), np.sin(theta_2)
    square_1, square_2 = np.float_power(state[2:], 2.0)
    d1 = links.first + links.mass_2 * (links.second + 2.0 * links.arm * cos) + links.inertia + links.inertia
    d2 = links.mass_2 * (links.second_square + links.arm * cos) + links.inertia
    phi_2 = links.weight_2 * np.cos(theta_1 + theta_2 - PI / 2.0)
    phi_1 = -links.coupling * square_2 * sin - 2.0 * links.coupling * omega_2 * omega_1 * sin
    phi_1 = phi_1 + links.weight_1 * np.cos(theta_1 - PI / 2.0) + phi_2
    pushed = torque + d2 / d1 * phi_1 - links.coupling * square_1 * sin - phi_2
    alpha_2 = pushed / (links.second_alone - np.float_power(d2, 2.0) / d1)
    return np.array([omega_1, omega_2, -(d2 * alpha_2 + phi_1) / d1, alpha_2])


def _wrapped(angles: Floats) -> Floats:
    """Bring angles into [−π, π] turn by turn: a remainder would round differently."""
    while (over := angles > PI).any():
        angles = np.where(over, angles - 2.0 * PI, angles)
    while (under := angles < -PI).any():
        angles = np.where(under, angles + 2.0 * PI, angles)
    return angles


def _starts(uniforms: Floats) -> Floats:
    """Return θ₁, θ₂, ω₁, ω₂, all four uniform in [−0.1, 0.1)."""
    return uniforms * 0.2 - 0.1


def _step(
    state: Floats, action: NDArray[np.int64], tasks: Tasks, noise: Floats
) -> tuple[Floats, Floats, Bools]:
    """Pay −1 a step, 0 for the one that swings the end above 1, which ends the episode."""
    links, torque, y = _links(tasks), np.asarray(action - 1.0, np.float64), state.T
    k1 = _motion(y, torque, links)
    k2 = _motion(y + STEP / 2.0 * k1, torque, links)
    k3 = _motion(y + STEP / 2.0 * k2, torque, links)
    k4 = _motion(y + STEP * k3, torque, links)
    y = y + STEP / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    angles = _wrapped(y[:2])
    new = np.concatenate([angles, np.minimum(np.maximum(y[2:], -MAX_SPEEDS), MAX_SPEEDS)])
    up = -np.cos(angles[0]) - np.cos(angles[1] + angles[0]) > 1.0
    return new.T, np.where(up, 0.0, -1.0), up


def _observe(state: Floats, tasks: Tasks) -> NDArray[np.float32]:
    theta_1, theta_2, omega_1, omega_2 = state.T
    cos_sin = [np.cos(theta_1), np.sin(theta_1), np.cos(theta_2), np.sin(theta_2)]
    return np.array([*cos_sin, omega_1, omega_2]).T.astype(np.float32)


_BOUNDS = np.array([1.0, 1.0, 1.0, 1.0, 4 * PI, 9 * PI], np.float32)


class AcrobotParams(PhysicalFamily):
    """The family ``acrobot-params``: mass and centre of mass of both links, length of the first, inertia.

    The moment of inertia is that of either link. Gymnasium's length of the second link moves nothing but its
    drawing, and the height to reach is 1 whatever the lengths are.
    """

    name = "acrobot-params"
    physics = {
        "gymnasium": Physics(
            text="Acrobot-v1 of Gymnasium, v1: link_mass_1 1, link_mass_2 1, link_length_1 1, "
            "link_com_pos_1 0.5, link_com_pos_2 0.5 and link_moi 1, each times 1.4^u, u uniform in [-1, 1); "
            "ood: u uniform in 1 < max|u| <= 1.5",
            constants={
                "link_mass_1": 1.0,
                "link_mass_2": 1.0,
                "link_length_1": 1.0,
                "link_com_pos_1": 0.5,
                "link_com_pos_2": 0.5,
                "link_moi": 1.0,
            },
            factor=1.4,
            horizon=500,
            observation_space=Box(-_BOUNDS, _BOUNDS, dtype=np.float32),
            action_space=Discrete(3),
            start_draws=4,
            start=_starts,
            step=_step,
            observe=_observe,
        )
    }
    specs = {spec: variant.text for spec, variant in physics.items()}
