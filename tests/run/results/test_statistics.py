"""Statistics by hand, and intervals that hold the truth as often as they say, or as the docs admit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metarl.run.results.statistics import (
    bootstrap_ci,
    covered,
    difference,
    improvement,
    iqm,
    mean,
    stratified_bootstrap_ci,
    student_t,
    t_interval,
)

DATASETS = 1000  # columns are independent experiments
SPREAD = 3 * (0.95 * 0.05 / DATASETS) ** 0.5  # three standard deviations of a share of 0.95: 0.021


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def of_tasks(*values: float) -> np.ndarray:
    """One run, one column."""
    return np.array(values, dtype=np.float64)[None, :, None]


# Numbers by hand ---------------------------------------------------------------------------------


def test_means_are_over_all_seeds_and_tasks() -> None:
    values = np.array([[[0.0, 1.0], [4.0, 1.0]], [[2.0, 1.0], [6.0, 5.0]]])
    np.testing.assert_array_equal(mean(values), [3.0, 2.0])
    # Four values: one is left out at either end.
    np.testing.assert_array_equal(iqm(values), [3.0, 1.0])


@pytest.mark.parametrize(
    ("values", "middle"),
    [
        ([7.0], 7.0),
        ([1.0, 2.0, 9.0], 4.0),  # 3 // 4 = 0: none is left out
        ([100.0, 1.0, 3.0, -50.0], 2.0),
        ([1.0, 2.0, 3.0, 4.0, 50.0, 60.0, 70.0, 800.0], 29.25),  # (3 + 4 + 50 + 60) / 4
        ([9.0, 2.0, 3.0, 4.0, 5.0], 4.0),  # 5 // 4 = 1: 3, 4, 5
    ],
)
def test_the_interquartile_mean_is_that_of_the_middle_half(values: list[float], middle: float) -> None:
    assert iqm(of_tasks(*values)) == [middle]
    assert iqm(np.array(values)[:, None, None]) == [middle]  # it is of all values, whatever they vary over


def test_what_is_not_a_number_makes_none() -> None:
    broken = of_tasks(1.0, np.nan, 3.0, 4.0, 5.0)
    for statistic in (mean, iqm):
        assert np.isnan(statistic(broken)).all()
    assert np.isnan(t_interval(mean, broken)).all()
    assert np.isnan(improvement(broken, broken)).all()
    assert np.isnan(improvement(of_tasks(1.0), of_tasks(np.nan))).all()


def test_the_probability_of_improvement_counts_pairs() -> None:
    # Task 1: of the pairs (1, 0), (1, 2), (3, 0), (3, 2) three are won. Task 2: all four are equal.
    one = np.array([[1.0, 5.0], [3.0, 5.0]])[..., None]
    other = np.array([[0.0, 5.0], [2.0, 5.0]])[..., None]
    assert improvement(one, other) == [(3 / 4 + 1 / 2) / 2]
    assert improvement(other, one) == [(1 / 4 + 1 / 2) / 2]
    assert improvement(one[:1], other) == [(1 / 2 + 1 / 2) / 2]  # numbers of runs may differ
    assert improvement(of_tasks(1.0, 2.0, 3.0), of_tasks(0.0, 2.0, 4.0)) == [0.5]


def test_the_probability_of_improvement_is_mann_whitney_s_u() -> None:
    one, other = rng(1).normal(0.3, 1, (4, 6, 2)), rng(2).normal(0, 1, (5, 6, 2))
    found = []
    for column in range(2):
        shares = []
        for task in range(6):
            pooled = np.concatenate([one[:, task, column], other[:, task, column]])
            ranks = pooled.argsort().argsort()[:4] + 1.0
            shares.append((ranks.sum() - 4 * 5 / 2) / 20)  # U is the sum of ranks less the least possible
        found.append(np.mean(shares))
    np.testing.assert_allclose(improvement(one, other), found)


def test_students_quantiles_are_those_of_the_tables() -> None:
    table = {1.0: 12.7062, 2.0: 4.30265, 3.0: 3.18245, 10.0: 2.22814, 30.0: 2.04227, 9999.0: 1.96020}
    for degrees, quantile in table.items():
        assert student_t(degrees, 0.95) == pytest.approx(quantile, rel=2e-5)
    assert student_t(4.0, 0.99) == pytest.approx(4.60409, rel=2e-5)
    assert np.isnan(student_t(float("nan"), 0.95))


def test_one_run_gets_the_usual_t_interval_over_its_tasks() -> None:
    # Mean 3, standard deviation sqrt(10 / 4), its error sqrt(2.5 / 5) = 0.70711; t of 4 degrees 2.77645.
    ((low, high),) = t_interval(mean, of_tasks(1.0, 2.0, 3.0, 4.0, 5.0))
    assert (low, high) == pytest.approx((3 - 1.96325, 3 + 1.96325), abs=1e-4)


def test_seeds_alone_get_the_usual_t_interval_of_their_means() -> None:
    values = np.array([[1.0, 3.0], [4.0, 6.0], [7.0, 9.0]])[..., None]  # means 2, 5, 8
    ((low, high),) = t_interval(mean, values, tasks=False)
    assert (low, high) == pytest.approx((5 - 4.30265 * 3**0.5, 5 + 4.30265 * 3**0.5), rel=1e-4)
    assert covered(values, tasks=False) == "seeds"


def test_seeds_and_tasks_add_their_variances_and_degrees_of_freedom() -> None:
    # Seeds' means 2, 4: variance 2 / 2 = 1 with 1 degree. Tasks' means 1, 5: 8 / 2 = 4 with 1 degree.
    values = np.array([[0.0, 4.0], [2.0, 6.0]])[..., None]
    degrees = (1 + 4) ** 2 / (1 / 1 + 16 / 1)  # Satterthwaite: 25 / 17
    half = student_t(degrees, 0.95) * 5**0.5
    np.testing.assert_allclose(t_interval(mean, values), [[3 - half, 3 + half]])
    assert covered(values) == "tasks and seeds"


def test_groups_share_their_tasks_and_have_seeds_of_their_own() -> None:
    # Paired differences 1, 2, 6 of single runs: the t-interval of these three, whatever the tasks' levels.
    one, other = of_tasks(11.0, 102.0, 1006.0), of_tasks(10.0, 100.0, 1000.0)
    np.testing.assert_allclose(t_interval(difference, one, other), t_interval(mean, of_tasks(1.0, 2.0, 6.0)))
    assert covered(one, other) == "tasks"
    # Seeds of two groups, one task: the sum of both variances, as of two unpaired samples (Welch 1947).
    one, other = np.array([1.0, 3.0])[:, None, None], np.array([0.0, 0.0, 6.0])[:, None, None]
    v = np.array([2 / 2, 12 / 3])
    half = student_t(v.sum() ** 2 / (v**2 / [1, 2]).sum(), 0.95) * v.sum() ** 0.5
    np.testing.assert_allclose(t_interval(difference, one, other), [[-half, half]])
    assert covered(one, other) == "seeds"
    assert covered(one[:1], other) == "seeds of the groups that have several"


def test_what_cannot_vary_has_no_interval_and_what_does_not_is_certain() -> None:
    assert np.isnan(t_interval(mean, of_tasks(3.0))).all()
    assert covered(of_tasks(3.0)) == ""
    np.testing.assert_array_equal(t_interval(mean, np.full((3, 4, 2), 1.5)), [[1.5, 1.5]] * 2)
    np.testing.assert_array_equal(t_interval(improvement, of_tasks(1.0, 2.0), of_tasks(0.0, 0.0)), [[1, 1]])


# Coverage ----------------------------------------------------------------------------------------


def normal(generator: np.random.Generator, *size: int) -> np.ndarray:
    return generator.standard_normal(size)


def skewed(generator: np.random.Generator, *size: int) -> np.ndarray:
    """Mean 0, standard deviation 1, skewness 2."""
    return generator.exponential(size=size) - 1


def crossed(
    draw: Callable[..., Any], seeds: int, seed: float, task: float, both: float, tasks: int = 40
) -> np.ndarray:
    """Effects of the seed, of the task and of their meeting, with these standard deviations; true mean 0."""
    g, n = rng(7), DATASETS
    return np.asarray(
        seed * draw(g, seeds, 1, n) + task * draw(g, 1, tasks, n) + both * draw(g, seeds, tasks, n)
    )


def coverage(intervals: np.ndarray, truth: Any = 0.0) -> float:
    low, high = intervals.T
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.parametrize("seeds", [1, 3])
def test_over_tasks_alone_the_t_interval_is_exact_for_normal_values(seeds: int) -> None:
    values = crossed(normal, seeds, 0.0, 1.0, 0.0)
    assert coverage(t_interval(mean, values[:1])) == pytest.approx(0.95, abs=SPREAD)
    only_half = t_interval(mean, values[:1], level=0.5)
    assert coverage(only_half) == pytest.approx(0.5, abs=3 * (0.25 / DATASETS) ** 0.5)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_over_seeds_alone_too_and_it_covers_these_tasks(seeds: int) -> None:
    values = crossed(normal, seeds, 1.0, 0.0, 0.3) + (these := rng(8).normal(0, 5, (1, 40, DATASETS)))
    intervals = t_interval(mean, values, tasks=False)
    assert coverage(intervals, these.mean((0, 1))) == pytest.approx(0.95, abs=SPREAD)
    if seeds == 10:
        assert coverage(intervals) < 0.9  # other tasks it does not cover


@pytest.mark.parametrize("effects", [(1.0, 1.0, 0.3), (0.2, 1.0, 0.3), (1.0, 0.0, 0.3), (0.0, 1.0, 0.1)])
@pytest.mark.parametrize("seeds", [3, 5])
def test_over_tasks_and_seeds_it_covers_both(seeds: int, effects: tuple[float, float, float]) -> None:
    values = crossed(normal, seeds, *effects)
    assert 0.91 <= coverage(t_interval(mean, values)) <= 0.98
    assert 0.9 <= coverage(t_interval(iqm, values)) <= 0.985


def test_what_both_contribute_is_counted_twice_which_is_safe() -> None:
    assert coverage(t_interval(mean, crossed(normal, 3, 0.0, 0.0, 1.0))) >= 0.95 + SPREAD


@pytest.mark.parametrize(("seeds", "least"), [(3, 0.83), (5, 0.85), (10, 0.88)])
def test_of_skewed_values_it_covers_less_as_the_docs_say(seeds: int, least: float) -> None:
    assert least <= coverage(t_interval(mean, crossed(skewed, seeds, 1.0, 0.0, 0.3))) <= 0.93
    assert 0.90 <= coverage(t_interval(mean, crossed(skewed, seeds, 0.2, 1.0, 0.3))) <= 0.96


def test_resampling_three_seeds_covers_too_little_which_is_why_it_is_not_the_interval() -> None:
    values = crossed(normal, 3, 1.0, 0.0, 0.3)[..., :300]
    means, middles = stratified_bootstrap_ci(values, rng(), resamples=500)
    assert coverage(means) < 0.4  # what a seed does to all tasks is missed
    assert coverage(middles) < 0.4
    # Where each task has runs of its own, and these are all tasks, it is nearly right with ten of each.
    alone = crossed(normal, 10, 0.0, 0.0, 1.0)[..., :300]
    means, _ = stratified_bootstrap_ci(alone, rng(), resamples=500)
    assert coverage(means) == pytest.approx(0.93, abs=0.045)


def test_paired_differences_and_improvement_cover_what_is_true() -> None:
    tasks = 3 * rng(11).normal(size=(1, 40, DATASETS))
    one = tasks + 0.5 + crossed(normal, 3, 0.5, 0.3, 0.3)
    other = tasks + 0.7 * rng(12).normal(size=(4, 1, DATASETS)) + rng(13).normal(size=(4, 40, DATASETS))
    assert 0.92 <= coverage(t_interval(difference, one, other), 0.5) <= 0.985
    # Equal groups: the probability is one half.
    halves = [t_interval(improvement, one[..., :300], again[..., :300]) for again in (_again(tasks) + 0.5,)]
    assert coverage(halves[0], 0.5) >= 0.9


def _again(tasks: np.ndarray) -> np.ndarray:
    g = rng(14)
    return np.asarray(
        tasks
        + 0.5 * g.normal(size=(3, 1, DATASETS))
        + 0.3 * g.normal(size=(1, 40, DATASETS))
        + 0.3 * g.normal(size=(3, 40, DATASETS))
    )


# Bootstrap ---------------------------------------------------------------------------------------


def test_the_stratified_bootstrap_draws_runs_within_tasks() -> None:
    # One run: nothing to draw. Two runs on one task: the mean is the low with 1/4, the middle with 1/2.
    np.testing.assert_array_equal(
        stratified_bootstrap_ci(rng(1).normal(size=(1, 5, 1)), rng())[0],
        np.repeat(mean(rng(1).normal(size=(1, 5, 1)))[:, None], 2, 1),
    )
    two = np.array([1.0, 5.0])[:, None, None]
    np.testing.assert_array_equal(stratified_bootstrap_ci(two, rng())[0], [[1.0, 5.0]])
    np.testing.assert_array_equal(stratified_bootstrap_ci(two, rng(), level=0.4)[0], [[3.0, 3.0]])
    # Tasks are drawn by themselves: the lowest mean, 5.5, comes with 1/16 and the next, (3 + 10) / 2, with
    # 2/16; so the middle 80 % reach from there to (3 + 50) / 2. Whole runs would give 5.5 and 27.5.
    pair = np.array([[1.0, 10.0], [5.0, 50.0]])[..., None]
    np.testing.assert_array_equal(stratified_bootstrap_ci(pair, rng(), level=0.8)[0], [[6.5, 26.5]])


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


def test_seeds_and_tasks_are_drawn_each_by_itself() -> None:
    """A run adds 0 or 4, a task 0 or 2. Resampled runs add 0, 2 or 4 with 1/4, 1/2, 1/4, resampled tasks 0, 1
    or 2; the sum is 0 to 6 with 1, 2, 3, 4, 3, 2, 1 sixteenths. The middle 80 % reach from 1 to 5. Were each
    run's tasks drawn for it alone, or all four values, sums such as 1/2 would be there too.
    """
    values = np.array([[0.0, 2.0], [4.0, 6.0]])[..., None]
    np.testing.assert_array_equal(bootstrap_ci(values, rng()), [[0.0, 6.0]])
    np.testing.assert_array_equal(bootstrap_ci(values, rng(), level=0.8), [[1.0, 5.0]])
    np.testing.assert_array_equal(bootstrap_ci(values, rng(), level=0.5), [[2.0, 4.0]])
    np.testing.assert_array_equal(bootstrap_ci(values[:1], rng()), bootstrap_ci(values[0], rng()))


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
