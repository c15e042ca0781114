"""Chunks of tasks: the unit of work and of memory.

A chunk's result has the same bits whichever thread works on it, and results come back in the order of the
tasks; so neither the number of threads nor that of chunks changes a result. Threads each use one intra-op
thread: several intra-op threads collapse as soon as another process holds a core.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import torch

from metarl.core.params import split

R = TypeVar("R")


class Chunking(NamedTuple):
    """The number of tasks that are computed at a time.

    Attributes:
        size: tasks to a chunk.
        threads: chunks at a time.
        held: bounds the tasks whose graphs are kept from one curvature product to the next; None is all.
            Those of the others are built anew for each product, which takes longer and gives the same bits.
    """

    size: int
    threads: int = 1
    held: int | None = None


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    # Some OpenMP runtimes keep the number of intra-op threads per thread.
    return ThreadPoolExecutor(threads, "metarl-chunk", initializer=lambda: torch.set_num_threads(1))


def run_all(calls: Sequence[Callable[[], R]], threads: int) -> list[R]:
    """Return the results of all ``calls``, in their order, ``threads`` at a time."""
    if threads == 1 or len(calls) == 1:
        return [call() for call in calls]
    return list(_pool(threads).map(lambda call: call(), calls))


def map_chunks(fn: Callable[..., R], chunking: Chunking, *trees: Any) -> list[R]:
    """Call ``fn`` on each chunk of the ``trees`` (task axis first); return results in the tasks' order."""
    pieces = zip(*(split(tree, chunking.size) for tree in trees), strict=True)
    return run_all([functools.partial(fn, *piece) for piece in pieces], chunking.threads)
