"""The fields of an environment's MuJoCo model, for families that change them."""

from typing import Any

import mujoco


def model_of(env: Any, title: str) -> Any:
    """Return the model of a Gymnasium environment; a ValueError of one line if it has none."""
    model = getattr(env.unwrapped, "model", None)
    if not isinstance(model, mujoco.MjModel):
        owner = type(env.unwrapped).__name__
        raise ValueError(
            f"{title}: fields are those of a MuJoCo model, and {owner} has none (env.unwrapped.model); "
            "allowed: arguments, attributes, options"
        )
    return model


def settle(env: Any) -> None:
    """Let the engine derive what follows from changed fields: subtree masses, inverse weights and such."""
    mujoco.mj_setConst(env.unwrapped.model, env.unwrapped.data)
