"""Families of formulas beside Gymnasium's own environments: the same states and actions, the same bits."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

from row_by_row import same

Own = Callable[[dict[str, float]], Any]  # constants to an environment of Gymnasium's that has them
Choose = Callable[[np.random.Generator, Any], Any]  # an action from chance and the observation


def of_class(cls: type) -> Own:
    """Gymnasium's class with a task's constants as its attributes; one that it lacks is an error."""

    def own(constants: dict[str, float]) -> Any:
        env = cls()
        for name, value in constants.items():
            assert hasattr(env, name)
            setattr(env, name, value)
        return env

    return own


def check_episodes(family: Any, own: Own, choose: Choose, seeds: range = range(10), steps: int = 220) -> int:
    """Asserts equal states, observations, rewards and ends for as many steps from each seed; counts the ends.

    Seeds take turns with tasks of training, tasks out of distribution and Gymnasium's own constants. Whenever
    an episode has ended, both go on from the same new start.
    """
    ended = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        drawn = family.sample_tasks(1, rng, ("train", "ood", "test")[seed % 3])
        task = {name: float(value[0]) for name, value in drawn.items()}
        ended += _check_task(family, own, choose, family.constants if seed % 5 == 4 else task, rng, steps)
    return ended


def _check_task(family: Any, own: Own, choose: Choose, task: Any, rng: Any, steps: int) -> int:
    env, twin, over, ended = family.make(), own(task), True, 0
    for _ in range(steps):
        if over:
            obs, _ = env.reset(seed=int(rng.integers(2**32)), options={"task": task})
            twin.reset(seed=0)
            twin.state = env._row._state[0].copy()
        action = choose(rng, obs)
        obs, reward, terminated, truncated, _ = env.step(action)
        seen, paid, done, *_ = twin.step(action)
        state = np.array(twin.state)
        assert same(state, env._row._state[0]) and same(seen, obs) and obs in family.observation_space
        assert (float(paid), done) == (reward, terminated)
        ended, over = ended + terminated, terminated or truncated
    return ended


def check_identity(family: Any, name: str, **besides: float) -> None:
    """Asserts spaces, time limit and constants of Gymnasium's environment under a name.

    ``besides`` are constants that Gymnasium's code holds as mere numbers.
    """
    made: Any = gymnasium.make(name)
    assert made.spec.max_episode_steps == family.horizon
    assert made.observation_space == family.observation_space and made.action_space == family.action_space
    for key, value in family.constants.items():
        assert value == besides.get(
            key, getattr(made.unwrapped, key, getattr(made.unwrapped, key.upper(), None))
        )


def check_a_bit_is_seen(family: Any, own: Own, choose: Choose, name: str, kind: Any = np.float64) -> None:
    """Asserts that episodes differ where one constant is the next number of a kind."""

    def off(constants: dict[str, float]) -> Any:
        return own(constants | {name: float(np.nextafter(kind(constants[name]), kind(99)))})

    with pytest.raises(AssertionError):
        check_episodes(family, off, choose)


def check_states(family: Any, own: Own, states: np.ndarray, actions: np.ndarray) -> tuple[Any, np.ndarray]:
    """Asserts one step from any states; returns the environment after it, and which rows have ended."""
    n, env, twin = len(states), family.make_vec(len(states)), own(family.constants)
    env.reset(seed=0, options={"task": {name: np.full(n, v) for name, v in family.constants.items()}})
    env._state = states.astype(env._state.dtype)
    states = env._state.copy()
    obs, reward, terminated, *_ = env.step(actions)
    for row in range(n):
        twin.reset(seed=0)
        twin.state = states[row]
        seen, paid, done, *_ = twin.step(actions[row])
        assert np.array_equal(twin.state, env._state[row]) and np.array_equal(seen, obs[row])
        assert (float(paid), done) == (reward[row], terminated[row])
    return env, terminated


def held(draw: Callable[[np.random.Generator], Any], stay: float = 0.8) -> Choose:
    """Random actions that are kept for a while: they get further than those of every step."""
    kept: list[Any] = []

    def choose(rng: np.random.Generator, obs: Any) -> Any:
        if not kept or rng.random() > stay:
            kept[:] = [draw(rng)]
        return kept[0]

    return choose
