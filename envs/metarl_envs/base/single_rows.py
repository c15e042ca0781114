"""Single environments as the rows of a vector environment, stepped one after another in Python."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from metarl_envs.base.formulas import Tasks, of_row
from metarl_envs.base.rows import Rows, Seed, StepResult


@runtime_checkable
class SteppedFamily(Protocol):
    """A family of environments that ``SingleRows`` steps.

    The environments that ``make()`` gives take seeds below 2⁶⁴ and tasks of float64 by ``reset(seed=...,
    options={"task": ...})``, name their task in info["task"], and do not start again by themselves.
    """

    name: str
    spec: str
    horizon: int

    @property
    def observation_space(self) -> Box:
        """The space of one environment's observations."""

    @property
    def action_space(self) -> Box | Discrete | MultiDiscrete:
        """The space of one environment's actions."""

    def sample_tasks(self, n: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Draw training tasks, whose shapes are those of all tasks."""

    def make(self) -> gymnasium.Env[Any, Any]:
        """Return one environment."""


REALS = Box(-np.inf, np.inf, (), np.float64)


class _Model:
    """A family as ``Rows`` sees it (``formulas.Stated``)."""

    refuse = None

    def __init__(self, family: SteppedFamily) -> None:
        self.title, self.horizon = f"{family.name}/{family.spec}", family.horizon
        self.observation_space, self.action_space = family.observation_space, family.action_space
        shapes = getattr(family, "task_shapes", None)  # stated where tasks are slow to draw
        if shapes is None:
            example = family.sample_tasks(1, np.random.default_rng(0))
            shapes = {key: x.shape[1:] for key, x in example.items()}
        self.task_shapes = shapes


class SingleRows(VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]]):
    """``num_envs`` environments of ``family.make()``, stepped one after another; nothing resets by itself.

    It keeps to what ``formula_envs.AnalyticVectorEnv`` says of seeds, tasks, ``reset_mask`` and frozen rows;
    without a task each environment draws its own. An episode is truncated at the family's horizon, if it has
    not ended before. infos["success"] is float64 "num_envs" where the environments tell it (a row that does
    not, or is frozen, has 0).

    An exception of an environment's is passed on, and a ValueError is raised for an observation or a reward
    that is not what the spaces promise; either carries the attributes ``row`` and ``step`` (from 1; 0 is the
    reset). Afterwards the rows do not stand at one step any more: reset them all.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, family: SteppedFamily, num_envs: int) -> None:
        self._model = model = _Model(family)
        self._rows = Rows(model, num_envs)
        self.num_envs = self._rows.num_envs
        self.single_observation_space = self._space = space = model.observation_space
        self.single_action_space = model.action_space
        self.observation_space = batch_space(space, num_envs)
        self.action_space = batch_space(model.action_space, num_envs)
        self.envs = [family.make() for _ in range(num_envs)]
        self._bounded = space.dtype != np.uint8 or bool((space.low > 0).any() or (space.high < 255).any())
        self._obs = np.zeros((num_envs, *space.shape), space.dtype)

    def reset(
        self, *, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start the masked rows; see the class."""
        rows = self._rows
        mask, seeds, handed = rows.read_reset(seed, options)
        shapes = self._model.task_shapes
        task = {key: np.zeros((self.num_envs, *shape)) for key, shape in shapes.items()}
        for row in np.flatnonzero(mask).tolist():
            options_of_row = None if handed is None else {"task": {key: x[row] for key, x in handed.items()}}
            with _in_row(row, 0):
                obs, info = self.envs[row].reset(seed=int(seeds[row]), options=options_of_row)
                self._enter(row, obs)
                self._name(row, info.get("task"), task)
        self._check_obs(begun=0)
        return self._obs.copy(), rows.restart(mask, seeds, task)

    def step(self, actions: NDArray[Any]) -> StepResult:
        """Take one time step in every row that is not frozen.

        Args:
            actions: "num_envs ..." as in ``action_space``.
        """
        rows, n = self._rows, self.num_envs
        actions = rows.read_actions(actions).astype(self.single_action_space.dtype, copy=False)
        reward, success = np.zeros((2, n))
        terminated, truncated = np.zeros((2, n), np.bool_)
        speaks_of_success = False
        for row in np.flatnonzero(~rows.done).tolist():
            with _in_row(row, int(rows.time[row]) + 1):
                obs, reward[row], terminated[row], truncated[row], info = self.envs[row].step(actions[row])
                self._enter(row, obs)
                if "success" in info:
                    success[row], speaks_of_success = info["success"], True
        self._check_obs(begun=1)
        self._refuse("reward", reward, np.isfinite(reward), 1, REALS)
        infos = {"success": success} if speaks_of_success else {}
        return self._obs.copy(), *rows.advance(reward, terminated, truncated), infos

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()

    def _enter(self, row: int, obs: Any) -> None:
        row_obs, wanted = np.asarray(obs), self._obs
        if row_obs.shape != wanted.shape[1:] or row_obs.dtype != wanted.dtype:
            allowed = f"{wanted.dtype} {wanted.shape[1:]}"
            raise ValueError(
                f"{self._model.title}: observation of row {row} is {row_obs.dtype} {row_obs.shape}; "
                f"allowed: {allowed}"
            )
        wanted[row] = row_obs

    def _name(self, row: int, named: Any, task: Tasks) -> None:
        shapes = {key: np.shape(x) for key, x in named.items()} if isinstance(named, Mapping) else named
        if shapes != self._model.task_shapes:
            allowed = f"the shapes {self._model.task_shapes}"
            raise ValueError(
                f"{self._model.title}: info['task'] of row {row} has {shapes}; allowed: {allowed}"
            )
        for key, values in task.items():
            values[row] = named[key]

    def _check_obs(self, begun: int) -> None:
        """Raise a ValueError for an observation outside the space; ``begun`` is 1 in a step, in a reset 0."""
        space, obs = self._space, self._obs
        if self._bounded:
            inside = (obs >= space.low) & (obs <= space.high) & np.isfinite(obs)
            self._refuse("observation", obs, inside, begun, space)

    def _refuse(
        self, what: str, values: NDArray[Any], good: NDArray[np.bool_], begun: int, allowed: object
    ) -> None:
        """Raise a ValueError for the first row that is not ``good`` in all its values, both "n ..."."""
        if not good.all():
            row = int(np.argwhere(~good)[0, 0])
            step = int(self._rows.time[row]) + 1 if begun else 0
            place = tuple(np.argwhere(~good[row])[0].tolist())
            entry = f", entry {list(place)}," if place else ""
            value = values[(row, *place)].item()
            line = (
                f"{what} of row {row} at step {step}{entry} is {value}; allowed: finite numbers in {allowed}"
            )
            raise of_row(ValueError(f"{self._model.title}: {line}"), row, step)


@contextmanager
def _in_row(row: int, step: int) -> Iterator[None]:
    """Give whatever is raised within the attributes ``row`` and ``step``."""
    try:
        yield
    except Exception as error:
        of_row(error, row, step)
        raise
