"""The single environment of a ``GymFamily``: a Gymnasium environment that is made what its task says."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from numpy.typing import NDArray

from metarl_envs.any_gym.spaces import Reader, Writer
from metarl_envs.base import row_draws
from metarl_envs.base.formulas import Served, read_tasks
from metarl_envs.base.rows import OneStep, drawn, gymnasium_seed


class BuiltEnv(NamedTuple):
    """An environment, the arguments that it was made of, and its ``originals``: values before any change."""

    env: gymnasium.Env[Any, Any]
    arguments: dict[str, Any]
    originals: dict[str, Any]


@runtime_checkable
class Adapted(Served, Protocol):
    """A family as its environment asks it; each part as in ``GymFamily``."""

    reader: Reader
    writer: Writer

    def arguments_of(self, task: dict[str, Any]) -> dict[str, Any]:
        """Return the constructor's arguments for one task."""

    def build(self, arguments: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        """Make the environment of a constructor's arguments."""

    def originals(self, env: gymnasium.Env[Any, Any]) -> dict[str, Any]:
        """Return a new environment's own values of all that tasks change, by name."""

    def change(
        self, env: gymnasium.Env[Any, Any], originals: dict[str, Any], task: dict[str, Any]
    ) -> dict[str, Any]:
        """Make the environment that of the task; return the options for its reset."""


class GymEnv(gymnasium.Env[NDArray[Any], Any]):
    """One environment; ``reset(options={"task": {key: value}})`` makes it that of the task.

    The inner environment is made anew where the task has other constructor arguments than the last one had.
    Without a task one for training is drawn from the seed; without a seed it follows on from its own last
    one. info["task"] names the task. The environment's infos are passed on, "is_success" as "success" too.

    Args:
        inner: one that is there already.
    """

    def __init__(
        self,
        family: Adapted,
        inner: BuiltEnv | None = None,
        render_mode: str | None = None,
    ) -> None:
        self._family, self.render_mode = family, render_mode
        self.observation_space: Box = family.reader.space
        self.action_space: Box | Discrete | MultiDiscrete = family.writer.space
        self._seeds: row_draws.Seeds | None = None
        self._time = 0
        self.inner = inner

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start an episode; see the class."""
        super().reset(seed=gymnasium_seed(seed))
        family, task = self._family, self._read(seed, options or {})
        inner = self._made(family.arguments_of(task))
        reset_options = family.change(inner.env, inner.originals, task)
        assert self._seeds is not None
        start = int(row_draws.uniform(self._seeds, 1)[0, 0] * 2**31)  # what every environment takes
        obs, info = inner.env.reset(seed=start, options=reset_options or None)
        self._time = 0
        return family.reader.read(obs), {**_named(info), "task": task}

    def _read(self, seed: int | None, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the task to start, after checking the options; move the seed on."""
        family = self._family
        if unknown := sorted(map(str, set(options) - {"task"})):
            raise ValueError(f"{family.title}: reset option {unknown[0]!r}; allowed: task")
        handed = options.get("task")
        before = self._seeds if seed is None else None
        seeds = row_draws.row_seeds(seed, 1) if before is None else row_draws.next_seeds(before)
        if isinstance(handed, Mapping):
            handed = {key: [value] for key, value in handed.items()}
        rows = drawn(family, seeds) if handed is None else read_tasks(family, handed, 1)
        self._seeds = seeds
        return {key: value[0] for key, value in rows.items()}

    def _made(self, arguments: dict[str, Any]) -> BuiltEnv:
        if self.inner is not None and not _same(self.inner.arguments, arguments):
            self.close()
        if self.inner is None:
            env = self._family.build(arguments, self.render_mode)
            self.inner = BuiltEnv(env, arguments, self._family.originals(env))
        return self.inner

    def step(self, action: Any) -> OneStep:
        """Take one time step; actions beyond a Box's bounds act like the bounds."""
        assert self.inner is not None, "reset comes first"
        family = self._family
        obs, reward, terminated, truncated, info = self.inner.env.step(family.writer.write(action))
        self._time += 1
        over = bool(terminated)
        cut = not over and (bool(truncated) or self._time >= family.horizon)
        return family.reader.read(obs), float(reward), over, cut, _named(info)

    def render(self) -> Any:
        """Draw the environment; RuntimeError where the library that it draws with is missing."""
        assert self.inner is not None, "reset comes first"
        try:
            return self.inner.env.render()
        except DependencyNotInstalled as error:
            raise RuntimeError(str(error)) from error

    def close(self) -> None:
        """Close the environment, if there is one."""
        if self.inner is not None:
            self.inner.env.close()
        self.inner = None


def _named(info: dict[str, Any]) -> dict[str, Any]:
    return {**info, "success": info["is_success"]} if "is_success" in info else info


def _same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return all(np.array_equal(one[key], two[key]) for key in one)
