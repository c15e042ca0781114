"""The executor of this process: environments are kept as long as they are of use, and closed."""

from contextlib import closing
from typing import Any

import numpy as np
import torch

from metarl.core.params import leaves
from metarl.rollout.acting import acting
from metarl.rollout.collector import collect
from metarl.rollout.executors import Executor
from metarl.rollout.inline import Inline
from metarl.rollout.processes import Processes
from tiny_families import Field
from worker_runs import ADDRESS, collected, inline, network, policies

TASKS = {"goal": np.random.default_rng(0).uniform(-1, 1, (5, 2))}


class Counted(Field):
    """Remembers which environments it made, and which of them were closed."""

    def __init__(self, spec: str | None = None) -> None:
        super().__init__(spec)
        self.made: list[int] = []
        self.closed: list[int] = []

    def make_vec(self, num_envs: int) -> Any:
        env = super().make_vec(num_envs)
        self.made.append(num_envs)
        env.close_extras = lambda **_: self.closed.append(num_envs)
        return env


def test_both_are_executors() -> None:
    assert isinstance(inline(Field), Executor)
    assert issubclass(Processes, Executor)


def test_it_is_a_collection_up_to_the_horizon() -> None:
    family = Field()
    act, params = acting(network(family)), policies(family, 5)
    with closing(inline(Field)) as executor:
        found = executor.collect(params, TASKS, episodes=3, address=ADDRESS)
    wanted = collect(family.make_vec(15), act, params, TASKS, episodes=3, horizon=12, address=ADDRESS)
    assert all(map(torch.equal, leaves(found), leaves(wanted)))


def test_the_two_latest_environments_are_kept_and_all_are_closed() -> None:
    family = Counted()
    executor = Inline(family, acting(network(family)))
    for episodes in (1, 2, 1, 2, 1, 3, 1, 2):
        collected(executor, Field, TASKS, episodes=episodes)
    assert family.made == [5, 10, 15, 10]  # 10 went for 15, 15 for 10
    assert family.closed == [10, 15]
    executor.close()
    assert sorted(family.closed) == [5, 10, 10, 15]
    executor.close()
    assert len(family.closed) == 4
