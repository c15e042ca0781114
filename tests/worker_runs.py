"""Collections in worker processes, for tests: 5 tasks × 3 episodes, and who of their processes is alive."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import nn

from metarl.core.batch import Episodes
from metarl.core.models import MLP, GaussianMLP, initial_params
from metarl.core.params import Params
from metarl.rollout.acting import acting
from metarl.rollout.collector import Tasks
from metarl.rollout.executors import Executor
from metarl.rollout.inline import Inline
from metarl.rollout.processes import Processes
from metarl.rollout.seeding import Address
from metarl.rollout.worker import Recipe, Setup
from python_stepped import Stroll

ADDRESS = Address(seed=7, use=2, iteration=5, inner_step=1)
GOALS = {"goal": np.array([-1.0, 0.5, 1.0, 3.0, 2.0])}  # the fourth task is the one in trouble, if any is
EPISODES = 3


def network(family: Any) -> nn.Module:
    torch.manual_seed(1)
    size = family.observation_space.shape[0]
    return MLP(size, (5,), 3) if isinstance(family.action_space, Discrete) else GaussianMLP(size, 2, (5,))


def policies(family: Any, m: int) -> Params:
    """One policy a task, all different; the task axis first."""
    torch.manual_seed(0)
    return {name: 0.7 * torch.randn(m, *p.shape) for name, p in initial_params(network(family)).items()}


def inline(cls: type, **arguments: Any) -> Inline:
    family = cls(None, **arguments)
    return Inline(family, acting(network(family)))


def processes(cls: type, workers: int = 2, timeout: float = 60.0, **arguments: Any) -> Processes:
    """Workers, and ``told``, a list of what they warn of."""
    family = cls(None, **{k: v for k, v in arguments.items() if k != "processes"})
    told: list[str] = []
    setup = Setup(Recipe(cls, family.spec, arguments), network(family))
    made = Processes(setup, workers=workers, timeout=timeout, warn=told.append)
    made.told = told  # type: ignore[attr-defined]
    return made


def collected(executor: Executor, cls: type = Stroll, tasks: Tasks | None = None, **options: Any) -> Episodes:
    tasks = GOALS if tasks is None else tasks
    params = policies(cls(None), len(next(iter(tasks.values()))))
    return executor.collect(params, tasks, **{"episodes": EPISODES, "address": ADDRESS, **options})


def alive(pid: int) -> bool:
    """Whether a process is there and is more than an entry that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_gone(pids: Iterable[int], within: float = 20.0) -> bool:
    """Whether all have ended within so many seconds."""
    end = time.monotonic() + within
    while any(map(alive, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def left_in(folder: Path) -> list[int]:
    """The numbers that processes have left in a folder, without this one's."""
    return [int(p.name) for p in folder.iterdir() if p.name.isdigit() and int(p.name) != os.getpid()]
