"""Addressed randomness: every draw of a run has an address, and its bits depend on nothing else.

An address is (root seed, purpose, indices), for example (1, "actions", iteration, inner step, task). There is
no generator state to save, so a resumed run draws exactly what an uninterrupted one would have drawn; and
workers that each compute some of the addresses cannot change or duplicate one another's draws.
"""

import operator
from typing import SupportsIndex

import numpy as np
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
}
"""Purpose → its number in every address. Append only: another number is another result for every seed."""


def _sequence(
    seed: SupportsIndex, purpose: str, indices: tuple[SupportsIndex, ...]
) -> np.random.SeedSequence:
    if purpose not in PURPOSES:
        raise RequestError(f"unknown purpose {purpose!r} of randomness; allowed: {', '.join(PURPOSES)}")
    root = _integer("seed", seed, 64)
    words = [_integer(f"index {i} of {purpose!r}", value, 32) for i, value in enumerate(indices)]
    # SeedSequence reads a key as 32-bit words and may pad it with zeros: (a,) and (a, 0) could share their
    # bits, and an index of 2**32 would read as two words. Hence one word each, and their number in front.
    return np.random.SeedSequence(root, spawn_key=(len(words), PURPOSES[purpose], *words))


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
