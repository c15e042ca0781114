"""The environments of every analytic family: its formulas, evaluated for all rows at once."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from metarl_envs.base import row_draws
from metarl_envs.base.formulas import Analytic
from metarl_envs.base.rows import OneStep, Rows, Seed, StepResult, drawn, gymnasium_seed, reset_one, step_one


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
        self._rows = Rows(model, num_envs)
        self.num_envs = self._rows.num_envs
        self.single_observation_space = model.observation_space
        self.single_action_space = model.action_space
        self.observation_space = batch_space(model.observation_space, num_envs)
        self.action_space = batch_space(model.action_space, num_envs)
        self._model = model
        self._state: NDArray[Any] = np.zeros(0)
        self._no_noise = np.zeros((num_envs, 0))

    def reset(
        self, *, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start the masked rows; see the class. A ValueError changes nothing."""
        model, rows = self._model, self._rows
        mask, seeds, task = rows.read_reset(seed, options)
        state = model.start(row_draws.uniform(seeds, model.start_draws, row_draws.START))
        if not rows.started:
            self._state = state
        self._state[mask] = state[mask]
        info = rows.restart(mask, seeds, drawn(model, seeds) if task is None else task)
        return model.observe(self._state, rows.task), info

    def step(self, actions: NDArray[Any]) -> StepResult:
        """Take one time step in every row that is not frozen; a ValueError changes nothing.

        Args:
            actions: "num_envs ..." as in ``action_space``; beyond a Box's bounds they act like the bounds.
        """
        model, rows = self._model, self._rows
        actions = rows.read_actions(actions)
        noise = self._no_noise
        if model.step_draws:
            noise = row_draws.uniform(rows.seeds, model.step_draws, row_draws.STEP + rows.time)
        state, reward, terminated = model.step(self._state, actions, rows.task, noise)
        if rows.some_done:
            np.copyto(state, self._state, where=rows.done.reshape(-1, *(1,) * (state.ndim - 1)))
        self._state = state
        return model.observe(state, rows.task), *rows.advance(reward, terminated), {}


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
        super().reset(seed=gymnasium_seed(seed))
        return reset_one(self._row, seed, options)

    def step(self, action: Any) -> OneStep:
        """Take one time step; after the end of the episode nothing moves and the reward is 0."""
        return step_one(self._row, action)
