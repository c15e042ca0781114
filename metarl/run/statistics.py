"""Statistics of evaluations, in NumPy."""

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000


def bootstrap_ci(
    values: NDArray[np.float64], rng: np.random.Generator, level: float = 0.95
) -> NDArray[np.float64]:
    """Percentile-bootstrap intervals of the mean over rows (Efron 1979).

    Args:
        values: one row a task, "task column".
        rng: draws the resamples; rows are resampled whole, so columns stay paired.

    Returns:
        "column 2": low and high.
    """
    n = len(values)
    # Resampling n of n rows is giving row i a multinomial count: one matrix product instead of a gather.
    counts = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    tail = 100 * (1 - level) / 2
    with np.errstate(over="ignore", invalid="ignore"):  # of agents that diverge
        return np.percentile(counts @ values / n, [tail, 100 - tail], axis=0).T
