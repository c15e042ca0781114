"""Draws addressed by row: pinned values, isolation of rows, streams and columns, what counts as a seed."""

import numpy as np
import pytest

from metarl_envs.base import row_draws
from row_by_row import refused

MASK = 2**64 - 1


def mix(x: int) -> int:
    """SplitMix64's finaliser in Python integers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def test_the_finaliser_is_splitmix64s():
    # The generator's published first outputs from state 0 are the finaliser of 1, 2, 3 × golden ratio.
    golden = np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert row_draws._mix(golden).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@pytest.mark.parametrize("stream", [row_draws.START, row_draws.TASK, row_draws.STEP + 99])
def test_draws_are_those_of_integer_arithmetic(stream):
    seeds = np.array([0, 1, 2**63, MASK], dtype=np.uint64)
    draws = row_draws.uniform(seeds, 3, stream)
    for i, seed in enumerate(seeds.tolist()):
        key = mix((mix(seed) + (stream + 1) * 0xD1B54A32D192ED03) & MASK)
        expected = [(mix((key + j * 0x9E3779B97F4A7C15) & MASK) >> 11) / 2**53 for j in (1, 2, 3)]
        assert draws[i].tolist() == expected


def test_values_never_change():
    draws = row_draws.uniform(np.array([0, 1], dtype=np.uint64), 2)
    assert draws.tolist() == [
        [0.11703298039315357, 0.7306908801127456],
        [0.5735468303368728, 0.5212627990044271],
    ]


def test_rows_columns_and_streams_are_apart():
    seeds = row_draws.row_seeds(7, 100)
    draws = row_draws.uniform(seeds, 4)
    assert draws.shape == (100, 4) and draws.dtype == np.float64
    assert np.unique(draws).size == 400
    assert np.array_equal(row_draws.uniform(seeds[40:41], 2), draws[40:41, :2])  # alone, and fewer columns
    assert not np.isin(row_draws.uniform(seeds, 4, row_draws.TASK), draws).any()
    times = np.arange(100)
    by_row = row_draws.uniform(seeds, 2, row_draws.STEP + times)
    assert np.array_equal(by_row[[5]], row_draws.uniform(seeds[[5]], 2, row_draws.STEP + 5))


def test_draws_are_uniform_and_neighbouring_seeds_unrelated():
    draws = row_draws.uniform(row_draws.row_seeds(0, 20_000), 3)
    assert draws.min() >= 0.0 and draws.max() < 1.0
    counts = np.stack([np.histogram(column, bins=20, range=(0, 1))[0] for column in draws.T])
    assert ((counts - 1000) ** 2 / 1000).sum(axis=1).max() < 50  # χ² with 19 degrees of freedom: p = 1e-4
    pairs = [draws[:, 0], draws[:, 1], np.roll(draws[:, 0], 1), np.roll(draws[:, 1], 1)]
    for stream in (row_draws.TASK, row_draws.STEP):  # a start and noise tell nothing about a task
        pairs += [row_draws.uniform(row_draws.row_seeds(0, 20_000), 1, stream)[:, 0]]
    correlation = np.corrcoef(pairs) - np.eye(6)
    assert np.abs(correlation).max() < 4 / np.sqrt(20_000)


def test_next_seeds_follow_each_row_and_do_not_return():
    seeds = row_draws.row_seeds(3, 50)
    first = row_draws.next_seeds(seeds)
    assert np.array_equal(row_draws.next_seeds(seeds[10:11]), first[10:11])
    assert np.unique([seeds, first, row_draws.next_seeds(first)]).size == 150


def test_row_seeds_reads_seeds_as_gymnasium_does():
    assert row_draws.row_seeds(5, 3).tolist() == [5, 6, 7]
    assert row_draws.row_seeds(MASK, 2).tolist() == [MASK, 0]
    assert row_draws.row_seeds([9, MASK], 2).tolist() == [9, MASK]
    assert row_draws.row_seeds(np.array([4, 2], dtype=np.int32), 2).tolist() == [4, 2]
    assert row_draws.row_seeds([np.uint64(MASK)], 1).dtype == np.uint64
    fresh = [row_draws.row_seeds(None, 4) for _ in range(2)]
    assert np.unique(fresh).size == 8


@pytest.mark.parametrize(
    ("seed", "shown"),
    [
        (-1, "seed -1; allowed: integers from 0 to 2**64 - 1"),
        (2**64, "seed 18446744073709551616"),
        ([1, -2], "seed -2"),
        (np.array([1.0, 2.0]), "seed np.float64(1.0)"),
        ([1, 2, 3], "3 seeds for 2 rows"),
    ],
)
def test_what_is_no_seed_is_refused(seed, shown):
    with refused(shown):
        row_draws.row_seeds(seed, 2)
