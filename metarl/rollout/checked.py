"""A vector environment whose answers are looked at, and whose failures name the task and the episode."""

import math
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from metarl.core.errors import Diverged, EnvironmentFailed, shown
from metarl.rollout.family import Tasks

Answer = tuple[Any, Any, Any, Any, dict[str, Any]]

_SHOWN = 160  # characters of a task in a message


class Checked:
    """Resets and steps ``env``, whose row t · ``episodes`` + e is episode e of the t-th of ``tasks``.

    Whatever it raises becomes ``EnvironmentFailed``, from the original. Where the exception says so by its
    attributes ``row`` and ``step``, the message names task and episode. So are answers refused that are no
    observations of its space by shape and kind of numbers, no rewards or flags with one number a row, or, in
    a row that goes on, not finite. An action that is not finite is ``Diverged``: the policy's fault, which
    no environment is to see.

    Args:
        title: what the message begins with, such as the family's name.
        first_task: the number of the first task.
    """

    def __init__(self, env: VectorEnv, tasks: Tasks, episodes: int, title: str, first_task: int = 0) -> None:
        self._env, self._tasks, self._episodes = env, tasks, episodes
        self._title, self._first = title, first_task
        self._rows = len(next(iter(tasks.values()))) * episodes
        space = env.single_observation_space
        self._obs_shape, self._obs_dtype = (self._rows, *(space.shape or ())), np.dtype(space.dtype)
        self._obs_floats = self._obs_dtype.kind == "f"
        self._acts_in_floats = np.dtype(env.single_action_space.dtype).kind == "f"
        flat, flags = (self._rows,), np.dtype(bool)
        usual_dtypes = self._obs_dtype, np.dtype(float), flags, flags
        self._usual_kinds = (self._obs_shape, flat, flat, flat), usual_dtypes
        self._time = 0

    def reset(self, seeds: Any) -> Any:
        """The first observations of all rows."""
        self._time = 0
        rows = {name: np.repeat(value, self._episodes, axis=0) for name, value in self._tasks.items()}
        try:
            obs = self._env.reset(seed=seeds, options={"task": rows})[0]
        except (Exception, SystemExit) as error:
            raise self._failed(_told(error), error) from error
        self._look_at(obs, np.ones(self._rows, bool))
        return obs

    def step(self, action: np.ndarray, taken: np.ndarray, going: np.ndarray) -> Answer:
        """Step with ``taken`` "row …", which is what the space allows of the policies' actions.

        ``going`` "row" tells which of them have not ended.
        """
        self._time += 1
        if self._acts_in_floats and not _surely_finite(action):
            self._look_at_action(action, going)
        try:
            answer = self._env.step(taken)
        except (Exception, SystemExit) as error:
            raise self._failed(_told(error), error) from error
        obs, reward, terminated, truncated, _ = answer
        if not self._usual(obs, reward, terminated, truncated):
            self._look_at(obs, going)
            self._look_at_numbers("reward", reward, "biuf", going)
            self._look_at_numbers("terminated", terminated, "b", going)
            self._look_at_numbers("truncated", truncated, "b", going)
        return answer

    def _usual(self, obs: Any, reward: Any, terminated: Any, truncated: Any) -> bool:
        """Return whether an answer passes a quick look, which may suspect a good one."""
        try:
            shapes = obs.shape, reward.shape, terminated.shape, truncated.shape
            dtypes = obs.dtype, reward.dtype, terminated.dtype, truncated.dtype
            if (shapes, dtypes) != self._usual_kinds:
                return False
            return _surely_finite(reward) and (not self._obs_floats or _surely_finite(obs))
        except AttributeError:  # no arrays
            return False

    def _look_at(self, obs: Any, going: np.ndarray) -> None:
        found = np.asarray(obs)
        if found.shape != self._obs_shape or not np.can_cast(found.dtype, self._obs_dtype, "same_kind"):
            wanted = f"{self._obs_dtype} {self._obs_shape}"
            raise self._failed(f"the observations are {found.dtype} {found.shape}, its space has {wanted}")
        self._look_for_numbers("observation", found, going)

    def _look_at_numbers(self, name: str, values: Any, kinds: str, going: np.ndarray) -> None:
        found = np.asarray(values)
        if found.shape != (self._rows,) or found.dtype.kind not in kinds:
            wanted = f"{'bool' if kinds == 'b' else 'numbers'} {(self._rows,)}"
            raise self._failed(f"{name} is {found.dtype} {found.shape}, allowed: {wanted}")
        self._look_for_numbers(name, found, going)

    def _look_for_numbers(self, name: str, values: np.ndarray, going: np.ndarray) -> None:
        """Refuses the first row that goes on and is not finite; what has ended may say what it likes."""
        row = _first_bad(values, going)
        if row is not None:
            raise self._failed(f"the {name} is {shown(values[row].tolist(), _SHOWN)}, not finite", row=row)

    def _look_at_action(self, action: np.ndarray, going: np.ndarray) -> None:
        row = _first_bad(action, going)
        if row is not None:
            numbers = shown(action[row].tolist(), _SHOWN)
            told = f"{self._where(row, self._time)}: the policy's action is {numbers}"
            raise Diverged(f"{told}, not finite", step=self._time)

    def _failed(
        self, told: str, error: BaseException | None = None, row: int | None = None
    ) -> EnvironmentFailed:
        row, step = getattr(error, "row", row), getattr(error, "step", None)
        step = step if isinstance(step, int) else self._time
        return EnvironmentFailed(f"{self._where(row, step)}: {told}", step)

    def _where(self, row: Any, step: int) -> str:
        at = f"step {step}" if step else "reset"
        if not isinstance(row, int | np.integer) or not 0 <= row < self._rows:
            return f"{self._title}: {at}"
        t, episode = divmod(int(row), self._episodes)
        task = {name: np.asarray(value[t]).tolist() for name, value in self._tasks.items()}
        return f"{self._title}: task {self._first + t} {shown(task, _SHOWN)}, episode {episode}, {at}"


def _surely_finite(x: np.ndarray) -> bool:
    """Return whether all is finite, in a third of ``isfinite``'s time; large numbers may be suspected."""
    return math.isfinite(np.vdot(x, x))  # which, unlike dot, does not warn where squares overflow


def _first_bad(values: np.ndarray, going: np.ndarray) -> int | None:
    if values.dtype.kind != "f":
        return None
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1) & going
    return int(np.argmax(bad)) if bad.any() else None


def _told(error: BaseException) -> str:
    line = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
