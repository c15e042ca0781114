"""A family's vector environment as a ``VecEnv`` of Stable-Baselines3."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from metarl.core.errors import RequestError
from metarl.rollout import seeding
from metarl.rollout.collector import to_action_space
from metarl.rollout.family import Array, TaskFamily
from metarl.rollout.seeding import Address
from metarl.run.experience.gather import USES

Indices: TypeAlias = int | Iterable[int] | None


class TaskVecEnv(VecEnv):
    """``num_envs`` rows of a family; a row that ends begins its next episode at once.

    The info of a row that ended has ``terminal_observation``; every info says by ``TimeLimit.truncated``
    whether time cut the episode short. ``reset_infos[row]["task"]`` is the task under way.

    Every episode has an address: episode e (from 0) of row r starts as the first episode of task r in a
    collection at ``Address(seed, USES["sb3"], iteration=e)``, and the tasks of all rows' e-th episodes
    are drawn together. So nothing depends on which rows end when.

    Args:
        family: ``observe_task(family)`` for an oracle.
        task: the one task of all episodes, such as ``{"goal": [0.3, -0.2]}``; None draws a training task for
            each.
        per_task: episodes in a row on each of them.
        seed: root of all draws; ``seed(n)``, which Stable-Baselines3 calls by the model's own seed, sets it
            anew and begins with episode 0 again.

    Raises:
        RequestError: fewer than one row, or than one episode on each task.
    """

    def __init__(
        self,
        family: TaskFamily,
        num_envs: int,
        task: Mapping[str, Any] | None = None,
        *,
        per_task: int = 1,
        seed: int = 0,
    ) -> None:
        if min(num_envs, per_task) < 1:
            raise RequestError(
                f"a TaskVecEnv needs num_envs >= 1 and per_task >= 1, got {num_envs} and {per_task}"
            )
        self._family, self._seed, self._per_task = family, seed, per_task
        self._task = None if task is None else {key: np.asarray(value) for key, value in task.items()}
        self._env = family.make_vec(num_envs)
        self._episode = np.full(num_envs, -1)
        self._actions: Any = None
        super().__init__(num_envs, family.observation_space, _from_zero(family.action_space))

    def reset(self) -> Array:
        """Return the first observations of a next episode in every row."""
        return self._begin(np.ones(self.num_envs, dtype=np.bool_))

    def step_async(self, actions: Array) -> None:
        """Take the actions "num_envs …" of the step to come, discrete ones counted from 0."""
        self._actions = actions

    def step_wait(self) -> tuple[Array, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Return observations, rewards, ends and infos; an ended row's observation is its next first one."""
        taken = to_action_space(self._family.action_space, np.asarray(self._actions))
        obs, reward, terminated, truncated, _ = self._env.step(taken)
        done = np.logical_or(terminated, truncated)
        cut = np.logical_and(truncated, ~np.asarray(terminated))
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": bool(row)} for row in cut]
        for row in np.flatnonzero(done):
            infos[row]["terminal_observation"] = np.array(obs[row])
        obs = self._begin(done) if done.any() else obs
        return np.array(obs), np.asarray(reward, np.float32), done, infos

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Set the root of all draws (None leaves it), begin with episode 0, return the root for each row."""
        self._seed = self._seed if seed is None else seed
        self._episode[:] = -1
        return [self._seed] * self.num_envs

    def set_options(self, options: Any = None) -> None:
        """Refuse: the task is an argument of the constructor."""
        if options:
            raise RequestError(f"a TaskVecEnv takes no reset options, got {options!r}; give it a task")

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return an attribute of the vector environment, which is that of every row."""
        value = None if attr_name == "render_mode" else getattr(self._env, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Refuse: rows share their environment."""
        raise RequestError(f"the rows of a TaskVecEnv share one environment; {attr_name!r} cannot be set")

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list[Any]:
        """Refuse: rows share their environment."""
        raise RequestError(f"the rows of a TaskVecEnv share one environment; {method_name!r} is no row's own")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Indices = None) -> list[bool]:
        """Return False: no row has a wrapper."""
        return [False for _ in self._get_indices(indices)]

    def _begin(self, mask: NDArray[np.bool_]) -> Array:
        """Start the next episode of the masked rows; the first observations of these, the last of others."""
        self._episode[mask] += 1
        rows = np.flatnonzero(mask)
        seeds: Any = [0] * self.num_envs  # Gymnasium's annotation knows one number only
        for row in rows:
            address = Address(self._seed, USES["sb3"], int(self._episode[row]), first_task=int(row))
            seeds[row] = int(seeding.seeds(self._seed, "starts", *address.of(0), n=1)[0])
        options = {"task": self._tasks(mask)} | ({} if mask.all() else {"reset_mask": mask})
        obs, info = self._env.reset(seed=seeds, options=options)
        for row in rows:
            self.reset_infos[row] = {"task": {key: value[row] for key, value in info["task"].items()}}
        return np.array(obs)

    def _tasks(self, mask: NDArray[np.bool_]) -> dict[str, Array]:
        """Return the tasks of all rows' episodes "num_envs …"; those outside the mask count for nothing."""
        if self._task is not None:
            return {key: np.repeat(value[None], self.num_envs, 0) for key, value in self._task.items()}
        tasks: dict[str, Array] = {}
        numbers = self._episode // self._per_task
        for number in np.unique(numbers[mask]):
            rng = seeding.generator(self._seed, "tasks", USES["sb3"], int(number))
            rows = numbers == number
            for key, value in self._family.sample_tasks(self.num_envs, rng, "train").items():
                tasks.setdefault(key, value.copy())[rows] = value[rows]
        return tasks


def _from_zero(space: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    """Return the space as Stable-Baselines3's policies act in it: they count choices from 0."""
    if isinstance(space, Discrete):
        return Discrete(int(space.n))
    return MultiDiscrete(space.nvec) if isinstance(space, MultiDiscrete) else space
