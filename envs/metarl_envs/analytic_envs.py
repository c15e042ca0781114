"""The environments of every analytic family: seeds, time limit and freezing around its formulas."""

from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex, TypeAlias

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from metarl_envs import row_draws
from metarl_envs.analytic import Analytic, Bools, Floats, Tasks, read_tasks, refuse_rows
from metarl_envs.arguments import positive_int

StepResult: TypeAlias = tuple[NDArray[Any], Floats, Bools, Bools, dict[str, Any]]


class AnalyticVectorEnv(VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]]):
    """All rows of an analytic family in one call a step; nothing resets by itself.

    ``reset(seed=, options={"task": {key: "num_envs ..."}, "reset_mask": bool "num_envs"})`` starts the rows
    of the mask (all without one). Without a task each of them draws a training task from its seed; without
    a seed each follows on from its own last one (fresh entropy at first). info["task"] names all rows' tasks.

    A finished row is frozen until it is reset: its observation stays, its reward is 0, its terminated and
    truncated stay as they were and its action is ignored. Returned arrays belong to the caller.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, model: Analytic, num_envs: int) -> None:
        self.num_envs = positive_int(model.title, "num_envs", num_envs)
        self.single_observation_space = model.observation_space
        self.single_action_space = model.action_space
        self.observation_space = batch_space(model.observation_space, num_envs)
        self.action_space = batch_space(model.action_space, num_envs)
        self._model = model
        discrete = isinstance(model.action_space, Discrete)
        self._action_kinds = "iu" if discrete else "fiu"
        self._action_dtype = np.dtype(np.int64 if discrete else np.float64)
        self._started = False
        self._seeds = row_draws.row_seeds(0, num_envs)
        self._task: Tasks = {}
        self._state: NDArray[Any] = np.zeros(0)
        self._time = np.zeros(num_envs, dtype=np.int64)
        self._terminated, self._truncated, self._done = np.zeros((3, num_envs), dtype=np.bool_)
        self._some_done = False
        self._no_noise = np.zeros((num_envs, 0))

    def reset(
        self,
        *,
        seed: SupportsIndex | Sequence[SupportsIndex] | NDArray[Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start the masked rows; see the class. A ValueError changes nothing."""
        model, n = self._model, self.num_envs
        options = options or {}
        unknown = sorted(map(str, set(options) - {"task", "reset_mask"}))
        if unknown:
            raise ValueError(f"{model.title}: reset option {unknown[0]!r}; allowed: task, reset_mask")
        mask = self._read_mask(options.get("reset_mask"))
        follow = seed is None and self._started
        seeds = row_draws.next_seeds(self._seeds) if follow else row_draws.row_seeds(seed, n)
        if options.get("task") is not None:
            task = read_tasks(model, options["task"], n)
        else:
            task = model.task(row_draws.uniform(seeds, model.task_draws, row_draws.TASK))
        state = model.start(row_draws.uniform(seeds, model.start_draws, row_draws.START))
        self._put(mask, seeds, task, state)
        info = {"task": {key: value.copy() for key, value in self._task.items()}}
        return model.observe(self._state, self._task), info

    def _read_mask(self, mask: object) -> Bools:
        title, n = self._model.title, self.num_envs
        if mask is None:
            return np.ones(n, dtype=np.bool_)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (n,):
            given = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
            raise ValueError(f"{title}: reset_mask is {given}; allowed: a bool array ({n},)")
        if not self._started and not mask.all():
            raise ValueError(f"{title}: reset_mask leaves rows out of the first reset; allowed: all rows")
        return mask

    def _put(self, mask: Bools, seeds: row_draws.Seeds, task: Tasks, state: NDArray[Any]) -> None:
        """Take the masked rows of a new start; the others keep theirs."""
        if not self._started:
            self._state, self._task, self._started = state, task, True
        self._state[mask] = state[mask]
        self._seeds[mask] = seeds[mask]
        for key in self._task:
            self._task[key][mask] = task[key][mask]
        self._time[mask] = 0
        self._terminated[mask] = False
        self._truncated[mask] = False
        self._done = self._terminated | self._truncated
        self._some_done = bool(self._done.any())

    def step(self, actions: NDArray[Any]) -> StepResult:
        """One time step of every row that is not frozen; a ValueError changes nothing.

        Args:
            actions: "num_envs ..." as in ``action_space``; beyond a Box's bounds they act like the bounds.
        """
        if not self._started:
            raise ResetNeeded(f"{self._model.title}: step before the first reset")
        model = self._model
        actions = self._read_actions(actions)
        noise = self._no_noise
        if model.step_draws:
            noise = row_draws.uniform(self._seeds, model.step_draws, row_draws.STEP + self._time)
        state, reward, terminated = model.step(self._state, actions, self._task, noise)
        self._time += 1
        truncated = self._time >= model.horizon
        truncated &= ~terminated
        if self._some_done:
            done = self._done
            np.copyto(state, self._state, where=done.reshape(-1, *(1,) * (state.ndim - 1)))
            reward[done] = 0.0
            np.copyto(terminated, self._terminated, where=done)
            np.copyto(truncated, self._truncated, where=done)
        self._state, self._terminated, self._truncated = state, terminated, truncated
        self._done = terminated | truncated
        self._some_done = bool(self._done.any())
        return model.observe(state, self._task), reward, terminated.copy(), truncated.copy(), {}

    def _read_actions(self, actions: object) -> NDArray[Any]:
        """Actions as float64 or int64 "num_envs ...", after a look at their shape and values."""
        model, given = self._model, np.asarray(actions)
        if given.shape != self.action_space.shape or given.dtype.kind not in self._action_kinds:
            wanted = f"{'numbers' if 'f' in self._action_kinds else 'integers'} {self.action_space.shape}"
            raise ValueError(f"{model.title}: actions are {given.dtype} {given.shape}; allowed: {wanted}")
        first = 0
        if isinstance(model.action_space, Discrete):
            first, end = int(model.action_space.start), int(model.action_space.start + model.action_space.n)
            valid, allowed = (given >= first) & (given < end), f"integers {first} to {end - 1}"
        else:
            valid, allowed = np.isfinite(given), "finite numbers"
        if not valid.all():
            bad = ~valid.reshape(self.num_envs, -1).all(axis=1) & ~self._done
            step = self._time[np.argmax(bad)] + 1
            refuse_rows(model, f"action at step {step}", given, bad, allowed)
            given = np.where(valid, given, first)  # of frozen rows, whose actions count for nothing
        return given.astype(self._action_dtype, copy=False)


class AnalyticEnv(gymnasium.Env[NDArray[Any], Any]):
    """The single environment: ``AnalyticVectorEnv`` with one row (``options={"task": {key: one row}}``)."""

    metadata = {"render_modes": []}

    def __init__(self, model: Analytic) -> None:
        self.observation_space = model.observation_space
        self.action_space = model.action_space
        self._row = AnalyticVectorEnv(model, 1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start an episode; without a task one for training is drawn from the seed; info["task"] names it."""
        seeds = None if seed is None else row_draws.row_seeds(seed, 1)
        super().reset(seed=None if seeds is None else int(seeds[0]))
        options = dict(options or {})
        if isinstance(options.get("task"), Mapping):
            options["task"] = {key: [value] for key, value in options["task"].items()}
        obs, info = self._row.reset(seed=seeds, options=options)
        return obs[0], {"task": {key: value[0] for key, value in info["task"].items()}}

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """One time step; after the end of the episode nothing moves and the reward is 0."""
        obs, reward, terminated, truncated, info = self._row.step(np.asarray(action)[None])
        return obs[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), info
