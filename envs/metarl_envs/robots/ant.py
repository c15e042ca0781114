"""Ant at a velocity, in a direction, or to a goal, that it is not told.

Definitions follow Finn, Abbeel & Levine 2017 ("Model-agnostic meta-learning", code cbfinn/maml_rl) and
Rothfuss et al. 2019 ("ProMP", code jonasrothfuss/ProMP), on the body and the physics of Gymnasium's Ant-v5.
Both add a contact cost of 0.0005 |clipped contact forces|^2 and observe those forces; the batch engine does
not compute them, so both are left out. The former observe positions, too.
"""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from metarl_envs.base.formulas import Bools, Floats
from metarl_envs.robots.aims import disc_goals, forward_or_back, headings, square_goals, velocities
from metarl_envs.robots.family import MujocoFamily, Robot, RobotSpec

ANT = Robot(
    "ant.xml",
    frame_skip=5,
    noise=0.1,
    normal_velocities=True,
    horizontal=2,
    place="torso",
)


def _upright(positions: Floats, velocities: Floats) -> Bools:
    return (positions[:, 2] >= 0.2) & (positions[:, 2] <= 1.0)


def _not_flying(positions: Floats, velocities: Floats) -> Bools:
    return (positions[:, 2] >= 0.0) & (positions[:, 2] <= 1.0)


class AntVel(MujocoFamily):
    """The family ``ant-vel``: tasks are ``{"velocity": float64 "n"}``."""

    name = "ant-vel"
    robot = ANT
    variants = {
        "finn2017": RobotSpec(
            text="Ant-v5's body, v1: reward 1 - |v - v*| - 0.005 |a|^2 + 0.05, v* uniform in [0, 3), ood (3, "
            "4], ends outside z in [0.2, 1], no contact cost or forces, actions ±1, 200 steps",
            aim=velocities(0.0, 3.0, beyond=4.0),
            control_cost=0.005,
            bonus=1.05,
            alive=_upright,
            horizon=200,
        ),
    }


class AntDir(MujocoFamily):
    """The family ``ant-dir``: tasks are ``{"direction": float64 "n 2"}``, unit vectors."""

    name = "ant-dir"
    robot = ANT
    variants = {
        "finn2017": RobotSpec(
            text="Ant-v5's body, v1: reward ±v_x - 0.005 |a|^2 + 0.05, two tasks, ends outside z in [0.2, "
            "1], no contact cost or forces, actions ±1, 200 steps",
            aim=forward_or_back(2),
            control_cost=0.005,
            bonus=0.05,
            alive=_upright,
            horizon=200,
        ),
        "promp": RobotSpec(
            text="the same, v1: reward ±v_x - 0.5 |c|^2 + 1 with actions ±10 for the controls c of ±1, ends "
            "outside z in [0, 1], no contact cost or forces, 100 steps",
            aim=forward_or_back(2),
            control_cost=0.5,
            bonus=1.0,
            alive=_not_flying,
            action_bound=10.0,
        ),
        "promp-2d": RobotSpec(
            text="as promp, v1: the velocity along a direction uniform on the circle takes the place of ±v_x",
            aim=headings(),
            control_cost=0.5,
            bonus=1.0,
            alive=_not_flying,
            action_bound=10.0,
        ),
    }


class AntGoal(MujocoFamily):
    """The family ``ant-goal``: tasks are ``{"goal": float64 "n 2"}``; the ant observes where it is."""

    name = "ant-goal"
    robot = ANT
    variants = {
        "finn2017": RobotSpec(
            text="Ant-v5's body, v1: reward 4 - |s - g|_1 - 0.005 |a|^2 + 0.05, g uniform in [-3, 3)^2, ood "
            "the ring around it to 4, ends outside z in [0.2, 1], no contact cost or forces, actions "
            "±1, 200 steps",
            aim=square_goals(3.0, beyond=4.0),
            control_cost=0.005,
            bonus=4.05,
            alive=_upright,
            horizon=200,
            sees_place=True,
        ),
        "promp": RobotSpec(
            text="the same, v1: reward -|s - g|_1 - 0.1 |c|^2 with actions ±10 for the controls c of ±1, g "
            "uniform in a disc of radius 3, ood the ring around it to 4, never terminates, no contact "
            "cost or forces, 100 steps",
            aim=disc_goals(3.0, beyond=4.0),
            control_cost=0.1,
            action_bound=10.0,
            sees_place=True,
        ),
    }

    def plane(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Return the place of an observation "... o" in a picture: its position "... 2"."""
        return obs[..., :2]

    def marks(self, tasks: Mapping[str, Any]) -> NDArray[Any]:
        """Return the point that a picture of each task marks: its goal, "n 2"."""
        return self.task_features(tasks)
