"""What an environment answers is looked at, and whatever goes wrong names task, episode and step."""

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv

from metarl.core.errors import Diverged, EnvironmentFailed
from metarl.rollout.checked import Checked

TASKS = {"goal": np.array([[0.5, 1.0], [2.0, 3.0]]), "mass": np.array([1, 2])}
GOING = np.array([True, True, False, True])  # of two tasks' two episodes; row 2 has ended
ACTION = np.zeros((4, 1), np.float32)
TITLE = "family 'x' (v0)"
LAST = r"task 6 \{'goal': \[2.0, 3.0\], 'mass': 2\}, episode 1"  # row 3, counted from task 5
SECOND = r"task 5 \{'goal': \[0.5, 1.0\], 'mass': 1\}, episode 1"


def good() -> tuple[Any, ...]:
    """An answer of four rows."""
    no = np.zeros(4, bool)
    return np.zeros((4, 3), np.float32), np.ones(4), no, no.copy(), {}


class Scripted(VectorEnv[Any, Any, Any]):
    """Gives what it is told to give, or raises it."""

    single_observation_space = Box(-1.0, 1.0, (3,), np.float32)
    single_action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self) -> None:
        self.answer: Any = good()
        self.steps = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.seed, self.options = seed, options
        return self._given()[0], {}

    def step(self, actions: Any) -> Any:
        self.steps += 1
        return self._given()

    def _given(self) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def checked() -> tuple[Scripted, Checked]:
    env: Any = Scripted()
    served = Checked(env, TASKS, 2, TITLE, first_task=5)
    served.reset([1, 2, 3, 4])
    return env, served


def told(match: str, **changes: Any) -> EnvironmentFailed:
    """What the second step raises when parts of its answer are ``changes``."""
    env, served = checked()
    served.step(ACTION, ACTION, GOING)
    names = ("obs", "reward", "terminated", "truncated")
    env.answer = (*(changes.get(name, x) for name, x in zip(names, good(), strict=False)), {})
    with pytest.raises(EnvironmentFailed, match=f"^family 'x' \\(v0\\): {match}$") as caught:
        served.step(ACTION, ACTION, GOING)
    assert caught.value.step == 2
    return caught.value


def with_entry(x: np.ndarray, place: Any, value: float) -> np.ndarray:
    x = x.copy()
    x[place] = value
    return x


def test_each_row_is_reset_with_its_task() -> None:
    env, served = checked()
    assert env.seed == [1, 2, 3, 4]
    assert env.options["task"]["goal"].tolist() == [[0.5, 1.0]] * 2 + [[2.0, 3.0]] * 2
    assert env.options["task"]["mass"].tolist() == [1, 1, 2, 2]
    assert served.step(ACTION, ACTION, GOING) is env.answer


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_name_their_row(value: float) -> None:
    obs, reward, *_ = good()
    told(
        rf"{LAST}, step 2: the observation is \[0.0, {value}, 0.0\], not finite",
        obs=with_entry(obs, (3, 1), value),
    )
    told(rf"{SECOND}, step 2: the reward is {value}, not finite", reward=with_entry(reward, 1, value))


def test_large_numbers_and_whatever_an_ended_row_says_are_fine() -> None:
    env, served = checked()
    obs, reward, *rest = good()
    for answer in (
        (with_entry(obs, (3, 1), 3e38), with_entry(reward, 1, 1e300), *rest),
        (with_entry(obs, (2, 1), np.nan), with_entry(reward, 2, np.inf), *rest),
        (obs.astype(np.float64), reward.astype(np.int64), *rest),
        (obs, reward.astype(np.float32), *rest),
        (obs.tolist(), reward.tolist(), [False] * 4, [True] * 4, {}),
    ):
        env.answer = answer
        assert served.step(ACTION, ACTION, GOING) is answer


