"""Rows of single environments: a lift that counts floors, written here as a plain Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode

from metarl.testing import check_family
from metarl_envs.base import row_draws
from metarl_envs.base.single_rows import SingleRows
from row_by_row import refused


class LiftEnv(gymnasium.Env[Any, Any]):
    """Actions 0 to 2 change the floor by −1, 0, +1 and earn the task's pay; floor 2 ends the episode."""

    def __init__(self, family: Lift) -> None:
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self._family, self.closed, self.steps = family, False, 0

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        seed = int(self.np_random.integers(2**31)) if seed is None else seed
        super().reset(seed=seed % 2**31)
        pay = options["task"]["pay"] if options else np.float64(seed % 5)
        self._task, self._floor, self._time = {"pay": pay}, 0, 0
        self._rest = seed % 7
        self._family.fault(self, "reset")
        return self._obs(), {"task": self._task}

    def step(self, action: Any) -> Any:
        assert action in self.action_space
        self._floor += int(np.sum(action)) - 1
        self._time += 1
        self.steps += 1
        self._family.fault(self, "step")
        ended, late = self._floor == 2, self._time == self._family.horizon
        info = {"success": self._floor == 1} if self._family.tells else {}
        return self._obs(), float(self._task["pay"] * self._floor), ended, late and not ended, info

    def _obs(self) -> Any:
        return np.array([self._floor, self._task["pay"], self._rest], np.float32)

    def close(self) -> None:
        self.closed = True


class Lift:
    name, spec, horizon, num_tasks = "lift", "v1", 4, None
    observation_space = Box(-9.0, 9.0, (3,), np.float32)
    action_space: Any = Discrete(3)

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> dict[str, Any]:
        if split not in ("train", "validation", "test"):
            raise ValueError("lift: no such split")
        return {"pay": rng.uniform(-5.0, 5.0, n)}

    def task_features(self, tasks: Any) -> Any:
        return np.asarray(tasks["pay"], np.float32)[:, None]

    def __init__(self, made: Any = LiftEnv, tells: bool = True) -> None:
        self.made, self.tells = made, tells

    def fault(self, env: LiftEnv, when: str) -> None:
        """What goes wrong."""

    def make(self) -> LiftEnv:
        return self.made(self)

    def make_vec(self, num_envs: int) -> SingleRows:
        return SingleRows(self, num_envs)


def test_the_contract_is_kept() -> None:
    check_family(Lift())
    switches = Lift()
    switches.action_space = MultiDiscrete([2, 2])
    env = SingleRows(switches, 2)
    env.reset(seed=0)
    assert env.step(np.array([[1, 1], [0, 0]]))[0][:, 0].tolist() == [1.0, -1.0]
    with refused("row 1 is [2, 0]; allowed: integers [0, 0] to [1, 1]"):
        env.step(np.array([[1, 1], [2, 0]]))


def test_numbers_by_hand() -> None:
    env = SingleRows(Lift(), 3)
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED and env.num_envs == 3
    obs, info = env.reset(seed=[8, 9, 10], options={"task": {"pay": [1.0, 2.0, 3.0]}})
    assert obs.tolist() == [[0, 1, 1], [0, 2, 2], [0, 3, 3]]
    assert info["task"]["pay"].tolist() == [1.0, 2.0, 3.0]
    seen = [
        env.step(np.array(actions)) for actions in ([2, 0, 1], [2, 2, 1], [2, 2, 1], [0, 1, 1], [2, 2, 2])
    ]
    floors = [step[0][:, 0].tolist() for step in seen]
    assert floors == [[1, -1, 0], [2, 0, 0], [2, 1, 0], [2, 1, 0], [2, 1, 0]]  # up and frozen; horizon of 4
    assert [step[1].tolist() for step in seen] == [[1, -2, 0], [2, 0, 0], [0, 2, 0], [0, 2, 0], [0, 0, 0]]
    assert [step[2].tolist() for step in seen] == [[False] * 3] + 4 * [[True, False, False]]
    assert [step[3].tolist() for step in seen] == 3 * [[False] * 3] + 2 * [[False, True, True]]
    success = [step[4].get("success", np.zeros(0)).tolist() for step in seen]
    assert success == [[1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 1, 0], []]
    assert [single.steps for single in env.envs] == [2, 4, 4]  # a frozen row is not stepped
    obs, info = env.reset(seed=20, options={"reset_mask": np.array([True, False, False])})
    assert obs.tolist() == [[0, 0, 6], [1, 2, 2], [0, 3, 3]]  # 20 mod 5 and mod 7
    assert info["task"]["pay"].tolist() == [0.0, 2.0, 3.0]


def test_a_row_without_a_seed_follows_on_from_its_own() -> None:
    env = SingleRows(Lift(), 2)
    env.reset(seed=[3, 4])
    after = row_draws.next_seeds(np.array([3, 4], np.uint64)).tolist()
    assert env.reset()[0][:, 2].tolist() == [seed % 7 for seed in after]


