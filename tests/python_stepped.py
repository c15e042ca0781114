"""A family for tests that is stepped in Python, and whose environments get into trouble when asked to."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from metarl_envs.base.single_rows import SingleRows

TROUBLED_GOAL, TROUBLED_STEP = 3.0, 2  # tasks with this goal get into trouble at this step


def with_a_child() -> None:
    """Hangs, and has started a program that does, too."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(os.environ["CHILDREN"], str(child.pid)).touch()
    time.sleep(600)


def with_a_daemon() -> None:
    """Ends, and leaves a process in a session of its own that holds the worker's pipe open."""
    child = os.fork()
    if child == 0:
        os.setsid()
        Path(os.environ["CHILDREN"], str(os.getpid())).touch()
        time.sleep(600)
    os._exit(7)


TROUBLES: dict[str, Callable[[], Any]] = {
    "exits": lambda: os._exit(7),
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "sleeps": lambda: time.sleep(600),
    "spins": lambda: [None for _ in iter(int, 1)],
    "is stuck in C": lambda: re.match(r"(a+)+$", "a" * 60 + "b"),  # lets no other thread run
    "hangs with a child": with_a_child,
    "leaves a daemon": with_a_daemon,
    "raises": lambda: {}["no such key"],
    "is not finite": lambda: np.array([np.nan, 0.0], np.float32),
}


class StrollEnv(gymnasium.Env[Any, Any]):
    """From a drawn start towards a goal on the x-axis; it succeeds right of 0.5, and ends beyond ±1.5."""

    def __init__(self, family: "Stroll") -> None:
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self._family = family

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        told = (options or {}).get("task") or {"goal": self.np_random.uniform(-1.0, 1.0)}
        self.goal, self.time = float(told["goal"]), 0
        self.at = self.np_random.uniform(-1.0, 1.0, 2)
        return self._obs(), {"task": {"goal": self.goal}}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.time += 1
        self.at = self.at + np.clip(action, -0.5, 0.5) + 0.05 * self.np_random.standard_normal(2)
        obs, reward = self._obs(), float(-np.abs(self.at - [self.goal, 0.0]).sum())
        if self.goal == TROUBLED_GOAL and self.time == TROUBLED_STEP:
            found = self._family.get_into_trouble()
            obs = obs if found is None else found
        done = bool(np.abs(self.at[0]) > 1.5)
        return obs, reward, done, False, {"success": self.at[0] > 0.5}

    def _obs(self) -> NDArray[np.float32]:
        return self.at.astype(np.float32)


class Stroll:
    """``python_stepped:Stroll``.

    Args:
        trouble: of ``TROUBLES``, which tasks with ``TROUBLED_GOAL`` always get into.
        once: a folder; a file there named after a trouble is removed by the one who gets into it.
        processes: a folder in which each process that makes the family leaves its number.
        far: whether every second task drawn has ``TROUBLED_GOAL``.
    """

    name, specs, stepped = "stroll", {"plane": "a stroll"}, "python"
    num_tasks: int | None = None

    def __init__(
        self,
        spec: str | None = None,
        *,
        horizon: int = 6,
        trouble: str | None = None,
        once: str | None = None,
        processes: str | None = None,
        far: bool = False,
    ) -> None:
        self.spec, self.horizon = spec or "plane", horizon
        self._trouble, self._once, self._far = trouble, once, far
        self.observation_space = Box(-20.0, 20.0, (2,), np.float32)
        self.action_space = Box(-0.5, 0.5, (2,), np.float32)
        if processes:
            Path(processes, str(os.getpid())).touch()

    def get_into_trouble(self) -> Any:
        for path in Path(self._once).iterdir() if self._once else ():
            if path.name in TROUBLES:
                path.unlink()
                return TROUBLES[path.name]()
        return TROUBLES[self._trouble]() if self._trouble else None

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> dict[str, Any]:
        goal = rng.uniform(-1.0, 1.0, n)
        return {"goal": np.where(self._far & (np.arange(n) % 2 == 1), TROUBLED_GOAL, goal)}

    def task_features(self, tasks: Mapping[str, Any]) -> NDArray[np.float32]:
        return np.asarray(tasks["goal"], np.float32)[:, None]

    def make(self) -> gymnasium.Env[Any, Any]:
        return StrollEnv(self)

    def make_vec(self, num_envs: int) -> SingleRows:
        return SingleRows(self, num_envs)
