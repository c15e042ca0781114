"""Bits and arrays of families of formulas."""

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete


def same(one: Any, two: Any) -> bool:
    """Equal types of number and equal bits."""
    one, two = np.asarray(one), np.asarray(two)
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


def actions_of(family: Any, random: np.random.Generator, lead: tuple[int, ...]) -> np.ndarray:
    """Random actions with the given leading axes, some beyond a Box's bounds."""
    space = family.action_space
    if isinstance(space, Discrete):
        return random.integers(space.n, size=lead)
    if isinstance(space, MultiDiscrete):
        return space.start + random.integers(space.nvec, size=(*lead, *space.shape))
    return (random.normal(size=(*lead, *space.shape)) * space.high).astype(np.float32)


def check_arrays_are_nobody_elses(family: Any) -> None:
    """Asserts that writing into what was handed over or handed out changes nothing that comes later."""
    tasks = family.sample_tasks(3, np.random.default_rng(1))
    env, twin = family.make_vec(3), family.make_vec(3)
    twin.reset(seed=0, options={"task": {key: value.copy() for key, value in tasks.items()}})
    obs, info = env.reset(seed=0, options={"task": tasks})
    for array in (obs, *tasks.values(), *info["task"].values()):
        array[...] = 0.25
    for action in actions_of(family, np.random.default_rng(2), (family.horizon + 1, 3)):
        out, expected = env.step(action)[:4], twin.step(action)[:4]
        assert all(same(one, two) for one, two in zip(out, expected, strict=True))
        for array in out:
            array[...] = 1
