"""The environments of every MuJoCo family: the contract of ``rows``, moved by ``engine``."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from metarl_envs.base import row_draws
from metarl_envs.base.arguments import positive_int
from metarl_envs.base.formulas import of_row
from metarl_envs.base.rows import OneStep, Rows, Seed, StepResult, drawn, gymnasium_seed, reset_one, step_one
from metarl_envs.robots.engine import Engine, SimulationError
from metarl_envs.robots.family import Robot, RobotSpec, Simulated
from metarl_envs.robots.pictures import Camera

_FALLEN_APART = ("BADQPOS", "BADQVEL", "BADQACC", "BADCTRL")
"""Warnings after which MuJoCo has put the simulation back to its start: nothing that it says is true."""


def sizes(robot: Robot, spec: RobotSpec) -> tuple[int, int]:
    """Return how many numbers an observation and an action have."""
    engine = Engine(robot, 1, 1)
    return engine.observe(0 if spec.sees_place else robot.horizontal).shape[1], engine.controls


class MujocoVectorEnv(VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]]):
    """All rows of a MuJoCo family as one batch of simulations; nothing resets by itself.

    Resets, tasks, masks, seeds and frozen rows are as in ``formula_envs.AnalyticVectorEnv``. Rows that have
    finished are not simulated any more.

    Args:
        model: the family's robot under one spec.
        threads: engine threads, on which no result depends; None: as many as the process may use.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, model: Simulated, num_envs: int, threads: int | None = None) -> None:
        self._rows = Rows(model, num_envs)
        self.num_envs = self._rows.num_envs
        self.single_observation_space = model.observation_space
        self.single_action_space = model.action_space
        self.observation_space = batch_space(model.observation_space, num_envs)
        self.action_space = batch_space(model.action_space, num_envs)
        available = len(os.sched_getaffinity(0)) if threads is None else threads
        self.engine = Engine(
            model.robot, num_envs, min(positive_int(model.title, "threads", available), num_envs)
        )
        self._model = model
        self._hidden = 0 if model.spec.sees_place else model.robot.horizontal
        self._place = self.engine.place()

    def reset(
        self, *, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start the masked rows; see the class. A ValueError changes nothing."""
        rows, engine = self._rows, self.engine
        mask, seeds, task = rows.read_reset(seed, options)
        uniforms = row_draws.uniform(seeds, engine.start_draws, row_draws.START)
        info = rows.restart(mask, seeds, drawn(self._model, seeds) if task is None else task)
        with self._named_failures(0):
            engine.start(mask, uniforms, rows.task if self._model.spec.aim.dynamics else None)
        self._place[mask] = engine.place()[mask]
        obs = engine.observe(self._hidden)
        self._check(0, observation=obs)
        return obs, info

    def step(self, actions: NDArray[Any]) -> StepResult:
        """Take one time step in every row that is not frozen; a ValueError changes nothing.

        Args:
            actions: "num_envs ..." as in ``action_space``; beyond the bounds they act like the bounds.

        Raises:
            RuntimeError: a row that MuJoCo cannot simulate on, or whose observation or reward is not finite;
                the line names it. What MuJoCo merely warns of becomes a RuntimeWarning.
        """
        rows, engine, spec = self._rows, self.engine, self._model.spec
        bound = spec.action_bound
        actions = rows.read_actions(actions)
        control = np.minimum(np.maximum(actions, -bound), bound) / bound * engine.control_range
        with self._named_failures(1):
            engine.step(control, ~rows.done if rows.some_done else None)
        place = engine.place()
        velocity = (place - self._place) / engine.time_step
        self._place = place
        reward = spec.aim.pay(velocity, place, rows.task)
        reward = reward - spec.control_cost * np.square(control).sum(axis=1) + spec.bonus
        ended = ~spec.alive(engine.positions, engine.velocities)
        obs = engine.observe(self._hidden)
        self._check(1, observation=obs, reward=reward)
        return obs, *rows.advance(reward, ended), {}

    @contextmanager
    def _named_failures(self, begun: int) -> Iterator[None]:
        """Raise a RuntimeError for what the engine refuses to compute; ``begun`` is 1 in a step, else 0."""
        try:
            yield
        except SimulationError as error:
            why = str(error).splitlines()[0]
            raise self._failure(int(error.ids[0]), begun, f"MuJoCo fails ({why})") from error

    def _check(self, begun: int, **results: NDArray[Any]) -> None:
        """Raise a RuntimeError or warn of what the engine complains of or gets wrong, by name "n ..."."""
        for row, kind, text in self.engine.complaints():
            if kind in _FALLEN_APART:
                raise self._failure(row, begun, f"MuJoCo gives up ({text})")
            warnings.warn(self._of(row, begun, f"MuJoCo warns ({text})"), RuntimeWarning, stacklevel=3)
        for name, values in results.items():
            finite = np.isfinite(values)
            if not finite.all():
                row = int(np.argwhere(~finite)[0, 0])
                raise self._failure(row, begun, f"the {name} is not finite")

    def _failure(self, row: int, begun: int, what: str) -> RuntimeError:
        step = int(self._rows.time[row]) + begun
        return of_row(RuntimeError(self._of(row, begun, what)), row, step)

    def _of(self, row: int, begun: int, what: str) -> str:
        """Return a line that says where something happened."""
        rows = self._rows
        task = ", ".join(f"{key} {value[row].tolist()}" for key, value in rows.task.items())
        task = task if len(task) <= 120 else f"{task[:120]}…"
        step = rows.time[row] + begun
        return f"{self._model.title}: {what} at step {step} of row {row}, whose task is {task}"


class MujocoEnv(gymnasium.Env[NDArray[Any], Any]):
    """The single environment: ``MujocoVectorEnv`` with one row (``options={"task": {key: one row}}``).

    Args:
        model: the family's robot under one spec.
        render_mode: "rgb_array" for pictures by ``render()``; None for none.
    """

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, model: Simulated, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"{model.title}: render_mode is {render_mode!r}; allowed: rgb_array, None")
        self.observation_space = model.observation_space
        self.action_space = model.action_space
        self.render_mode = render_mode
        self._row, self._model = MujocoVectorEnv(model, 1, threads=1), model
        self.metadata = self.metadata | {"render_fps": round(1.0 / self._row.engine.time_step)}
        self._camera: Camera | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start an episode; without a task one for training is drawn from the seed; info["task"] names it."""
        super().reset(seed=gymnasium_seed(seed))
        return reset_one(self._row, seed, options)

    def step(self, action: Any) -> OneStep:
        """Take one time step; after the end of the episode nothing moves and the reward is 0."""
        return step_one(self._row, action)

    def render(self) -> NDArray[np.uint8]:
        """Draw the robot as it stands: uint8 "height width 3"."""
        if self.render_mode is None:
            raise ValueError(
                f"{self._model.title}: render() of an environment without render_mode='rgb_array'"
            )
        model, data = self._row.engine.data(0)
        if self._camera is None:
            self._camera = Camera(model, self._model.robot.distance)
        return self._camera.picture(model, data)

    def close(self) -> None:
        """Give the camera's OpenGL context back."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None
