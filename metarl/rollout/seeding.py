"""Addressed randomness: every draw of a run has an address, and its bits depend on nothing else.

An address is (root seed, purpose, indices), for example (1, "actions", iteration, inner step, task). There is
no generator state to save, so a resumed run draws exactly what an uninterrupted one would have drawn; and
workers that each compute some of the addresses cannot change or duplicate one another's draws.
"""

import operator
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from metarl.core.errors import RequestError

PURPOSES = {
    "init": 1,
    "tasks": 2,
    "starts": 3,
    "actions": 4,
    "shots": 5,
    "minibatches": 6,
    "bootstrap": 7,
    "baselines": 8,
    "pictures": 9,
    "policies": 10,
}
"""Purpose → its number in every address. Append only: another number is another result for every seed."""


class Address(NamedTuple):
    """The place of a collection in a run. Each random draw of it is a function of this and of the task.

    ``use`` keeps training, validation and evaluation apart; ``first_task`` is the global index of the first
    of the given tasks, so that a chunk of tasks draws what it would draw among all of them.
    """

    seed: int
    use: int
    iteration: int = 0
    inner_step: int = 0
    first_task: int = 0

    def of(self, task: int) -> tuple[int, int, int, int]:
        """The indices that follow a purpose in ``seeding``, for the task at this position of the batch."""
        return *self.shared, self.first_task + task

    @property
    def shared(self) -> tuple[int, int, int]:
        """Return the indices that all tasks share."""
        return self.use, self.iteration, self.inner_step

    def last(self, tasks: int) -> range:
        """Return the last index of each of so many tasks."""
        return range(self.first_task, self.first_task + tasks)


def _key(
    seed: SupportsIndex, purpose: str, indices: Sequence[SupportsIndex], length: int
) -> tuple[int, tuple[int, ...]]:
    """Root and key of an address of so many indices, of which the first are given."""
    if purpose not in PURPOSES:
        raise RequestError(f"unknown purpose {purpose!r} of randomness; allowed: {', '.join(PURPOSES)}")
    root = _integer("seed", seed, 64)
    words = [_integer(f"index {i} of {purpose!r}", value, 32) for i, value in enumerate(indices)]
    # SeedSequence reads a key as 32-bit words and may pad it with zeros: (a,) and (a, 0) could share their
    # bits, and an index of 2**32 would read as two words. Hence one word each, and their number in front.
    return root, (length, PURPOSES[purpose], *words)


def _sequence(
    seed: SupportsIndex, purpose: str, indices: tuple[SupportsIndex, ...]
) -> np.random.SeedSequence:
    root, key = _key(seed, purpose, indices, len(indices))
    return np.random.SeedSequence(root, spawn_key=key)


def _integer(what: str, value: object, bits: int) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if not 0 <= number < 2**bits:
        raise RequestError(f"{what} is {value!r}; allowed: integers from 0 to 2**{bits} - 1")
    return number


def generator(seed: SupportsIndex, purpose: str, *indices: SupportsIndex) -> np.random.Generator:
    """A fresh generator at an address.

    Args:
        seed: the run's root seed, 0 to 2**64 - 1.
        purpose: a key of ``PURPOSES``.
        indices: what the draw belongs to (iteration, inner step, global task index, …), each 0 to 2**32 - 1;
            a different number of indices is a different address.

    Raises:
        RequestError: an unknown purpose, or a number out of range.
    """
    return np.random.Generator(np.random.PCG64(_sequence(seed, purpose, indices)))


def seeds(seed: SupportsIndex, purpose: str, *indices: SupportsIndex, n: int) -> NDArray[np.uint64]:
    """Reset seeds at an address, uint64 "n"; the first m of n are the m that ``n=m`` would give.

    Raises:
        RequestError: as ``generator``, or a negative n.
    """
    state = _sequence(seed, purpose, indices).generate_state(_integer("n", n, 32), np.uint64)
    return state.astype(np.uint64, copy=False)


def seeds_of_each(
    seed: SupportsIndex, purpose: str, *indices: SupportsIndex, last: range, n: int
) -> NDArray[np.uint64]:
    """``seeds`` at the addresses that differ in their last index alone, uint64 "last n".

    Raises:
        RequestError: as ``seeds``.
    """
    for end in (last.start, last.stop - 1) if last else ():
        _integer(f"index {len(indices)} of {purpose!r}", end, 32)
    root, key = _key(seed, purpose, indices, len(indices) + 1)
    return _states(root, key, np.asarray(last, np.uint32), _integer("n", n, 32))


def generators(
    seed: SupportsIndex, purpose: str, *indices: SupportsIndex, last: range
) -> list[np.random.Generator]:
    """``generator`` at the addresses that differ in their last index alone."""
    states = seeds_of_each(seed, purpose, *indices, last=last, n=_PCG64_WORDS)
    found = []
    for state in states:
        drawn: Any = _Drawn(state)  # NumPy's annotation knows SeedSequence only
        found.append(np.random.Generator(np.random.PCG64(drawn)))
    return found


_PCG64_WORDS = 4  # of 64 bits, that a PCG64 is seeded with


class _Drawn(ISeedSequence):
    """A seed sequence whose state has been worked out."""

    def __init__(self, state: NDArray[np.uint64]) -> None:
        self._state = state

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[Any]:
        assert (n_words, np.dtype(dtype)) == (_PCG64_WORDS, np.uint64), "what a PCG64 asks for"
        return self._state


# The constants of NumPy's SeedSequence, which are those of M. E. O'Neill's randutils (2015).
_IN, _IN_STEP, _LEFT, _RIGHT = 0x43B0D7E5, 0x931E8875, np.uint32(0xCA01F9DD), np.uint32(0x4973F715)
_OUT, _OUT_STEP = 0x8B51F9DD, 0x58F38DED
_POOL = 4  # words


def _states(root: int, key: tuple[int, ...], last: NDArray[np.uint32], n: int) -> NDArray[np.uint64]:
    """Return ``SeedSequence(root, spawn_key=(*key, i)).generate_state(n, np.uint64)`` for each i.

    SeedSequence hashes word after word into a pool of four, so the pool of the key serves all; a tenth of
    the time of many sequences, which was most of the time of a collection of short episodes.
    """
    pool = np.random.SeedSequence(root, spawn_key=key).pool
    hashed = _POOL * (_POOL + len(key))  # words of the root, all pairs of the pool, words of the key
    pool = _LEFT * pool - _RIGHT * _hashed(last[:, None], _IN, _IN_STEP, hashed, _POOL)
    pool ^= pool >> np.uint32(16)
    words = np.ascontiguousarray(pool[:, np.arange(2 * n) % _POOL])
    return _hashed(words, _OUT, _OUT_STEP, 0, 2 * n).view(np.uint64)


def _hashed(words: NDArray[np.uint32], first: int, step: int, skip: int, n: int) -> NDArray[np.uint32]:
    """Columns hashed by the constants ``first · step**i`` of i from ``skip``, "… n"."""
    constants = _constants(first, step, skip, n)
    x = (words ^ constants[:-1]) * constants[1:]
    return np.asarray(x ^ x >> np.uint32(16), np.uint32)


@cache
def _constants(first: int, step: int, skip: int, n: int) -> NDArray[np.uint32]:
    return np.array([first * pow(step, skip + i, 2**32) % 2**32 for i in range(n + 1)], np.uint32)
