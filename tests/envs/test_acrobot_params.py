"""acrobot-params beside Gymnasium's Acrobot-v1."""

import numpy as np
import pytest
from gymnasium.envs.classic_control.acrobot import AcrobotEnv

from gymnasium_own import check_episodes, check_identity, held, of_class
from metarl_envs import AcrobotParams
from metarl_envs.control.acrobot import MAX_SPEEDS


def own(constants: dict[str, float]) -> AcrobotEnv:
    """Gymnasium writes these constants in capitals."""
    return of_class(AcrobotEnv)({name.upper(): value for name, value in constants.items()})


def pumped(rng, obs) -> int:
    """Mostly with the motion of the second link, which swings it up."""
    return int(rng.integers(3)) if rng.random() < 0.1 else 2 * int(obs[5] > 0)


def test_every_step_is_gymnasiums():
    check_episodes(AcrobotParams(), own, held(lambda rng: int(rng.integers(3))))
    assert check_episodes(AcrobotParams(), own, pumped, steps=300) > 10
    check_identity(AcrobotParams(), "Acrobot-v1")


def test_fast_and_far_states_step_as_gymnasiums_do():
    """Angles that have to be brought back by whole turns, speeds at their limit, any torque."""
    rng, n = np.random.default_rng(0), 400
    family, twin = AcrobotParams(), AcrobotEnv()
    env = family.make_vec(n)
    env.reset(seed=0, options={"task": {name: np.full(n, v) for name, v in family.constants.items()}})
    env._state = rng.uniform(-1.0, 1.0, (n, 4)) * [np.pi, np.pi, *MAX_SPEEDS[:, 0]]
    states, actions = env._state.copy(), rng.integers(3, size=n)
    obs, reward, terminated, *_ = env.step(actions)
    moved = np.abs(env._state - states)
    assert (moved[:, :2] > np.pi).any() and (np.abs(env._state[:, 2:]) == MAX_SPEEDS.T).any(axis=0).all()
    for row in range(n):
        twin.reset(seed=0)
        twin.state = states[row]
        seen, paid, done, *_ = twin.step(int(actions[row]))
        assert np.array_equal(twin.state, env._state[row]) and np.array_equal(seen, obs[row])
        assert (paid, done) == (reward[row], terminated[row])
    assert 0 < terminated.sum() < n


def test_its_default_constants_are_gymnasiums():
    family, env = AcrobotParams(), AcrobotEnv()
    assert family.constants == {name: getattr(env, name.upper()) for name in family.constants}


def test_gymnasiums_length_of_the_second_link_moves_nothing():
    def longer(constants):
        return of_class(AcrobotEnv)(
            {name.upper(): value for name, value in constants.items()} | {"LINK_LENGTH_2": 3.0}
        )

    check_episodes(AcrobotParams(), longer, pumped, seeds=range(2))


@pytest.mark.parametrize("name", list(AcrobotParams().constants))
def test_a_constant_that_is_off_by_a_bit_would_be_seen(name):
    def off(constants):
        return own(constants | {name: float(np.nextafter(constants[name], 99.0))})

    with pytest.raises(AssertionError):
        check_episodes(AcrobotParams(), off, pumped)


def test_starts_are_uniform_around_hanging_down():
    env = AcrobotParams().make_vec(4000)
    env.reset(seed=0)
    assert np.abs(env._state).max() <= 0.1
    assert env._state.var(axis=0) == pytest.approx([0.04 / 12] * 4, rel=0.07)
