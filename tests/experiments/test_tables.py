"""Tables of the experiments: intervals cover the seeds that there are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
TWO = np.array([[[1.0], [1.0]], [[3.0], [3.0]]])  # two seeds, on two tasks that are alike
ONE = np.array([[[0.0], [0.0]]])


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return __import__("pooled")


def test_two_seeds_have_student_s_interval_with_one_degree_of_freedom(pooled: Any) -> None:
    """Their mean has a standard error of 1, and t is 12.706."""
    assert pooled.cells(TWO, 1) == "2.0 [-10.7, 14.7]"


def test_one_run_has_an_interval_over_its_tasks(pooled: Any) -> None:
    low, high = pooled.interval(np.array([[[1.0], [3.0]]]))[0]
    assert (low, high) == (1.0, 3.0), "a quarter of the resamples have the same task twice"


def test_a_difference_covers_the_seeds_of_whom_has_several(pooled: Any) -> None:
    assert pooled.difference(TWO, ONE, (0,), 1) == "2.0 [-10.7, 14.7]"


def test_a_difference_pairs_tasks(pooled: Any) -> None:
    """The tasks differ by 100, the agents by 1 on each."""
    tasks = np.array([[[0.0], [100.0]]])
    assert pooled.difference(tasks + 1.0, tasks, (0,), 1) == "1.0 [1.0, 1.0]"
