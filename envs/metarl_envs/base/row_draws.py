"""Random draws addressed by a seed per row, vectorised over rows.

Four hundred ``numpy.random.Generator`` objects cost about 10 ms a reset, hashing 400 counters 0.05 ms.
Row i of every result depends on ``seeds[i]`` alone, so that a vector environment and a single one start alike
from one seed.

The hash is the finaliser of SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number
generators"), applied to the seed, to its stream and to the counter in turn: applied once to their sum, it
would give seed s + 0x9E37… the numbers of seed s one column later.
"""

import operator
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

Seeds: TypeAlias = NDArray[np.uint64]

START, TASK, NEXT, STEP = 0, 1, 2, 3
"""Streams of one seed: the episode's start, its task, the seed after it, and ``STEP + t`` for time step t."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_STREAM = np.uint64(0xD1B54A32D192ED03)


def _mix(x: Seeds) -> Seeds:
    """Map 64 bits one to one, so that each input bit flips each output bit with probability near 1/2."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _keys(seeds: Seeds, stream: int | NDArray[np.int64]) -> Seeds:
    """Return one key "n" for seeds "n" and a stream (an int, or one int a row), modulo 2⁶⁴."""
    offset = np.atleast_1d(np.asarray(stream)).astype(np.uint64) + np.uint64(1)
    return _mix(_mix(seeds) + offset * _STREAM)


def uniform(seeds: Seeds, draws: int, stream: int | NDArray[np.int64] = START) -> NDArray[np.float64]:
    """Draw uniform numbers in [0, 1), multiples of 2⁻⁵³.

    Args:
        seeds: uint64 "n", one a row.
        draws: numbers a row; the first k columns do not depend on it.
        stream: which of the seed's independent streams, one for all rows or int "n".

    Returns:
        float64 "n draws"; row i is a function of ``seeds[i]`` (and the row's stream) alone.
    """
    counters = np.arange(1, draws + 1, dtype=np.uint64) * _GOLDEN
    bits = _mix(_keys(seeds, stream)[:, None] + counters)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def next_seeds(seeds: Seeds) -> Seeds:
    """Return the seeds of the episodes after these, for resets without a seed: uint64 "n" to uint64 "n"."""
    return _mix(_keys(seeds, NEXT) + _GOLDEN)


def row_seeds(seed: SupportsIndex | Sequence[SupportsIndex] | NDArray[Any] | None, n: int) -> Seeds:
    """Return one seed a row, as Gymnasium reads a vector environment's ``seed``.

    Args:
        seed: an int s stands for s, s + 1, …; a sequence gives one seed a row; None takes fresh entropy.
        n: number of rows.

    Raises:
        ValueError: a seed that is no integer in [0, 2⁶⁴), or a sequence of another length than n.
    """
    if seed is None:
        return np.random.SeedSequence().generate_state(n, np.uint64).astype(np.uint64, copy=False)
    if not isinstance(seed, Sequence | np.ndarray):
        return np.uint64(_one_seed(seed)) + np.arange(n, dtype=np.uint64)
    if len(seed) != n:
        raise ValueError(f"{len(seed)} seeds for {n} rows; allowed: one int, or one int for each row")
    if isinstance(seed, list) and all(type(s) is int for s in seed):
        with suppress(OverflowError):  # which names no seed
            return np.array(seed, dtype=np.uint64)
    return np.array([_one_seed(s) for s in seed], dtype=np.uint64)


def _one_seed(seed: object) -> int:
    try:
        value = operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        value = -1
    if not 0 <= value < 2**64:
        raise ValueError(f"seed {seed!r}; allowed: integers from 0 to 2**64 - 1")
    return value
