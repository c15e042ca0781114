"""The oracle's view of a family."""

from functools import partial
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from metarl.core.errors import RequestError
from metarl.rollout.family import Array, Family, SupervisedFamily, TaskFamily, is_supervised


def observe_task(family: Family) -> Family:
    """The family whose observations end with the task's features: what an oracle is trained on.

    Raises:
        RequestError: the observation space is no one-dimensional Box of floats.
    """
    if is_supervised(family):
        return _ObservedShots(cast(SupervisedFamily, family))
    return _Observed(cast(TaskFamily, family))


def _space(family: Family) -> tuple[Box, int]:
    """The observation space with the features at its end, and their number."""
    space = family.observation_space
    if not isinstance(space, Box) or len(space.shape) != 1 or space.dtype.kind != "f":
        raise RequestError(
            f"family {family.name!r} observes {space}; an oracle needs a one-dimensional Box of floats"
        )
    example = family.task_features(family.sample_tasks(1, np.random.default_rng(0)))
    unbounded = np.full(example.shape[1], np.inf, dtype=space.dtype)
    low, high = np.concatenate([space.low, -unbounded]), np.concatenate([space.high, unbounded])
    return Box(low, high, dtype=space.dtype.type), example.shape[1]


class _ObservedShots:
    """A supervised family whose examples end with the task's features."""

    def __init__(self, family: SupervisedFamily) -> None:
        self.observation_space, _ = _space(family)
        self._inner = family
        self.name, self.spec, self.metric = family.name, family.spec, family.metric
        self.num_tasks, self.action_space = family.num_tasks, family.action_space
        self.sample_tasks, self.task_features = family.sample_tasks, family.task_features

    def sample_shots(self, tasks: Any, rng: np.random.Generator) -> dict[str, Array]:
        drawn, features = self._inner.sample_shots(tasks, rng), self.task_features(tasks)
        return {name: self._seen(x, features) if name.endswith("_x") else x for name, x in drawn.items()}

    def _seen(self, x: Array, features: Array) -> Array:
        each = np.broadcast_to(features[:, None], (*x.shape[:2], features.shape[1]))
        return np.concatenate([x, each], axis=2).astype(x.dtype)


class _Observed:
    """A family with its task in sight; see ``observe_task``."""

    def __init__(self, family: TaskFamily) -> None:
        self.observation_space, self._size = _space(family)
        self._inner = family
        self.name, self.spec, self.horizon = family.name, family.spec, family.horizon
        self.num_tasks, self.action_space = family.num_tasks, family.action_space
        self.sample_tasks, self.task_features = family.sample_tasks, family.task_features
        if hasattr(family, "plane"):
            self.plane = partial(_inner_plane, family.plane, self.observation_space.shape[0] - self._size)
        for member in ("metric", "stepped"):
            if hasattr(family, member):
                setattr(self, member, getattr(family, member))
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
