"""Physical constants as tasks: how they are drawn, what is refused, and what all such families have."""

from itertools import product

import numpy as np
import pytest

from metarl_envs import AcrobotParams, CartPoleParams, MountainCarParams, PendulumParams
from metarl_envs.control.physical import ALLOWED, SHELL, inside, outside
from row_by_row import actions_of, rng

FAMILIES = {
    f"{cls.name}/{spec}": (cls, spec)
    for cls in (AcrobotParams, CartPoleParams, MountainCarParams, PendulumParams)
    for spec in cls.specs
}


@pytest.fixture(params=FAMILIES)
def kind(request):
    """A family's class and a spec of it."""
    return FAMILIES[request.param]


def exponents(family, split: str, n: int) -> np.ndarray:
    """u of each constant, "n k", worked out from the drawn values."""
    tasks, factor = family.sample_tasks(n, rng(1), split), family.physics[family.spec].factor
    ratios = [tasks[name] / value for name, value in family.constants.items()]
    return np.log(np.stack(ratios, axis=1)) / np.log(factor)


def test_the_shell_is_filled_evenly_and_holds_no_point_of_the_cube():
    for k in (1, 2, 5):
        u = rng(k).random((40_000, k))
        cube, shell = inside(u), outside(u)
        assert np.abs(cube).max() < 1.0 and np.abs(cube.mean(axis=0)).max() < 0.015
        far = np.abs(shell).max(axis=1)
        assert far.min() > 1.0 and far.max() <= SHELL == 1.5
        # Uniform over the volume: what lies within 1.25 is (1.25ᵏ − 1) / (1.5ᵏ − 1) of it.
        assert (far < 1.25).mean() == pytest.approx((1.25**k - 1) / (1.5**k - 1), abs=0.012)
        # Each of the 2k faces is as often the farthest: all directions are as likely.
        face = np.abs(shell).argmax(axis=1) * 2 + (shell[np.arange(40_000), np.abs(shell).argmax(1)] > 0)
        assert np.bincount(face) / 40_000 == pytest.approx(np.full(2 * k, 0.5 / k), abs=0.012)


def test_no_number_that_can_be_drawn_leaves_cube_or_shell():
    ends = [0.0, 2.0**-53, 0.25, 0.5 - 2.0**-53, 0.5, 0.5 + 2.0**-53, 1.0 - 2.0**-53]
    u = np.array(list(product(ends, repeat=2)))
    far = np.abs(outside(u)).max(axis=1)
    assert (np.abs(inside(u)) < 1.0).all() and (far > 1.0).all() and (far <= 1.5).all()


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_constants_are_log_uniform_around_gymnasiums(kind, split):
    u = exponents(kind[0](kind[1]), split, 4000)
    assert np.abs(u).max() <= 1.0 and np.abs(u).max(axis=0).min() > 0.99
    assert np.abs(u.mean(axis=0)).max() < 0.05 and u.var(axis=0) == pytest.approx(1 / 3, rel=0.07)
    assert np.abs(np.corrcoef(u.T) - np.eye(u.shape[1])).max() < 0.08  # each by itself


def test_out_of_distribution_a_constant_lies_outside_its_training_range(kind):
    family = kind[0](kind[1])
    tasks, factor = family.sample_tasks(4000, rng(2), "ood"), family.physics[family.spec].factor
    beyond = np.zeros(4000, dtype=bool)
    for name, value in family.constants.items():
        beyond |= (tasks[name] < value / factor) | (tasks[name] > value * factor)
    assert beyond.all()
    u = exponents(family, "ood", 4000)
    assert np.abs(u).max() < 1.5 + 1e-9 and (np.abs(u) > 1.0).mean(axis=0).min() > 0.1


def test_an_oracle_sees_where_in_the_training_range_each_constant_lies():
    family = PendulumParams()
    features = family.task_features({"g": [10.0, 15.0], "m": [1.5, 1.0], "l": [1.0, 1 / 1.5]})
    assert features.dtype == np.float32 and features == pytest.approx(np.array([[0, 1, 0], [1, 0, -1]]))


def test_tasks_at_the_edge_of_what_is_allowed_stay_finite(kind):
    family = kind[0](kind[1])
    edges = [family.physics[kind[1]].factor ** u for u in (-ALLOWED, ALLOWED)]
    corners = np.array(list(product(edges, repeat=len(family.constants)))).T
    values = family.constants.items()
    tasks = {name: value * scale for (name, value), scale in zip(values, corners, strict=True)}
    env = family.make_vec(corners.shape[1])
    env.reset(seed=0, options={"task": tasks})
    for action in actions_of(family, rng(3), (200, env.num_envs)):
        obs, reward, *_ = env.step(action)
        assert np.isfinite(obs).all() and np.isfinite(reward).all()


def test_a_constant_of_its_own_reaches_every_row():
    """One constant at a time is larger in row i: that row, and no other, moves away from Gymnasium's."""
    for cls, spec in FAMILIES.values():
        family = cls(spec)
        k = len(family.constants)
        tasks = {name: np.full(k + 1, value) for name, value in family.constants.items()}
        for i, name in enumerate(tasks):
            tasks[name][i] *= 1.5
        env = family.make_vec(k + 1)
        env.reset(seed=[3] * (k + 1), options={"task": tasks})
        for action in actions_of(family, rng(4), (4,)):
            obs = env.step(np.stack([action] * (k + 1)))[0]
        assert (obs[:k] != obs[k]).any(axis=1).all()
