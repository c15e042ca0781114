"""Walker2d in a direction, at a velocity, or with physical parameters, that it is not told.

Definitions follow Rothfuss et al. 2019 ("ProMP", code jonasrothfuss/ProMP), on the body and the physics of
Gymnasium's Walker2d-v5: 4 engine steps an action, where the lineage takes 8 (5 with random parameters).
"""

from metarl_envs.base.formulas import Bools, Floats
from metarl_envs.robots.aims import dynamics, forward_or_back, velocities
from metarl_envs.robots.family import MujocoFamily, Robot, RobotSpec

WALKER = Robot(
    "walker2d_v5.xml",
    frame_skip=4,
    noise=0.005,
    velocity_bound=10.0,
)


def _upright(positions: Floats, velocities: Floats) -> Bools:
    height, angle = positions[:, 1], positions[:, 2]
    return (height > 0.8) & (height < 2.0) & (angle > -1.0) & (angle < 1.0)


class WalkerDir(MujocoFamily):
    """The family ``walker-dir``: tasks are ``{"direction": float64 "n"}``, −1 or 1."""

    name = "walker-dir"
    robot = WALKER
    variants = {
        "promp": RobotSpec(
            text="Walker2d-v5's body, v1: reward ±v - 0.001 |c|^2 + 1 with actions ±10 for the controls c of "
            "±1, two tasks, ends outside height (0.8, 2) or angle (-1, 1), 100 steps",
            aim=forward_or_back(1),
            control_cost=0.001,
            bonus=1.0,
            alive=_upright,
            action_bound=10.0,
        )
    }


class WalkerVel(MujocoFamily):
    """The family ``walker-vel``: tasks are ``{"velocity": float64 "n"}``."""

    name = "walker-vel"
    robot = WALKER
    variants = {
        "promp": RobotSpec(
            text="Walker2d-v5's body, v1: reward 15 - |v - v*| - 0.001 |c|^2 with actions ±10 for the "
            "controls c of ±1, v* uniform in [0, 10), ood (10, 12], ends outside height (0.8, 2) or "
            "angle (-1, 1), 100 steps",
            aim=velocities(0.0, 10.0, beyond=12.0),
            control_cost=0.001,
            bonus=15.0,
            alive=_upright,
            action_bound=10.0,
        )
    }


class WalkerParams(MujocoFamily):
    """The family ``walker-params``: tasks are exponents, float64 "n k": mass, inertia, damping, friction."""

    name = "walker-params"
    robot = WALKER
    variants = {
        "promp": RobotSpec(
            text="Walker2d-v5's body, v1: mass, inertia and friction times 1.5^u, joint damping times 1.3^u, "
            "each entry's u uniform in [-3, 3), ood 3 < |u| <= 3.5; reward v - 0.001 |c|^2 + 1 with "
            "actions ±10 for the controls c of ±1, ends outside height (0.8, 2) or angle (-1, 1), 200 "
            "steps",
            aim=dynamics({"mass": 7, "inertia": 21, "damping": 6, "friction": 24}),
            control_cost=0.001,
            bonus=1.0,
            alive=_upright,
            action_bound=10.0,
            horizon=200,
        )
    }
