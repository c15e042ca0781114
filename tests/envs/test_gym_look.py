"""What a look at an environment finds before a run."""

import random
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from metarl_envs import GymFamily, Uniform
from row_by_row import refused


class Walk(gymnasium.Env[Any, Any]):
    """A random walk whose noise comes from the seed, to be spoilt by a subclass."""

    observation_space, action_space = Box(-50.0, 50.0, (1,), np.float32), Discrete(3)

    def __init__(self) -> None:
        self.drift = 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.x = float(self.np_random.normal())
        return np.array([self.x], np.float32), {}

    def step(self, action: Any) -> Any:
        self.x += self.drift + float(self.np_random.normal())
        return np.array([self.x], np.float32), self.x, False, False, {}


class Seedless(Walk):
    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return super().reset()


class SeedlessLater(Walk):
    def step(self, action: Any) -> Any:
        self.x += random.random()
        return super().step(action)


class EndsByChance(Walk):
    lengths = [4, 6]

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.left = self.lengths.pop()
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        self.left -= 1
        obs, reward, _, _, info = super().step(action)
        return obs, reward, self.left == 0, False, info


def spoilt(name: str, step: Any = lambda given: given, reset: Any = lambda given: given) -> Any:
    """A walk that gives something else."""
    body = {
        "step": lambda self, action: step(Walk.step(self, action)),
        "reset": lambda self, **options: reset(Walk.reset(self, **options)),
    }
    return type(name, (Walk,), body)


Outside = spoilt("Outside", lambda given: (np.array([51.0], np.float32), *given[1:]))
OutsideAtOnce = spoilt("OutsideAtOnce", reset=lambda given: (np.array([np.nan], np.float32), given[1]))
OtherShape = spoilt("OtherShape", lambda given: (np.zeros(2, np.float32), *given[1:]))
Rich = spoilt("Rich", lambda given: (given[0], np.inf, *given[2:]))
OldApi = spoilt("OldApi", lambda given: given[:4])
Over = spoilt("Over", lambda given: (*given[:2], True, *given[3:]))


class Raises(Walk):
    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        raise KeyError("no map\nof any kind")


class OverButForOne(Walk):
    """The third action goes on."""

    def step(self, action: Any) -> Any:
        obs, reward, _, _, info = super().step(action)
        return obs, reward, action != 2, False, info


def family(env: Any, **more: Any) -> Any:
    body = {"env": env, "attributes": {"drift": Uniform(0.0, 1.0)}, "horizon": 30}
    return type("Walks", (GymFamily,), body | more)()


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (Seedless, ["two resets with one seed differ in what they return"]),
        (SeedlessLater, ["two resets with one seed differ at step 1"]),
        (EndsByChance, ["two episodes of one seed end after 6 and 4 steps"]),
        (Outside, ["observation of row 0 at step 1, entry [0], is 51.0", "finite numbers"]),
        (OutsideAtOnce, ["observation of row 0 at step 0, entry [0], is nan", "finite numbers"]),
        (OtherShape, ["observation"]),
        (Rich, ["reward of row 0 at step 1 is inf", "finite numbers"]),
        (OldApi, ["expected 5, got 4"]),
        (Raises, ["KeyError: 'no map"]),
        (Over, ["every episode ends with its first step", "horizon = 1"]),
    ],
)
def test_a_bad_environment_is_refused_with_its_name(env: Any, words: list[str]) -> None:
    with refused(f"Walks/{env.__name__}: ", *words):
        family(env)


def test_good_ones_are_not() -> None:
    assert family(Walk).horizon == 30
    assert family(OverButForOne).horizon == 30
    assert family(Over, horizon=1).horizon == 1


def test_a_metric_of_success_needs_environments_that_speak_of_it() -> None:
    class SaysAtItsEnd(Walk):
        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            self.left = 20
            return super().reset(seed=seed)

        def step(self, action: Any) -> Any:
            self.left -= 1
            *seen, info = super().step(action)
            return (*seen[:2], self.left == 0, False, info | ({} if self.left else {"is_success": False}))

    assert family(SaysAtItsEnd, metric="success").horizon == 30
    with refused("Walks/Walk: metric is 'success'", "no info"):
        family(Walk, metric="success")


def test_one_environment_is_made_and_then_used() -> None:
    made: list[int] = []

    class Counted(Walk):
        def __init__(self) -> None:
            made.append(1)
            super().__init__()

    vector = family(Counted).make_vec(2)
    vector.reset(seed=0)
    assert len(made) == 2
