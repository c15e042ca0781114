"""One against many, bits, arrays and refusals: what tests of families ask again and again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Discrete, MultiDiscrete


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def same(one: Any, two: Any) -> bool:
    """Equal types of number and equal bits."""
    one, two = np.asarray(one), np.asarray(two)
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


@contextmanager
def refused(*words: Any, error: type[Exception] = ValueError) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Asserts an error of one line that has all these words."""
    with pytest.raises(error, match=r"\A.*\Z") as caught:
        yield caught
    assert not [word for word in map(str, words) if word not in str(caught.value)], str(caught.value)


def actions_of(family: Any, random: np.random.Generator, lead: tuple[int, ...]) -> np.ndarray:
    """Random actions with the given leading axes, some beyond a Box's bounds."""
    space = family.action_space
    if isinstance(space, Discrete):
        return space.start + random.integers(space.n, size=lead)
    if isinstance(space, MultiDiscrete):
        return space.start + random.integers(space.nvec, size=(*lead, *space.shape))
    return (random.normal(size=(*lead, *space.shape)) * space.high).astype(np.float32)


def check_a_row_is_the_same_among_many(family: Any, n: int = 9) -> None:
    """Asserts the bits of n rows, which processors take several at a time, to be those of each alone."""
    tasks, actions = family.sample_tasks(n, rng(1)), actions_of(family, rng(2), (family.horizon, n))

    def play(rows: slice, env: Any) -> list[Any]:
        part = {key: x[rows] for key, x in tasks.items()}
        seen = [env.reset(seed=list(range(n))[rows], options={"task": part})[0]]
        return seen + [x for action in actions for x in env.step(action[rows])[:4]]

    many, alone = play(slice(n), family.make_vec(n)), family.make_vec(1)
    assert {x.dtype for x in many} == {np.dtype(kind) for kind in (np.float32, np.float64, np.bool_)}
    for row in range(n):
        one = play(slice(row, row + 1), alone)
        assert all(same(x[row : row + 1], y) for x, y in zip(many, one, strict=True))


def check_arrays_are_nobody_elses(family: Any) -> None:
    """Asserts that writing into what was handed over or handed out changes nothing that comes later."""
    tasks = family.sample_tasks(3, rng(1))
    env, twin = family.make_vec(3), family.make_vec(3)
    twin.reset(seed=0, options={"task": {key: value.copy() for key, value in tasks.items()}})
    obs, info = env.reset(seed=0, options={"task": tasks})
    for array in (obs, *tasks.values(), *info["task"].values()):
        array[...] = 0.25
    kept: list[Any] = []
    for action in actions_of(family, rng(2), (family.horizon + 1, 3)):
        given = action.copy()
        out, expected = env.step(given)[:4], twin.step(action)[:4]
        assert all(same(one, two) for one, two in zip(out, expected, strict=True)) and same(given, action)
        for array in out:
            array[...] = 1
        kept += [(array, array.copy()) for array in expected]
    assert all(same(*pair) for pair in kept)  # no later step wrote into an earlier array
