"""Task families for metarl, usable without it: importing this package registers their environments.

``gymnasium.make("metarl_envs:metarl/PointGoal-finn2017-v0")`` imports and makes in one go. Nothing here needs
MuJoCo, Meta-World or Pillow before a family that does is made.
"""

from importlib import import_module
from typing import Any

import gymnasium

from metarl_envs.control.acrobot import AcrobotParams
from metarl_envs.control.cartpole import CartPoleParams
from metarl_envs.control.mountain_car import MountainCarParams
from metarl_envs.control.pendulum import PendulumParams
from metarl_envs.finite.bandit import Bandit
from metarl_envs.finite.chain import Chain
from metarl_envs.finite.maze import Maze
from metarl_envs.finite.tabular_mdp import TabularMDP
from metarl_envs.plane.point_goal import PointGoal
from metarl_envs.robots.ant import AntDir, AntGoal, AntVel
from metarl_envs.robots.cheetah import CheetahDir, CheetahVel
from metarl_envs.robots.hopper import HopperParams
from metarl_envs.robots.humanoid import HumanoidDir
from metarl_envs.robots.swimmer import SwimmerVel
from metarl_envs.robots.walker import WalkerDir, WalkerParams, WalkerVel

# Families with Gymnasium ids; the others are imported when they are asked for.
_REGISTERED: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        *(AcrobotParams, CartPoleParams, MountainCarParams, PendulumParams),
        *(Bandit, Chain, Maze, TabularMDP, PointGoal),
        *(AntDir, AntGoal, AntVel, CheetahDir, CheetahVel, HopperParams, HumanoidDir, SwimmerVel),
        *(WalkerDir, WalkerParams, WalkerVel),
    )
}
_HOMES = {
    "few_shot.glyphs": ("Glyphs",),
    "few_shot.omniglot": ("Omniglot",),
    "few_shot.sinusoid": ("Sinusoid",),
    "manipulation.family": ("MetaWorldML1", "MetaWorldML10", "MetaWorldML45"),
    # What a family of one's own is made of.
    "any_gym.family": ("GymFamily",),
    "any_gym.ranges": ("Choice", "Scale", "Uniform"),
    "base.analytic_family": ("AnalyticFamily",),
    "base.formulas": ("Analytic", "Refusal"),
    "base.formula_envs": ("AnalyticEnv", "AnalyticVectorEnv"),
    "base.single_rows": ("SingleRows",),
    "control.physical": ("PhysicalFamily", "Physics"),
    "few_shot.classification": ("FewShot", "ImageClasses"),
    "robots.aims": ("Aim",),
    "robots.family": ("MujocoFamily", "Robot", "RobotSpec"),
}
_LAZY = {name: f"metarl_envs.{home}" for home, names in _HOMES.items() for name in names}

__all__ = [*_REGISTERED, *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'metarl_envs' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def single(family: str, render_mode: str | None = None, **args: Any) -> gymnasium.Env[Any, Any]:
    """Make one environment of a family's class by name, for example ``single("PointGoal")``."""
    made = _REGISTERED[family](**args)
    env: gymnasium.Env[Any, Any] = made.make() if render_mode is None else made.make(render_mode)
    return env


def vector(family: str, num_envs: int, **args: Any) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    """Make a vector environment of a family's class by name."""
    env: gymnasium.vector.VectorEnv[Any, Any, Any] = _REGISTERED[family](**args).make_vec(num_envs)
    return env


def _register() -> None:
    for family, cls in _REGISTERED.items():
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