def test_wrong_shapes_and_kinds_are_refused() -> None:
    obs, reward, flags, *_ = good()
    wanted = r"its space has float32 \(4, 3\)"
    told(rf"step 2: the observations are float32 \(4, 2\), {wanted}", obs=obs[:, :2])
    told(rf"step 2: the observations are float32 \(3,\), {wanted}", obs=obs[0])
    told(rf"step 2: the observations are complex64 \(4, 3\), {wanted}", obs=obs.astype(np.complex64))
    told(rf"step 2: the observations are object \(4,\), {wanted}", obs=np.array([None] * 4))
    told(r"step 2: reward is float64 \(4, 1\), allowed: numbers \(4,\)", reward=reward[:, None])
    told(r"step 2: reward is float64 \(\), allowed: numbers \(4,\)", reward=1.0)
    told(r"step 2: reward is object \(4,\), allowed: numbers \(4,\)", reward=np.array([None] * 4))
    told(r"step 2: terminated is int64 \(4,\), allowed: bool \(4,\)", terminated=flags.astype(np.int64))
    told(r"step 2: truncated is bool \(1,\), allowed: bool \(4,\)", truncated=flags[:1])


def test_whole_numbers_are_not_replaced_by_fractions() -> None:
    class Image(Scripted):
        single_observation_space = Box(0, 255, (3,), np.uint8)

    env: Any = Image()
    env.answer = (good()[0].astype(np.uint8), *good()[1:])
    served = Checked(env, TASKS, 2, TITLE)
    served.reset(None)
    served.step(ACTION, ACTION, GOING)
    env.answer = good()
    with pytest.raises(EnvironmentFailed, match=r"float32 \(4, 3\), its space has uint8 \(4, 3\)$"):
        served.step(ACTION, ACTION, GOING)


@pytest.mark.parametrize("when", ["reset", "step"])
def test_what_is_raised_is_the_cause(when: str) -> None:
    def failing(error: BaseException) -> str:
        env, served = checked()
        env.answer = error
        with pytest.raises(EnvironmentFailed) as caught:
            served.reset(None) if when == "reset" else served.step(ACTION, ACTION, GOING)
        assert caught.value.__cause__ is error
        return str(caught.value)

    at = "reset" if when == "reset" else "step 1"
    assert failing(KeyError("wheel")) == f"{TITLE}: {at}: KeyError: 'wheel'"
    assert failing(SystemExit(7)) == f"{TITLE}: {at}: SystemExit: 7"  # an environment ends no run
    assert failing(ValueError()) == f"{TITLE}: {at}: ValueError"
    assert failing(ValueError("one\ntwo")) == f"{TITLE}: {at}: ValueError: one"
    known = RuntimeError("unstable")
    vars(known).update(row=3, step=17)
    where = "task 6 {'goal': [2.0, 3.0], 'mass': 2}, episode 1"
    assert failing(known) == f"{TITLE}: {where}, step 17: RuntimeError: unstable"
    vars(known).update(row=np.int64(3), step=0)
    assert failing(known) == f"{TITLE}: {where}, reset: RuntimeError: unstable"
    for row, step in ((4, 1), (-1, 1), ("3", 1), (None, None)):  # attributes that mean something else
        vars(known).update(row=row, step=step)
        assert failing(known).startswith(f"{TITLE}: {at if step is None else 'step 1'}: ")


def test_actions_that_are_not_finite_are_the_policy_s_fault_and_never_taken() -> None:
    env, served = checked()
    served.step(ACTION, ACTION, GOING)
    served.step(with_entry(ACTION, 2, np.nan), ACTION, GOING)  # of the row that has ended
    with pytest.raises(
        Diverged, match=rf"{LAST}, step 3: the policy's action is \[inf\], not finite$"
    ) as caught:
        served.step(with_entry(ACTION, 3, np.inf), ACTION, GOING)
    assert (env.steps, caught.value.step, caught.value.samples) == (2, 3, 0)


def test_long_tasks_are_cut_short() -> None:
    env: Any = Scripted()
    env.answer = ValueError("x")
    vars(env.answer).update(row=0, step=0)
    with pytest.raises(
        EnvironmentFailed, match=r"task 0 \{'map': \[[01., ]{100,160}\.\.\., episode 0, reset"
    ):
        Checked(env, {"map": np.zeros((4, 100))}, 1, TITLE).reset(None)
