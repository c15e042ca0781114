"""Where collections run: in this process, or each a share of the tasks in worker processes.

Both give the same bits. Every draw is addressed by the task's global number, so that it matters neither which
process serves a task nor beside which others; no share has a single task, which would take other kernels.
"""

from typing import Protocol, runtime_checkable

from gymnasium.vector import VectorEnv

from metarl.core.batch import Episodes
from metarl.core.models import Apply
from metarl.core.params import Params
from metarl.rollout.collector import Tasks, collect
from metarl.rollout.family import TaskFamily, title_of
from metarl.rollout.seeding import Address


@runtime_checkable
class Executor(Protocol):
    """Collects the episodes of all tasks of a batch; closed once nothing more is to be collected."""

    def collect(
        self, params: Params, tasks: Tasks, *, episodes: int, address: Address, deterministic: bool = False
    ) -> Episodes:
        """``episodes`` episodes of each task, up to the family's horizon: see ``collect``."""

    def close(self) -> None:
        """Closes the environments and ends the processes."""


class Inline:
    """Collects in this process: what native families, which step all rows at once, are best served by.

    Vector environments are kept from one collection to the next. There are two at most, since training and
    validation, which take turns, may have different numbers of rows.
    """

    def __init__(self, family: TaskFamily, act: Apply) -> None:
        self._family, self._act = family, act
        self._envs: dict[int, VectorEnv] = {}

    def collect(
        self, params: Params, tasks: Tasks, *, episodes: int, address: Address, deterministic: bool = False
    ) -> Episodes:
        """See ``Executor``."""
        return collect(
            self._env(len(next(iter(tasks.values()))) * episodes),
            self._act,
            params,
            tasks,
            episodes=episodes,
            horizon=self._family.horizon,
            address=address,
            deterministic=deterministic,
            title=title_of(self._family),
        )

    def close(self) -> None:
        """Closes the environments."""
        while self._envs:
            self._envs.popitem()[1].close()

    def _env(self, rows: int) -> VectorEnv:
        if rows in self._envs:
            self._envs[rows] = self._envs.pop(rows)  # the latest last
            return self._envs[rows]
        while len(self._envs) > 1:
            self._envs.pop(next(iter(self._envs))).close()
        self._envs[rows] = self._family.make_vec(rows)
        return self._envs[rows]
