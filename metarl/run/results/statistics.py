"""Statistics of evaluations, in NumPy: means, intervals that say what they cover, and comparisons.

Values are arrays "seed task column": one row a training run (its seed), and every run was measured on the
same tasks. A column is a number of adaptation steps.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

Array = NDArray[np.float64]
Values = Float[np.ndarray, "_ task column"]  # each group has its own number of seeds
Columns = Float[np.ndarray, " column"]
Intervals = Float[np.ndarray, "column 2"]

RESAMPLES = 10_000
BLOCK = 2_000_000  # numbers that a bootstrap holds at a time


def mean(values: Values) -> Columns:
    """Return the mean over seeds and tasks."""
    with np.errstate(over="ignore", invalid="ignore"):  # of agents that diverge
        return np.asarray(values.mean((0, 1)))


def iqm(values: Values) -> Columns:
    """Return the interquartile mean over all seeds' tasks: without the lowest and the highest quarter.

    Of n values, n // 4 are left out at either end (Agarwal et al. 2021). NaN where one of them is.
    """
    return _middle(values.reshape(-1, values.shape[2]))


def _middle(values: Array) -> Array:
    """Return ``iqm`` of "… value column"."""
    left_out = values.shape[-2] // 4
    kept = np.sort(values, axis=-2)[..., left_out : values.shape[-2] - left_out, :]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.where(np.isnan(values).any(-2), np.nan, kept.mean(-2)))


def difference(one: Values, other: Values) -> Columns:
    """Return the mean of ``one`` less that of ``other``: the mean over tasks of their paired differences."""
    return np.asarray(mean(one) - mean(other))


def improvement(one: Values, other: Values) -> Columns:
    """Return the probability of improvement: that a run of ``one`` has a higher value than one of ``other``.

    On a task drawn at random; equal values count half. It is the Mann-Whitney U statistic of the runs on
    each task, over the number of pairs, averaged over tasks (Agarwal et al. 2021). NaN where a value is.
    """
    won = (one[:, None] > other[None]) + 0.5 * (one[:, None] == other[None])
    unknown = np.isnan(one).any((0, 1)) | np.isnan(other).any((0, 1))
    return np.where(unknown, np.nan, won.mean((0, 1, 2)))


def t_interval(
    statistic: Callable[..., Array], *groups: Values, tasks: bool = True, level: float = 0.95
) -> Intervals:
    """Return Student's t-intervals of a statistic of one or several groups of runs, from a two-way jackknife.

    Seeds are left out one by one, of each group by itself, and tasks one by one, of all groups together,
    since all runs met the same tasks. Each gives a variance (Tukey 1958); they are added, and so are their
    degrees of freedom, by Satterthwaite (1946). What the interaction of seed and task contributes is counted
    twice, which errs on the safe side. Of one run this is the usual t-interval over its tasks.

    Args:
        statistic: ``mean``, ``iqm``, ``difference``, ``improvement``: of the groups, one number a column.
        tasks: cover other tasks than these, too.
        level: the share of such intervals that hold the true value.

    Returns:
        Low and high; NaN where there is neither a second seed nor a second task to cover.
    """
    varied = [_without_each(statistic, groups, place) for place, group in enumerate(groups) if len(group) > 1]
    if tasks and groups[0].shape[1] > 1:
        varied += [_without_each(statistic, groups, None)]
    centre = statistic(*groups)
    if not varied:
        return np.full((len(centre), 2), np.nan)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        parts = np.array([(len(v) - 1) * v.var(0) for v in varied])
        freedom = np.array([len(v) - 1 for v in varied])[:, None]
        total = parts.sum(0)
        degrees = np.where(total > 0, total**2 / (parts**2 / freedom).sum(0), 1.0)
        half = np.sqrt(total) * [student_t(float(df), level) for df in degrees]
        return np.stack([centre - half, centre + half], axis=-1)


def _without_each(statistic: Callable[..., Array], groups: Sequence[Array], place: int | None) -> Array:
    """Return the statistic without each seed of the group at ``place``, or each task of all groups."""
    if place is None:
        tasks = range(groups[0].shape[1])
        return np.array([statistic(*(np.delete(group, task, 1) for group in groups)) for task in tasks])
    left = [np.delete(groups[place], seed, 0) for seed in range(len(groups[place]))]
    return np.array([statistic(*groups[:place], fewer, *groups[place + 1 :]) for fewer in left])


def covered(*groups: Values, tasks: bool = True) -> str:
    """Say what ``t_interval`` of these groups covers; empty if nothing."""
    several = [len(group) > 1 for group in groups]
    seeds = "seeds" if all(several) else "seeds of the groups that have several" if any(several) else ""
    return " and ".join(filter(None, ["tasks" if tasks and groups[0].shape[1] > 1 else "", seeds]))


def student_t(degrees: float, level: float) -> float:
    """Return the t within ± which a Student variable of ``degrees`` (at least 1) lies with ``level``.

    With t = sqrt(degrees) tan(angle) the density over the angle is that of cos(angle)^(degrees - 1), which
    is bounded on a bounded range. Wrong by less than 2e-5 of itself up to 10,000 degrees, taken as the most.
    """
    if not np.isfinite(degrees):
        return float("nan")
    degrees = min(degrees, 1e4)
    angle = np.linspace(0, np.pi / 2, 20_001)
    density = np.cos(angle) ** (degrees - 1)
    share = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return float(np.sqrt(degrees) * np.tan(np.interp(level, share / share[-1], angle)))


def bootstrap_ci(
    values: Float[np.ndarray, "*seed task column"], rng: np.random.Generator, level: float = 0.95
) -> Intervals:
    """Return percentile-bootstrap intervals of the mean (Efron 1979) over tasks, and seeds if there are any.

    With several training runs both are drawn anew, each by itself, since all runs met the same tasks (Owen
    2007). Few seeds are too alike for that: of three, the drawn ones spread by 2/3 of the variance that three
    new ones would have. ``t_interval`` makes up for it.

    Args:
        values: one row a task, or "seed task column" of several runs.
        rng: draws the resamples; rows are resampled whole, so columns stay paired.
    """
    runs = values.reshape(-1, *values.shape[-2:])
    seeds, tasks, _ = runs.shape
    # Resampling n of n rows is giving row i a multinomial count: one matrix product instead of a gather.
    drawn, counts = (rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) for n in (seeds, tasks))
    with np.errstate(over="ignore", invalid="ignore"):  # of agents that diverge
        return _percentiles(np.einsum("rs,src->rc", drawn, counts @ runs) / (seeds * tasks), level)


def stratified_bootstrap_ci(
    values: Values, rng: np.random.Generator, level: float = 0.95, resamples: int = RESAMPLES
) -> tuple[Intervals, Intervals]:
    """Return percentile intervals of mean and ``iqm`` by the stratified bootstrap of Agarwal et al. (2021).

    On each task by itself, as many runs are drawn with replacement as there are. So it takes the runs of
    different tasks for independent, as where each task was trained on alone, and the tasks for all there are.
    Where one run meets all tasks, what its seed does to all of them is missed.
    """
    seeds, tasks, columns = values.shape
    means, middles = [], []
    with np.errstate(over="ignore", invalid="ignore"):
        for size in _blocks(resamples, values.size):
            drawn = rng.integers(seeds, size=(size, seeds, tasks))
            found = values[drawn, np.arange(tasks)].reshape(size, -1, columns)
            means.append(found.mean(1))
            middles.append(_middle(found))
        return _percentiles(np.concatenate(means), level), _percentiles(np.concatenate(middles), level)


def _blocks(resamples: int, size: int) -> list[int]:
    """Return how many resamples of ``size`` numbers to make at a time."""
    block = max(1, BLOCK // size)
    return [min(block, resamples - start) for start in range(0, resamples, block)]


def _percentiles(found: Array, level: float) -> Array:
    """Return intervals "column 2" that hold the middle ``level`` of "resample column"."""
    tail = 100 * (1 - level) / 2
    return np.asarray(np.percentile(found, [tail, 100 - tail], axis=0).T)
