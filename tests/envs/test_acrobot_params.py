"""acrobot-params beside Gymnasium's Acrobot-v1."""

import numpy as np
import pytest
from gymnasium.envs.classic_control.acrobot import AcrobotEnv

from gymnasium_own import check_a_bit_is_seen, check_episodes, check_identity, check_states, held, of_class
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
    states = rng.uniform(-1.0, 1.0, (n, 4)) * [np.pi, np.pi, *MAX_SPEEDS[:, 0]]
    env, terminated = check_states(AcrobotParams(), own, states, rng.integers(3, size=n))
    assert (np.abs(env._state - states)[:, :2] > np.pi).any() and 0 < terminated.sum() < n
    assert (np.abs(env._state[:, 2:]) == MAX_SPEEDS.T).any(axis=0).all()


def test_gymnasiums_length_of_the_second_link_moves_nothing():
    def longer(constants):
        return of_class(AcrobotEnv)(
            {name.upper(): value for name, value in constants.items()} | {"LINK_LENGTH_2": 3.0}
        )

    check_episodes(AcrobotParams(), longer, pumped, seeds=range(2))


@pytest.mark.parametrize("name", list(AcrobotParams().constants))
def test_a_constant_that_is_off_by_a_bit_would_be_seen(name):
    check_a_bit_is_seen(AcrobotParams(), own, pumped, name)


def test_starts_are_uniform_around_hanging_down():
    env = AcrobotParams().make_vec(4000)
    env.reset(seed=0)
    assert np.abs(env._state).max() <= 0.1
    assert env._state.var(axis=0) == pytest.approx([0.04 / 12] * 4, rel=0.07)
