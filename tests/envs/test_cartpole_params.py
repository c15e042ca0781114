"""cartpole-params beside Gymnasium's CartPole-v1."""

import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from gymnasium_own import check_a_bit_is_seen, check_episodes, check_identity, held, of_class
from metarl_envs import CartPoleParams


def own(constants: dict[str, float]) -> CartPoleEnv:
    """Gymnasium keeps two products beside the constants they are made of."""
    env = of_class(CartPoleEnv)(constants)
    env.total_mass = env.masspole + env.masscart
    env.polemass_length = env.masspole * env.length
    return env


def at_random(rng, obs) -> int:
    return int(rng.integers(2))


def balanced(rng, obs) -> int:
    """Pushes under the pole most of the time."""
    return int(3 * obs[2] + obs[3] > 0) if rng.random() < 0.9 else int(rng.integers(2))


def test_every_step_is_gymnasiums():
    assert check_episodes(CartPoleParams(), own, at_random) > 20
    check_episodes(CartPoleParams(), own, balanced, steps=510)
    assert check_episodes(CartPoleParams(), own, held(lambda rng: int(rng.integers(2)), 0.98)) > 20
    check_identity(CartPoleParams(), "CartPole-v1")
    assert set(CartPoleParams().constants) == {"gravity", "masscart", "masspole", "length", "force_mag"}


def test_a_constant_that_is_off_by_a_bit_would_be_seen():
    check_a_bit_is_seen(CartPoleParams(), own, at_random, "length")


def test_the_last_step_is_paid_and_the_cart_may_leave_the_track():
    env = CartPoleParams().make()
    env.reset(seed=0, options={"task": CartPoleParams().constants})
    env._row._state[0] = [2.39, 1.0, 0.0, 0.0]  # in 0.02 s to 2.41
    assert env.step(1)[1:4] == (1.0, True, False)
    env.reset(seed=0)
    env._row._state[0] = [0.0, 0.0, -0.2, -1.0]  # 12 degrees are 0.2094
    assert env.step(1)[1:4] == (1.0, True, False)
    assert env.step(1)[1:4] == (0.0, True, False)


def test_starts_are_uniform_around_the_upright_pole():
    obs, _ = CartPoleParams().make_vec(4000).reset(seed=0)
    assert np.abs(obs).max() <= 0.05 and obs.var(axis=0) == pytest.approx([0.01 / 12] * 4, rel=0.07)
