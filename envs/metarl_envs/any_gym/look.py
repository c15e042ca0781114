"""A short look at an environment before a run, so that faults are found at the start and named."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import extract_tb
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.envs.registration import registry
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from metarl_envs.base.formulas import Tasks
from metarl_envs.base.single_rows import SingleRows, SteppedFamily

STEPS, EPISODES = 10, 20  # of one episode that is looked at, and tried where all end with their first step


@runtime_checkable
class Looked(SteppedFamily, Protocol):
    """A family that can be looked at."""

    title: str


@contextmanager
def errors_named(title: str) -> Iterator[None]:
    """Turn any error of an environment into a ValueError of one line that begins with the title."""
    try:
        yield
    except Exception as error:
        where = f"in {extract_tb(error.__traceback__)[-1].name}"
        line = next(iter(str(error).strip().splitlines()), where)
        if isinstance(error, ValueError) and line.startswith(title):
            raise
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        raise ValueError(f"{title}: {kind}{line}") from error


def time_limit(env: gymnasium.Env[Any, Any], title: str) -> int:
    """Return the time steps after which the environment is truncated; ValueError if there is no limit."""
    spec = env.spec
    limit = None if spec is None else spec.max_episode_steps
    if spec is not None and limit is None and spec.id in registry:
        limit = registry[spec.id].max_episode_steps  # which is left out when the environment is made
    if limit is None:
        raise ValueError(
            f"{title}: the environment has no time limit; allowed: a horizon, as in horizon = 200"
        )
    return limit


def look(family: Looked) -> SingleRows:
    """Play the beginning of one episode twice; return the environment, as a row.

    Raises:
        ValueError: of one line, for observations or rewards that are not what the spaces promise, for two
            resets with one seed that differ, and for episodes that all end with their first step although
            the horizon is longer, and for a metric of success of which an episode does not speak.
    """
    rows = SingleRows(family, 1)
    task = family.sample_tasks(1, np.random.default_rng(0))
    first, again = _played(family, rows, task), _played(family, rows, task)
    for step, (one, two) in enumerate(zip(first, again, strict=False)):
        if not np.allclose(one, two, rtol=1e-5, atol=1e-6):
            where = f"at step {step} after them" if step else "in what they return"
            raise ValueError(
                f"{family.title}: two resets with one seed differ {where}; "
                "allowed: environments that draw everything from reset(seed=...)"
            )
    if len(first) != len(again):
        ends = f"{len(first) - 1} and {len(again) - 1} steps"
        raise ValueError(f"{family.title}: two episodes of one seed end after {ends}; allowed: the same")
    if len(first) == 2 and family.horizon > 1 and _always_one_step(family, rows):
        raise ValueError(
            f"{family.title}: every episode ends with its first step; allowed: longer ones, or horizon = 1"
        )
    if getattr(family, "metric", "return") == "success" and not _says_success(family, rows, task):
        raise ValueError(
            f"{family.title}: metric is 'success', but the steps of an episode have no info['success']; "
            "allowed: environments that say success or is_success there"
        )
    return rows


def _played(family: Looked, rows: SingleRows, task: Tasks) -> list[NDArray[Any]]:
    """Return observation and reward after a reset and after each step, "n" each."""
    space = copy.deepcopy(family.action_space)
    space.seed(0)
    seen = [rows.reset(seed=[0], options={"task": task})[0].ravel()]
    for _ in range(min(STEPS, family.horizon)):
        obs, reward, terminated, truncated, _ = rows.step(np.asarray(space.sample())[None])
        seen.append(np.append(obs.ravel(), reward))
        if terminated[0] or truncated[0]:
            break
    return seen


def _says_success(family: Looked, rows: SingleRows, task: Tasks) -> bool:
    """Return True if an episode speaks of success, as some do at its end alone."""
    space = copy.deepcopy(family.action_space)
    space.seed(0)
    rows.reset(seed=[0], options={"task": task})
    for _ in range(family.horizon):
        _, _, terminated, truncated, infos = rows.step(np.asarray(space.sample())[None])
        if "success" in infos or terminated[0] or truncated[0]:
            return "success" in infos
    return False


def _always_one_step(family: Looked, rows: SingleRows) -> bool:
    """Return True if episodes of other tasks, seeds and actions end with their first step too."""
    space = copy.deepcopy(family.action_space)
    space.seed(0)
    tasks = family.sample_tasks(EPISODES, np.random.default_rng(1))
    for i in range(EPISODES):
        rows.reset(seed=[i], options={"task": {key: x[i : i + 1] for key, x in tasks.items()}})
        action: Any = space.start + i % space.n if isinstance(space, Discrete) else space.sample()
        _, _, terminated, truncated, _ = rows.step(np.asarray(action)[None])
        if not (terminated[0] or truncated[0]):
            return False
    return True
