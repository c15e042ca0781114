"""mountain-car-params beside Gymnasium's MountainCarContinuous-v0 and MountainCar-v0."""

from types import FunctionType, MethodType

import numpy as np
import pytest
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv
from gymnasium.envs.classic_control.mountain_car import MountainCarEnv

from gymnasium_own import check_a_bit_is_seen, check_episodes, check_identity, check_states, held, of_class
from metarl_envs import MountainCarParams

DISCRETE = of_class(MountainCarEnv)
GRAVITY = 0.0025


def own(constants: dict[str, float]) -> Continuous_MountainCarEnv:
    """Gymnasium's continuous car has its gravity as a number in the code of ``step``: that is exchanged."""
    env = of_class(Continuous_MountainCarEnv)({"power": constants["power"]})
    step = Continuous_MountainCarEnv.step
    numbers = step.__code__.co_consts
    assert numbers.count(GRAVITY) == 1
    exchanged = tuple(constants["gravity"] if number == GRAVITY else number for number in numbers)
    code = step.__code__.replace(co_consts=exchanged)
    env.step = MethodType(FunctionType(code, step.__globals__), env)
    return env


def draw(rng) -> np.ndarray:
    """Pushes, some of them at the limit."""
    return rng.uniform(-1.5, 1.5, 1).clip(-1.0, 1.0).astype(np.float32)


def pumped(rng, obs) -> np.ndarray:
    """With the motion: it rolls out of the valley, and into the wall on the left before."""
    return np.array([1.0 if obs[1] >= 0 else -1.0], np.float32) * rng.choice([0.7, 1.0], 1).astype(np.float32)


def pumped_discrete(rng, obs) -> int:
    return 1 if rng.random() < 0.1 else 2 * int(obs[1] >= 0)


def test_every_step_is_gymnasiums():
    family = MountainCarParams()
    check_episodes(family, own, held(draw, 0.95))
    assert check_episodes(family, own, pumped, steps=400) > 10
    check_identity(family, "MountainCarContinuous-v0", gravity=GRAVITY)


def test_every_discrete_step_is_gymnasiums():
    family = MountainCarParams("discrete")
    check_episodes(family, DISCRETE, held(lambda rng: int(rng.integers(3)), 0.95))
    assert check_episodes(family, DISCRETE, pumped_discrete, steps=400) > 10
    check_identity(family, "MountainCar-v0")


@pytest.mark.parametrize("spec", list(MountainCarParams.specs))
def test_walls_and_limits_are_gymnasiums(spec):
    """Any state at all, one step: at the left-hand wall the car stops, at the right-hand one it does not."""
    rng, n = np.random.default_rng(0), 600
    places = [rng.uniform(-1.2, -1.1, n // 3), rng.uniform(0.4, 0.6, n // 3), np.zeros(n // 3)]
    states = np.stack([np.concatenate(places), rng.uniform(-0.07, 0.07, n)], axis=1)
    pushes = (
        rng.uniform(-1, 1, (n, 1)).astype(np.float32) if spec == "continuous" else rng.integers(3, size=n)
    )
    twin = own if spec == "continuous" else DISCRETE
    env, _ = check_states(MountainCarParams(spec), twin, states, pushes)
    places, speeds = env._state.T
    left, right = places == places.min(), places == places.max()
    assert left.sum() > 15 and (speeds[left] == 0).all() and right.sum() > 15 and (speeds[right] > 0).all()


def test_a_constant_that_is_off_would_be_seen():
    check_a_bit_is_seen(MountainCarParams(), own, pumped, "power", np.float32)  # to which the car rounds
    check_a_bit_is_seen(MountainCarParams("discrete"), DISCRETE, pumped_discrete, "gravity")


def test_actions_beyond_the_bounds_act_and_cost_like_the_bounds():
    env = MountainCarParams().make_vec(2)
    task = {name: np.full(2, value) for name, value in MountainCarParams().constants.items()}
    env.reset(seed=[5, 5], options={"task": task})
    obs, reward, *_ = env.step(np.array([[1e300], [1.0]]))
    assert np.array_equal(obs[0], obs[1]) and reward.tolist() == [-0.1, -0.1]


@pytest.mark.parametrize("spec", list(MountainCarParams.specs))
def test_starts_are_at_rest_in_the_valley(spec):
    obs, _ = MountainCarParams(spec).make_vec(4000).reset(seed=0)
    assert np.abs(obs[:, 0] + 0.5).max() <= 0.1 + 1e-7 and not obs[:, 1].any()
    assert obs[:, 0].var() == pytest.approx(0.04 / 12, rel=0.07)
