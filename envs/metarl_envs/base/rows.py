"""The rows of a vector environment: their seeds, tasks, clocks and ends, whatever moves them.

This is the contract that all environments of this package keep. A class that moves rows (``formula_envs`` by
formulas, ``robots.envs`` by an engine) asks it what a reset means, hands it what a step gave, and gets back
what the caller is to see.
"""

from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Discrete, MultiDiscrete
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from metarl_envs.base import row_draws
from metarl_envs.base.arguments import positive_int
from metarl_envs.base.formulas import Bools, Floats, Served, Stated, Tasks, read_tasks, refuse_rows

StepResult: TypeAlias = tuple[NDArray[Any], Floats, Bools, Bools, dict[str, Any]]
OneStep: TypeAlias = tuple[NDArray[Any], float, bool, bool, dict[str, Any]]
Seed: TypeAlias = SupportsIndex | Sequence[SupportsIndex] | NDArray[Any] | None


class Rows:
    """``num_envs`` rows of one family.

    Attributes:
        seeds: uint64 "n", of each row's episode.
        task: arrays "n ..." by name.
        time: int64 "n", steps of each row's episode so far.
        terminated: bool "n".
        truncated: bool "n".
        done: bool "n", either of both: the row is frozen.
        some_done: whether any row is frozen.
    """

    def __init__(self, model: Stated, num_envs: int) -> None:
        self.num_envs = positive_int(model.title, "num_envs", num_envs)
        self._model = model
        discrete = isinstance(model.action_space, Discrete | MultiDiscrete)
        self._action_shape = (num_envs, *(model.action_space.shape or ()))
        self._action_kinds = "iu" if discrete else "fiu"
        self._action_dtype = np.dtype(np.int64 if discrete else np.float64)
        self.started = False
        self.seeds = row_draws.row_seeds(0, num_envs)
        self.task: Tasks = {}
        self.time = np.zeros(num_envs, dtype=np.int64)
        self.terminated, self.truncated, self.done = np.zeros((3, num_envs), dtype=np.bool_)
        self.some_done = False

    def read_reset(
        self, seed: Seed, options: dict[str, Any] | None
    ) -> tuple[Bools, row_draws.Seeds, Tasks | None]:
        """Return the rows to restart, the seeds of all rows, and their tasks if any are handed over.

        Changes nothing.
        """
        model, n = self._model, self.num_envs
        options = options or {}
        unknown = sorted(map(str, set(options) - {"task", "reset_mask"}))
        if unknown:
            raise ValueError(f"{model.title}: reset option {unknown[0]!r}; allowed: task, reset_mask")
        mask = self._read_mask(options.get("reset_mask"))
        follow = seed is None and self.started
        seeds = row_draws.next_seeds(self.seeds) if follow else row_draws.row_seeds(seed, n)
        handed = options.get("task")
        return mask, seeds, None if handed is None else read_tasks(model, handed, n)

    def _read_mask(self, mask: object) -> Bools:
        title, n = self._model.title, self.num_envs
        if mask is None:
            return np.ones(n, dtype=np.bool_)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (n,):
            shown = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
            raise ValueError(f"{title}: reset_mask is {shown}; allowed: a bool array ({n},)")
        if not self.started and not mask.all():
            raise ValueError(f"{title}: reset_mask leaves rows out of the first reset; allowed: all rows")
        return mask

    def restart(self, mask: Bools, seeds: row_draws.Seeds, task: Tasks) -> dict[str, Any]:
        """Start the masked rows' episodes; the others keep theirs. Return an info that names all tasks."""
        if not self.started:
            self.task, self.started = task, True
        self.seeds[mask] = seeds[mask]
        for key in self.task:
            self.task[key][mask] = task[key][mask]
        self.time[mask] = 0
        self.terminated[mask] = False
        self.truncated[mask] = False
        self._take_ends(self.terminated, self.truncated)
        return {"task": {key: value.copy() for key, value in self.task.items()}}

    def read_actions(self, actions: object) -> NDArray[Any]:
        """Return actions as float64 or int64 "num_envs ...", shape and values checked."""
        model, numbers = self._model, np.asarray(actions)
        if not self.started:
            raise ResetNeeded(f"{model.title}: step before the first reset")
        if numbers.shape != self._action_shape or numbers.dtype.kind not in self._action_kinds:
            wanted = f"{'numbers' if 'f' in self._action_kinds else 'integers'} {self._action_shape}"
            raise ValueError(f"{model.title}: actions are {numbers.dtype} {numbers.shape}; allowed: {wanted}")
        valid, first, allowed = self._valid(numbers)
        if not valid.all():
            bad = ~valid.reshape(self.num_envs, -1).all(axis=1) & ~self.done
            step = int(self.time[np.argmax(bad)]) + 1
            refuse_rows(model, f"action at step {step}", numbers, bad, allowed, step)
            numbers = np.where(valid, numbers, first)  # of frozen rows, whose actions count for nothing
        return numbers.astype(self._action_dtype, copy=False)

    def _valid(self, numbers: NDArray[Any]) -> tuple[Bools, Any, str]:
        """Return which numbers the action space has, the first of those it has, and them all in words."""
        space = self._model.action_space
        if isinstance(space, Discrete | MultiDiscrete):
            first, last = (
                space.start,
                space.start + (space.n if isinstance(space, Discrete) else space.nvec) - 1,
            )
            within = (numbers >= first) & (numbers <= last)
            return within, first, f"integers {np.asarray(first).tolist()} to {np.asarray(last).tolist()}"
        return np.isfinite(numbers), 0, "finite numbers"

    def advance(
        self, reward: Floats, terminated: Bools, cut: Bools | None = None
    ) -> tuple[Floats, Bools, Bools]:
        """Let a step pass; frozen rows keep how they ended and get no reward.

        Args:
            cut: rows that are truncated before the horizon.

        Returns:
            reward, terminated and truncated "n", which belong to the caller.
        """
        self.time += 1
        truncated = self.time >= self._model.horizon
        if cut is not None:
            truncated |= cut
        truncated &= ~terminated
        if self.some_done:
            reward[self.done] = 0.0
            np.copyto(terminated, self.terminated, where=self.done)
            np.copyto(truncated, self.truncated, where=self.done)
        self._take_ends(terminated, truncated)
        return reward, terminated.copy(), truncated.copy()

    def _take_ends(self, terminated: Bools, truncated: Bools) -> None:
        self.terminated, self.truncated = terminated, truncated
        self.done = terminated | truncated
        self.some_done = bool(self.done.any())


def drawn(model: Served, seeds: row_draws.Seeds) -> Tasks:
    """Draw the training task that each seed stands for."""
    return model.task(row_draws.uniform(seeds, model.task_draws, row_draws.TASK))


def reset_one(
    row: VectorEnv[Any, Any, Any], seed: int | None, options: dict[str, Any] | None
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Reset a vector environment of one row for a single environment; the task is then one row too."""
    options = dict(options or {})
    if isinstance(options.get("task"), Mapping):
        options["task"] = {key: [value] for key, value in options["task"].items()}
    obs, info = row.reset(seed=seed, options=options)
    return obs[0], {"task": {key: value[0] for key, value in info["task"].items()}}


def step_one(row: VectorEnv[Any, Any, Any], action: Any) -> OneStep:
    """Step a vector environment of one row for a single environment."""
    obs, reward, terminated, truncated, info = row.step(np.asarray(action)[None])
    return obs[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), info


def gymnasium_seed(seed: int | None) -> int | None:
    """Return the seed as ``gymnasium.Env.reset`` takes it, after the checks that all environments make."""
    return None if seed is None else int(row_draws.row_seeds(seed, 1)[0])
