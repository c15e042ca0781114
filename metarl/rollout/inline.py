"""The executors of this process: for a family's vector environments, and for a single given environment."""

from typing import Any

import gymnasium
from gymnasium.vector import VectorEnv

from metarl.core.batch import Episodes
from metarl.core.models import Apply
from metarl.core.params import Params
from metarl.rollout.collector import Tasks, collect, collect_in
from metarl.rollout.family import TaskFamily, title_of
from metarl.rollout.seeding import Address


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
        """Close the environments."""
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


class SingleEnvironment:
    """Collects in one given environment, which is the only task: its episodes run one after another.

    The environment stays its owner's, who closes it.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], act: Apply, horizon: int) -> None:
        self._env, self._act, self._horizon = env, act, horizon

    def collect(
        self, params: Params, tasks: Tasks, *, episodes: int, address: Address, deterministic: bool = False
    ) -> Episodes:
        """See ``Executor``; ``tasks`` has one row, whose content nobody reads."""
        return collect_in(
            self._env,
            self._act,
            params,
            episodes=episodes,
            horizon=self._horizon,
            address=address,
            deterministic=deterministic,
        )

    def close(self) -> None:
        """Leave the environment open."""
