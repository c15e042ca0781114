"""Humanoid in a direction that it is not told.

Definitions follow Rothfuss et al. 2019 ("ProMP", code jonasrothfuss/ProMP), on the body and the physics of
Gymnasium's Humanoid-v5. The lineage adds a cost of contact forces and observes them; the batch engine does
not compute them, so both are left out. Its reward is 0.25 times the way along the direction over one engine
step, of which an action has five: 1.25 times the velocity.
"""

from metarl_envs.base.formulas import Bools, Floats
from metarl_envs.robots.aims import forward_or_back, headings
from metarl_envs.robots.family import MujocoFamily, Robot, RobotSpec

HUMANOID = Robot(
    "humanoid.xml",
    frame_skip=5,
    noise=0.01,
    horizontal=2,
    place="mass",
    fields={"cinert": 1, "cvel": 1, "qfrc_actuator": 6},
)


def _upright(positions: Floats, velocities: Floats) -> Bools:
    return (positions[:, 2] >= 1.0) & (positions[:, 2] <= 2.0)


class HumanoidDir(MujocoFamily):
    """The family ``humanoid-dir``: tasks are ``{"direction": float64 "n 2"}``, unit vectors."""

    name = "humanoid-dir"
    robot = HUMANOID
    variants = {
        "promp": RobotSpec(
            text="Humanoid-v5's body, v1: reward ±1.25 v_x - 0.1 |c|^2 + 5 with actions ±10 for the controls "
            "c of ±0.4, two tasks, ends outside z in [1, 2], no contact cost or forces, 100 steps",
            aim=forward_or_back(2, weight=1.25),
            control_cost=0.1,
            bonus=5.0,
            alive=_upright,
            action_bound=10.0,
        ),
        "promp-2d": RobotSpec(
            text="as promp, v1: the velocity along a direction uniform on the circle takes the place of ±v_x",
            aim=headings(weight=1.25),
            control_cost=0.1,
            bonus=5.0,
            alive=_upright,
            action_bound=10.0,
        ),
    }
