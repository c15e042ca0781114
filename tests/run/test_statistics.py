"""Bootstrap intervals hold the mean as often as they say."""

import numpy as np
import pytest

from metarl.run.statistics import bootstrap_ci


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("tasks", [20, 40])
def test_the_interval_covers_the_mean_as_often_as_it_says(tasks: int) -> None:
    values = rng(1).normal(3.0, 2.0, (tasks, 1000))  # each column is an evaluation of its own
    low, high = bootstrap_ci(values, rng()).T
    assert 0.91 <= ((low <= 3.0) & (high >= 3.0)).mean() <= 0.965
    low, high = bootstrap_ci(values, rng(), level=0.5).T
    assert 0.44 <= ((low <= 3.0) & (high >= 3.0)).mean() <= 0.54


def test_its_width_is_that_of_the_mean_and_not_of_the_values() -> None:
    values = rng(2).normal(0.0, 1.0, (400, 50))
    low, high = bootstrap_ci(values, rng()).T
    np.testing.assert_allclose((high - low).mean(), 2 * 1.96 / np.sqrt(400), rtol=0.05)


def test_two_values_give_what_can_be_counted() -> None:
    # Of two tasks the resampled mean is the lower with 1/4, the middle with 1/2, the higher with 1/4.
    values = np.array([[1.0], [5.0]])
    np.testing.assert_array_equal(bootstrap_ci(values, rng()), [[1.0, 5.0]])
    np.testing.assert_array_equal(bootstrap_ci(values, rng(), level=0.4), [[3.0, 3.0]])


def test_a_constant_is_certain() -> None:
    np.testing.assert_array_equal(bootstrap_ci(np.full((7, 2), -3.25), rng()), np.full((2, 2), -3.25))
    np.testing.assert_array_equal(bootstrap_ci(np.array([[2.5, -1.0]]), rng()), [[2.5, 2.5], [-1.0, -1.0]])


def test_tasks_are_resampled_whole() -> None:
    values = rng(3).normal(size=(12, 1))
    paired = bootstrap_ci(np.concatenate([values, values + 10.0, -values], 1), rng())
    np.testing.assert_allclose(paired[1] - 10.0, paired[0])
    np.testing.assert_allclose(-paired[2, ::-1], paired[0], atol=1e-12)


def test_an_outlier_makes_it_lopsided() -> None:
    values = np.zeros((30, 1))
    values[0] = 30.0
    ((low, high),) = bootstrap_ci(values, rng())
    assert low == 0.0
    assert high == pytest.approx(3.0)  # three times in a resample, once in about forty
