"""Draws from uniform numbers: known quantiles, exact sums, moments, what is never drawn."""

import numpy as np
import pytest

from metarl_envs.base.from_uniforms import categorical, flat_dirichlet, normal

LAST = 1.0 - 2.0**-53  # the largest uniform number


def uniforms(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape)


def test_normal_gives_the_quantiles_of_tables():
    drawn = normal(np.array([[0.5, 0.975, 0.025], [0.8413447460685429, 0.995, 0.1]]))
    expected = [[0.0, 1.959963984540054, -1.959963984540054], [1.0, 2.5758293035489004, -1.2815515655446004]]
    assert drawn == pytest.approx(np.array(expected), abs=1e-12) and drawn.dtype == np.float64


def test_normal_is_finite_for_every_uniform_number_and_the_same_alone():
    assert normal(np.array([0.0, 2.0**-53, LAST])) == pytest.approx([-8.29, -8.21, 8.21], abs=0.01)
    u = uniforms(1001)
    assert np.array_equal(normal(u)[577:578], normal(u[577:578]))
    assert normal(np.zeros((0, 3))).shape == (0, 3)


def test_dirichlet_rows_sum_to_exactly_one_and_have_the_moments_of_the_flat_one():
    p, n, k = flat_dirichlet(uniforms(20_000, 3)), 20_000, 4
    assert (p.sum(axis=1) == 1.0).all() and p.min() >= 0.0
    # Dirichlet(1, 1, 1, 1): mean 1/4, variance 3/80, covariance −1/80; the mean of n has a sd of √(3/80/n).
    assert np.abs(p.mean(axis=0) - 0.25).max() < 4.5 * np.sqrt(3 / 80 / n)
    expected = np.where(np.eye(k), 3 / 80, -1 / 80)
    assert np.abs(np.cov(p.T) - expected).max() < 0.0025  # about five of its standard deviations
    # Each entry is Beta(1, 3): P(p > x) = (1 − x)³. Normalised uniform numbers have the same mean, not this.
    assert (p > 0.5).mean(axis=0) == pytest.approx([0.125] * 4, abs=4.5 * np.sqrt(0.11 / n))
    assert flat_dirichlet(np.zeros((2, 0))).tolist() == [[1.0], [1.0]]  # one state


def test_categorical_cuts_the_interval_in_order():
    weights = np.tile([0.2, 0.5, 0.3], (6, 1))
    assert categorical(weights, np.array([0.0, 0.19, 0.21, 0.69, 0.71, LAST])).tolist() == [0, 0, 1, 1, 2, 2]
    assert categorical(weights * 10.0, np.array([0.0, 0.19, 0.21, 0.69, 0.71, LAST])).tolist() == [
        0, 0, 1, 1, 2, 2,
    ]  # fmt: skip


def test_what_has_no_weight_is_never_drawn():
    weights = np.array([[0.0, 0.1, 0.0, 0.2, 0.0]]) / np.array([[0.3], [0.1], [1.0], [0.3000001], [7.0]])
    assert categorical(weights, np.zeros(5)).tolist() == [1] * 5
    assert categorical(weights, np.full(5, LAST)).tolist() == [3] * 5
