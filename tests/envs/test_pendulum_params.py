"""pendulum-params beside Gymnasium's Pendulum-v1."""

import numpy as np
import pytest
from gymnasium.envs.classic_control.pendulum import PendulumEnv

from gymnasium_own import check_a_bit_is_seen, check_episodes, check_identity, check_states, held, of_class
from metarl_envs import PendulumParams

OWN = of_class(PendulumEnv)


def draw(rng) -> np.ndarray:
    """Torques, some of them beyond the limit."""
    return rng.uniform(-3.0, 3.0, 1).astype(np.float32)


def pumped(rng, obs) -> np.ndarray:
    """With the motion: it goes round and round, at the largest speed."""
    return np.array([np.sign(obs[2]) * rng.uniform(1.0, 2.0)], np.float32)


def test_every_step_is_gymnasiums():
    check_episodes(PendulumParams(), OWN, lambda rng, obs: draw(rng))
    check_episodes(PendulumParams(), OWN, held(draw))
    assert check_episodes(PendulumParams(), OWN, pumped) == 0
    check_identity(PendulumParams(), "Pendulum-v1")
    assert set(PendulumParams().constants) == {"g", "m", "l"}


def test_squares_are_rounded_as_gymnasiums_are():
    """Where the C library's pow and a product differ: one number in a thousand, which few episodes show."""
    rng = np.random.default_rng(0)
    speeds = rng.uniform(-8.0, 8.0, 200_000)
    speeds = speeds[[x**2 != x * x for x in speeds.tolist()]][:200]
    torques = rng.uniform(-2.0, 2.0, 100_000).astype(np.float32)
    torques = np.resize(torques[np.array([x**2 for x in torques]) != torques * torques], len(speeds))
    if not len(speeds):
        pytest.skip("this C library's pow rounds every square correctly")
    states = np.stack([rng.uniform(-9.0, 9.0, len(speeds)), speeds], axis=1)
    check_states(PendulumParams(), OWN, states, torques[:, None])


def test_a_constant_that_is_off_by_a_bit_would_be_seen():
    check_a_bit_is_seen(PendulumParams(), OWN, pumped, "g")


def test_a_step_by_hand():
    env = PendulumParams().make()
    env.reset(seed=0, options={"task": {"g": 8.0, "m": 0.5, "l": 1.25}})
    env._row._state[0] = [np.pi / 2, 1.0]
    # 3 g / (2 l) = 9.6 and 3 / (m l²) = 3.84: the speed becomes 1 + 0.05 (9.6 + 3.84 · 2) = 1.864.
    obs, reward, terminated, _, _ = env.step(np.array([2.0], np.float32))
    assert obs[2] == pytest.approx(1.864, abs=1e-6) and not terminated
    assert env._row._state[0, 0] == pytest.approx(np.pi / 2 + 0.0932)
    assert reward == pytest.approx(-((np.pi / 2) ** 2 + 0.1 + 0.004))


def test_starts_are_uniform_over_all_angles():
    env = PendulumParams().make_vec(4000)
    env.reset(seed=0)
    scaled = env._state / [np.pi, 1.0]
    assert np.abs(scaled).max() <= 1.0 and scaled.var(axis=0) == pytest.approx([1 / 3] * 2, rel=0.06)
