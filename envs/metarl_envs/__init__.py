"""Task families for metarl, usable without it: importing this package registers their environments.

``gymnasium.make("metarl_envs:metarl/PointGoal-finn2017-v0")`` imports and makes in one go.
"""

from typing import Any

import gymnasium

from metarl_envs.point_goal import PointGoal

__all__ = ["PointGoal"]


def point_goal(**args: Any) -> gymnasium.Env[Any, Any]:
    """Gymnasium's way to one environment: ``PointGoal(**args).make()``."""
    return PointGoal(**args).make()


def point_goal_vec(num_envs: int, **args: Any) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    """Gymnasium's way to a vector environment: ``PointGoal(**args).make_vec(num_envs)``."""
    return PointGoal(**args).make_vec(num_envs)


def _register() -> None:
    for spec in PointGoal.specs:
        name = f"metarl/PointGoal-{spec}-v0"
        if name not in gymnasium.registry:
            gymnasium.register(
                name,
                "metarl_envs:point_goal",
                vector_entry_point="metarl_envs:point_goal_vec",
                kwargs={"spec": spec},
            )


_register()
