"""HalfCheetah at a velocity, or in a direction, that it is not told.

Definitions follow Finn, Abbeel & Levine 2017 ("Model-agnostic meta-learning", code cbfinn/maml_rl) and
Rothfuss et al. 2019 ("ProMP", code jonasrothfuss/ProMP), on the body and the physics of Gymnasium's
HalfCheetah-v5. The former observe the centre of mass besides.
"""

from metarl_envs.robots.aims import forward_or_back, velocities
from metarl_envs.robots.family import MujocoFamily, Robot, RobotSpec

CHEETAH = Robot("half_cheetah.xml", frame_skip=5, noise=0.1, normal_velocities=True)


class CheetahVel(MujocoFamily):
    """The family ``cheetah-vel``: tasks are ``{"velocity": float64 "n"}``."""

    name = "cheetah-vel"
    robot = CHEETAH
    variants = {
        "finn2017": RobotSpec(
            text="HalfCheetah-v5's body, v1: reward -|v - v*| - 0.05 |a|^2, v* uniform in [0, 2), ood (2, "
            "3], actions ±1, 200 steps, never terminates",
            aim=velocities(0.0, 2.0, beyond=3.0),
            control_cost=0.05,
            horizon=200,
        ),
        "promp": RobotSpec(
            text="the same, v1: v* uniform in [0, 3), ood (3, 4], actions ±10 for the same controls, 100 "
            "steps",
            aim=velocities(0.0, 3.0, beyond=4.0),
            control_cost=0.05,
            action_bound=10.0,
        ),
    }


class CheetahDir(MujocoFamily):
    """The family ``cheetah-dir``: tasks are ``{"direction": float64 "n"}``, −1 or 1."""

    name = "cheetah-dir"
    robot = CHEETAH
    variants = {
        "finn2017": RobotSpec(
            text="HalfCheetah-v5's body, v1: reward ±v - 0.05 |a|^2, two tasks, actions ±1, 200 steps, never "
            "terminates",
            aim=forward_or_back(1),
            control_cost=0.05,
            horizon=200,
        ),
        "promp": RobotSpec(
            text="the same, v1: actions ±10 for the same controls, 100 steps",
            aim=forward_or_back(1),
            control_cost=0.05,
            action_bound=10.0,
        ),
    }
