"""What a task family is, and the oracle's view of one."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol, TypeAlias, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from metarl.core.errors import RequestError

SPLITS = ("train", "validation", "test", "ood")

Array: TypeAlias = NDArray[Any]
Tasks: TypeAlias = Mapping[str, Array]


@runtime_checkable
class TaskFamily(Protocol):
    """Draws tasks, as plain arrays with one row a task, and serves them as Gymnasium environments.

    A family's class has ``name`` and ``specs`` (spec → one-line description, the default first) and is made
    by ``cls(spec=None, **arguments)``; it raises a ValueError of one line for what it cannot serve.

    Tasks are handed over by ``reset(seed=..., options={"task": {key: rows}})``, to a vector environment with
    one row a sub-environment; a ``reset`` without one draws a training task. Both name the tasks in
    info["task"]. The same seed gives a sub-environment and a single environment the same start. Vector
    environments also read ``options={"reset_mask": bool "num_envs"}``, freeze finished rows (the observation
    stays, the reward is 0) and truncate at the horizon.

    Optional, for pictures: ``plane(obs "... o") -> "... 2"`` and ``marks(tasks) -> "n 2"``.

    Attributes:
        num_tasks: the number of tasks where there are finitely many (training has then seen the test tasks).
    """

    name: str
    spec: str
    horizon: int
    num_tasks: int | None

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        """The space of one environment's observations."""

    @property
    def action_space(self) -> gymnasium.Space[Any]:
        """The space of one environment's actions."""

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> dict[str, Array]:
        """Draw tasks of one of ``SPLITS``: each entry has the shape "n ..."."""

    def task_features(self, tasks: Any) -> NDArray[np.float32]:
        """What an oracle sees of each task: float32 "n f"."""

    def make(self) -> gymnasium.Env[Any, Any]:
        """One environment."""

    def make_vec(self, num_envs: int) -> VectorEnv[Any, Any, Any]:
        """``num_envs`` environments stepped together."""


def observe_task(family: TaskFamily) -> TaskFamily:
    """The family whose observations end with the task's features: what an oracle is trained on.

    Raises:
        RequestError: the observation space is no one-dimensional Box of floats.
    """
    return _Observed(family)


class _Observed:
    """A family with its task in sight; see ``observe_task``."""

    def __init__(self, family: TaskFamily) -> None:
        space = family.observation_space
        if not isinstance(space, Box) or len(space.shape) != 1 or space.dtype.kind != "f":
            raise RequestError(
                f"family {family.name!r} observes {space}; an oracle needs a one-dimensional Box of floats"
            )
        example = family.task_features(family.sample_tasks(1, np.random.default_rng(0)))
        self._inner, self._size = family, example.shape[1]
        self.name, self.spec, self.horizon = family.name, family.spec, family.horizon
        self.num_tasks, self.action_space = family.num_tasks, family.action_space
        unbounded = np.full(self._size, np.inf, dtype=space.dtype)
        self.observation_space = Box(
            np.concatenate([space.low, -unbounded]),
            np.concatenate([space.high, unbounded]),
            dtype=space.dtype.type,
        )
        self.sample_tasks, self.task_features = family.sample_tasks, family.task_features
        if hasattr(family, "plane"):
            self.plane = partial(_inner_plane, family.plane, space.shape[0])
        if hasattr(family, "marks"):
            self.marks = family.marks

    def make(self) -> gymnasium.Env[Any, Any]:
        return _ObservedEnv(self._inner, self.observation_space)

    def make_vec(self, num_envs: int) -> VectorEnv[Any, Any, Any]:
        return _ObservedVectorEnv(self._inner, self.observation_space, self._size, num_envs)


def _inner_plane(plane: Any, size: int, obs: Array) -> Array:
    """The picture of an observation "... o+f" is that of its first ``size`` = o numbers."""
    return np.asarray(plane(obs[..., :size]))


def _named(family: TaskFamily, info: dict[str, Any]) -> Any:
    """The tasks that a reset names."""
    if "task" not in info:
        raise RequestError(f"family {family.name!r} names no info['task'] on reset; an oracle needs it")
    return info["task"]


class _ObservedVectorEnv(VectorWrapper):
    """Observations "num_envs o+f"; a row's features change only when the row is reset."""

    def __init__(self, family: TaskFamily, space: Box, features: int, num_envs: int) -> None:
        super().__init__(family.make_vec(num_envs))
        self._family = family
        self.single_observation_space = space
        self.observation_space = batch_space(space, num_envs)
        self._features = np.zeros((num_envs, features), dtype=space.dtype)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        mask = (options or {}).get("reset_mask")
        rows = slice(None) if mask is None else mask
        self._features[rows] = self._family.task_features(_named(self._family, info))[rows]
        return np.concatenate([obs, self._features], axis=1), info

    def step(self, actions: Array) -> tuple[Array, Any, Any, Any, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        return np.concatenate([obs, self._features], axis=1), reward, terminated, truncated, info


class _ObservedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Observations "o+f" of one environment."""

    def __init__(self, family: TaskFamily, space: Box) -> None:
        super().__init__(family.make())
        self._family = family
        self.observation_space = space
        self._features = np.zeros(0, dtype=space.dtype)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        tasks = {key: np.asarray(value)[None] for key, value in _named(self._family, info).items()}
        self._features = self._family.task_features(tasks)[0].astype(self._features.dtype)
        return np.concatenate([obs, self._features]), info

    def step(self, action: Any) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        return np.concatenate([obs, self._features]), reward, terminated, truncated, info
