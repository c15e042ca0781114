"""One against many, for families of formulas: each row of a vector environment is the single environment."""

from collections.abc import Iterable
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


def check_rows(family: Any, n: int = 7, seed: int = 100) -> None:
    """Asserts equal bits over two episodes a row; rows 1 and 4 are restarted half-way, with other tasks."""
    random = np.random.default_rng(8)
    env, singles = family.make_vec(n), [family.make() for _ in range(n)]

    def start(rows: Iterable[int], tasks: dict[str, Any] | None, first: int) -> None:
        rows = list(rows)
        options = {"reset_mask": np.isin(np.arange(n), rows)}
        obs, info = env.reset(seed=first, options=options | ({} if tasks is None else {"task": tasks}))
        for row in rows:
            own = None if tasks is None else {"task": {key: value[row] for key, value in tasks.items()}}
            one, named = singles[row].reset(seed=first + row, options=own)
            assert same(one, obs[row]) and one in family.observation_space
            assert all(same(value, info["task"][key][row]) for key, value in named["task"].items())

    def step() -> None:
        actions = actions_of(family, random, (n,))
        batch = env.step(actions)[:4]
        assert [part.dtype for part in batch] == [np.float32, np.float64, np.bool_, np.bool_]
        for row, single in enumerate(singles):
            one = single.step(actions[row])
            assert same(one[0], batch[0][row]) and same(np.float64(one[1]), batch[1][row])
            assert one[2:4] == (bool(batch[2][row]), bool(batch[3][row]))

    start(range(n), family.sample_tasks(n, random), seed)
    for _ in range(family.horizon // 2):
        step()
    start([1, 4], family.sample_tasks(n, random), seed + 50)
    for _ in range(family.horizon + 1):  # the others end, are frozen, and get no more rewards
        step()
    start(range(n), None, seed + 99)  # tasks of their own
    for _ in range(family.horizon):
        step()


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
