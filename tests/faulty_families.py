"""A family that goes wrong when it is told to: ``faulty_families:Faulty``."""

from typing import Any, ClassVar

import gymnasium
import numpy as np

from tiny_families import Field

ROW, STEP = 4, 2  # where it goes wrong: with three episodes a task, in episode 1 of task 1


class Faulty(Field):
    """``Field``, which at its collection number ``at`` since it was told does ``what`` in one row and step.

    ``always`` is what it does in every episode: never end, or end with the first step.
    """

    name = "faulty"
    what: ClassVar[str] = ""
    at: ClassVar[int] = 0

    def __init__(self, spec: str | None = None, *, always: str = "", **more: Any) -> None:
        super().__init__(spec, **more)
        self._always = always

    def make_vec(self, num_envs: int) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
        return _Spoilt(super().make_vec(num_envs), self._always)

    @classmethod
    def told(cls, what: str, at: int) -> None:
        cls.what, cls.at = what, at


class _Spoilt(gymnasium.vector.VectorWrapper):
    def __init__(self, env: Any, always: str) -> None:
        super().__init__(env)
        self._always = always

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self._time = 0
        Faulty.at -= 1
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: Any) -> Any:
        self._time += 1
        obs, reward, terminated, truncated, info = self.env.step(actions)
        if self._always == "ends":
            terminated = np.ones_like(terminated)
        elif self._always == "goes on":
            terminated, truncated = np.zeros_like(terminated), np.zeros_like(truncated)
        if Faulty.what and Faulty.at == 0 and self._time == STEP:
            return spoilt(Faulty.what, obs.copy(), reward.copy(), terminated, truncated, info)
        return obs, reward, terminated, truncated, info


class Fell(RuntimeError):
    """Says in which row."""

    row = ROW


def spoilt(what: str, obs: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> Any:
    if what == "observation":
        obs[ROW, 1] = np.nan
    elif what == "reward":
        reward[ROW] = np.inf
    elif what == "shape":
        obs = obs[:, :1]
    elif what == "kind":
        obs = obs.astype(np.complex128)
    elif what == "flag":
        terminated = terminated.astype(np.float64)
    else:
        raise Fell("the robot fell\nand broke")
    return obs, reward, terminated, truncated, info
