"""Hopper with physical parameters that it is not told.

The distribution follows the random-parameter environments of Rothfuss et al. 2019 ("ProMP"), on the body
and the physics of Gymnasium's Hopper-v5.
"""

import numpy as np

from metarl_envs.base.formulas import Bools, Floats
from metarl_envs.robots.aims import dynamics
from metarl_envs.robots.family import MujocoFamily, Robot, RobotSpec

HOPPER = Robot(
    "hopper.xml",
    frame_skip=4,
    noise=0.005,
    velocity_bound=10.0,
    distance=3.0,
)


def _upright(positions: Floats, velocities: Floats) -> Bools:
    height, angle = positions[:, 1], positions[:, 2]
    tame = (np.abs(positions[:, 2:]) < 100.0).all(axis=1) & (np.abs(velocities) < 100.0).all(axis=1)
    return tame & (height > 0.7) & (angle > -0.2) & (angle < 0.2)


class HopperParams(MujocoFamily):
    """The family ``hopper-params``: tasks are exponents, float64 "n k": mass, inertia, damping, friction."""

    name = "hopper-params"
    robot = HOPPER
    variants = {
        "promp": RobotSpec(
            text="Hopper-v5's body, v1: mass, inertia and friction times 1.5^u, joint damping times 1.3^u, "
            "each entry's u uniform in [-3, 3), ood 3 < |u| <= 3.5; reward v - 0.001 |c|^2 + 1 with "
            "actions ±10 for the controls c of ±1, ends at height 0.7, outside angle (-0.2, 0.2) or "
            "where anything exceeds 100, 200 steps",
            aim=dynamics({"mass": 4, "inertia": 12, "damping": 3, "friction": 15}),
            control_cost=0.001,
            bonus=1.0,
            alive=_upright,
            action_bound=10.0,
            horizon=200,
        )
    }
