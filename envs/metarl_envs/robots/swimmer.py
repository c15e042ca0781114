"""Swimmer at a velocity that it is not told.

The definition follows Rothfuss et al. 2019 ("ProMP", code jonasrothfuss/ProMP), on the body and the physics
of Gymnasium's Swimmer-v5. The released sign rewards the distance from the task's velocity; here it is
penalised.
"""

from metarl_envs.robots.aims import velocities
from metarl_envs.robots.family import MujocoFamily, Robot, RobotSpec

SWIMMER = Robot("swimmer.xml", frame_skip=4, noise=0.1, horizontal=2)


class SwimmerVel(MujocoFamily):
    """The family ``swimmer-vel``: tasks are ``{"velocity": float64 "n"}``."""

    name = "swimmer-vel"
    robot = SWIMMER
    variants = {
        "promp": RobotSpec(
            text="Swimmer-v5's body, v1: reward -|v - v*| - 0.0001 |c|^2 (the released code has +|v - v*|) "
            "with actions ±10 for the controls c of ±1, v* uniform in [0.1, 0.2), ood (0.2, 0.25], 100 "
            "steps",
            aim=velocities(0.1, 0.2, beyond=0.25),
            control_cost=0.0001,
            action_bound=10.0,
        )
    }