def test_episodes_are_cut_at_the_familys_horizon_and_where_the_environment_cuts_them() -> None:
    class Short(LiftEnv):
        def step(self, action: Any) -> Any:
            obs, reward, ended, _, info = super().step(action)
            return obs, reward, ended, self._time == self._task["pay"], info

    env = SingleRows(Lift(Short, tells=False), 2)
    env.reset(seed=0, options={"task": {"pay": [2.0, 9.0]}})
    cut = [env.step(np.ones(2, int))[3:] for _ in range(4)]
    wanted = [[False, False], [True, False], [True, False], [True, True]]
    assert [truncated.tolist() for truncated, _ in cut] == wanted
    assert all(info == {} for _, info in cut)


def test_both_ends_at_once_are_the_first_kind() -> None:
    class Both(LiftEnv):
        def step(self, action: Any) -> Any:
            obs, reward, _, _, info = super().step(action)
            return obs, reward, True, True, info

    env = SingleRows(Lift(Both), 1)
    env.reset(seed=0)
    assert [flag.tolist() for flag in env.step(np.array([1]))[2:4]] == [[True], [False]]


@pytest.mark.parametrize("when", ["reset", "step"])
def test_an_exception_knows_its_row_and_step(when: str) -> None:
    class Falls(Lift):
        def fault(self, env: LiftEnv, at: str) -> None:
            if at == when and env._task["pay"] == 2.0 and (at == "reset" or env._time == 3):
                raise KeyError("fell")

    env = SingleRows(Falls(), 3)

    def play() -> None:
        env.reset(seed=0, options={"task": {"pay": [1.0, 3.0, 2.0]}})
        for _ in range(4):
            env.step(np.ones(3, int))

    with pytest.raises(KeyError, match="fell") as caught:
        play()
    assert (caught.value.row, caught.value.step) == (2, 0 if when == "reset" else 3)


def broken(**returned: Any) -> type[LiftEnv]:
    """An environment whose observation or reward is wrong at step 2 of the row whose pay is 2."""

    class Broken(LiftEnv):
        def step(self, action: Any) -> Any:
            obs, reward, *rest = super().step(action)
            wrong = returned if self._task["pay"] == 2.0 and self._time == 2 else {}
            return wrong.get("obs", obs), wrong.get("reward", reward), *rest

    return Broken


@pytest.mark.parametrize(
    ("returned", "line"),
    [
        ({"obs": np.zeros(2, np.float32)}, "observation of row 1 is float32 (2,); allowed: float32 (3,)"),
        ({"obs": np.zeros(3)}, "observation of row 1 is float64 (3,); allowed: float32 (3,)"),
        (
            {"obs": np.array([0, np.nan, 0], np.float32)},
            "observation of row 1 at step 2, entry [1], is nan; allowed: finite numbers in Box(",
        ),
        ({"obs": np.array([0, 0, 10], np.float32)}, "row 1 at step 2, entry [2], is 10.0; allowed: finite"),
        ({"reward": np.inf}, "reward of row 1 at step 2 is inf; allowed: finite numbers"),
        ({"reward": "much"}, "could not convert string"),
    ],
)
def test_nonsense_is_refused(returned: dict[str, Any], line: str) -> None:
    env = SingleRows(Lift(broken(**returned)), 2)
    env.reset(seed=0, options={"task": {"pay": [1.0, 2.0]}})
    env.step(np.ones(2, int))
    with refused(line) as caught:
        env.step(np.ones(2, int))
    assert (caught.value.row, caught.value.step) == (1, 2)


def test_an_observation_at_a_restart_is_of_step_0() -> None:
    class Late(LiftEnv):
        def reset(self, **options: Any) -> Any:
            obs, info = super().reset(**options)
            return (obs + 9 if self.steps else obs), info

    env = SingleRows(Lift(Late), 2)
    env.reset(seed=0)
    env.step(np.ones(2, int))
    with refused("observation of row 1 at step 0") as caught:
        env.reset(seed=0, options={"reset_mask": np.array([False, True])})
    assert (caught.value.row, caught.value.step) == (1, 0)


@pytest.mark.parametrize("info", [{}, {"task": {}}, {"task": {"pay": np.zeros(2)}}])
def test_a_reset_has_to_name_its_task(info: dict[str, Any]) -> None:
    class Silent(LiftEnv):
        def reset(self, **options: Any) -> Any:
            return super().reset(**options)[0], info

    with refused("lift/v1: info['task'] of row 0 has") as caught:
        SingleRows(Lift(Silent), 2).reset(seed=0)
    assert (caught.value.row, caught.value.step) == (0, 0)


def test_observations_that_only_their_type_bounds() -> None:
    class Picture(LiftEnv):
        def _obs(self) -> Any:
            return np.full((2, 2, 1), 255, np.uint8)

    family = Lift(Picture)
    family.observation_space = Box(0, 255, (2, 2, 1), np.uint8)
    assert SingleRows(family, 2).reset(seed=0)[0].shape == (2, 2, 2, 1)
    family.observation_space = Box(0, 254, (2, 2, 1), np.uint8)
    with refused("row 0 at step 0, entry [0, 0, 0], is 255"):
        SingleRows(family, 2).reset(seed=0)


def test_closing_closes_all() -> None:
    env = SingleRows(Lift(), 2)
    env.close()
    assert all(single.closed for single in env.envs)
