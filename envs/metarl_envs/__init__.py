"""Task families for metarl, usable without it: importing this package registers their environments.

``gymnasium.make("metarl_envs:metarl/PointGoal-finn2017-v0")`` imports and makes in one go.
"""

from typing import Any

import gymnasium

from metarl_envs.acrobot_params import AcrobotParams
from metarl_envs.ant import AntDir, AntGoal, AntVel
from metarl_envs.bandit import Bandit
from metarl_envs.cartpole_params import CartPoleParams
from metarl_envs.chain import Chain
from metarl_envs.cheetah import CheetahDir, CheetahVel
from metarl_envs.hopper import HopperParams
from metarl_envs.humanoid import HumanoidDir
from metarl_envs.maze import Maze
from metarl_envs.mountain_car_params import MountainCarParams
from metarl_envs.pendulum_params import PendulumParams
from metarl_envs.point_goal import PointGoal
from metarl_envs.swimmer import SwimmerVel
from metarl_envs.tabular_mdp import TabularMDP
from metarl_envs.walker import WalkerDir, WalkerParams, WalkerVel

__all__ = [
    "AcrobotParams",
    "AntDir",
    "AntGoal",
    "AntVel",
    "Bandit",
    "CartPoleParams",
    "Chain",
    "CheetahDir",
    "CheetahVel",
    "HopperParams",
    "HumanoidDir",
    "Maze",
    "MountainCarParams",
    "PendulumParams",
    "PointGoal",
    "SwimmerVel",
    "TabularMDP",
    "WalkerDir",
    "WalkerParams",
    "WalkerVel",
]

_FAMILIES: dict[str, Any] = {name: globals()[name] for name in __all__}


def single(family: str, render_mode: str | None = None, **args: Any) -> gymnasium.Env[Any, Any]:
    """Gymnasium's way to one environment of a family's class by name, for example ``single("PointGoal")``."""
    made = _FAMILIES[family](**args)
    env: gymnasium.Env[Any, Any] = made.make() if render_mode is None else made.make(render_mode)
    return env


def vector(family: str, num_envs: int, **args: Any) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    """Gymnasium's way to a vector environment of a family's class by name."""
    env: gymnasium.vector.VectorEnv[Any, Any, Any] = _FAMILIES[family](**args).make_vec(num_envs)
    return env


def _register() -> None:
    for family, cls in _FAMILIES.items():
        for spec in cls.specs:
            name = f"metarl/{family}-{spec}-v0"
            if name not in gymnasium.registry:
                gymnasium.register(
                    name,
                    "metarl_envs:single",
                    vector_entry_point="metarl_envs:vector",
                    kwargs={"family": family, "spec": spec},
                )


_register()
