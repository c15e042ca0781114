"""The layout of mazes: their passages and walls, and how far cells are from one another.

A maze is walls float64 "size size 4": 1 where a move of ``MOVES`` out of a cell is blocked, else 0. It is
read as matrices are, row 0 on top, and cells are numbered row by row from 0, where every episode starts.
"""

from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from metarl_envs.base.formulas import Bools, Floats, Refusal, Tasks

UP, RIGHT, DOWN, LEFT = 0, 1, 2, 3
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""(row, column) of the moves up, right, down, left."""


@cache
def passages(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the two cells of each possible passage: first all rightward ones, row by row, then downward."""
    cell = np.arange(size * size).reshape(size, size)
    first = np.concatenate([cell[:, :-1].ravel(), cell[:-1].ravel()])
    second = np.concatenate([cell[:, 1:].ravel(), cell[1:].ravel()])
    return first, second


def carved(weights: Floats, extra: int, size: int) -> Bools:
    """Open passages, bool "n passages": a tree that connects all cells, and ``extra`` more.

    Args:
        weights: in [0, 1), "n passages". The tree is the lightest one (Prim 1957), the others follow by
            weight.
    """
    first, second = passages(size)
    rows = np.arange(len(weights))
    within, is_open = np.zeros((len(rows), size * size), dtype=np.bool_), np.zeros(weights.shape, np.bool_)
    within[:, 0] = True
    for _ in range(size * size - 1):
        frontier = within[:, first] != within[:, second]
        lightest = np.where(frontier, weights, 1.0).argmin(axis=1)
        is_open[rows, lightest] = True
        within[rows, first[lightest]] = within[rows, second[lightest]] = True
    others = np.where(is_open, 1.0, weights).argsort(axis=1, kind="stable")[:, :extra]
    is_open[rows[:, None], others] = True
    return is_open


def walls_of(is_open: Bools, size: int) -> Floats:
    """Return the walls "n size size 4" that leave the given passages open."""
    n, half = len(is_open), size * (size - 1)
    shut = np.where(is_open, 0.0, 1.0)
    right, down = shut[:, :half].reshape(n, size, size - 1), shut[:, half:].reshape(n, size - 1, size)
    walls = np.ones((n, size, size, 4))
    walls[:, :, :-1, RIGHT] = walls[:, :, 1:, LEFT] = right
    walls[:, :-1, :, DOWN] = walls[:, 1:, :, UP] = down
    return walls


def inner_walls(walls: Floats) -> Floats:
    """Return each wall that may be open once, in the order of ``passages``, "n passages"."""
    n = len(walls)
    right, down = walls[:, :, :-1, RIGHT].reshape(n, -1), walls[:, :-1, :, DOWN].reshape(n, -1)
    return np.concatenate([right, down], axis=1)


def no_maze(tasks: Tasks) -> Iterable[Refusal]:
    """Refuse walls "n size size 4" and goals "n 2" (row, column) that are no maze."""
    walls, goal = tasks["walls"], tasks["goal"]
    size = walls.shape[1]
    bad = (walls != 0.0) & (walls != 1.0)
    bad[:, 0, :, UP] |= walls[:, 0, :, UP] == 0.0
    bad[:, -1, :, DOWN] |= walls[:, -1, :, DOWN] == 0.0
    bad[:, :, 0, LEFT] |= walls[:, :, 0, LEFT] == 0.0
    bad[:, :, -1, RIGHT] |= walls[:, :, -1, RIGHT] == 0.0
    bad[:, :, :-1, RIGHT] |= walls[:, :, :-1, RIGHT] != walls[:, :, 1:, LEFT]
    bad[:, :-1, :, DOWN] |= walls[:, :-1, :, DOWN] != walls[:, 1:, :, UP]
    yield Refusal("walls", bad, "0 or 1 for up, right, down, left, alike from both sides, 1 at the border")
    off = (goal != np.floor(goal)) | (goal < 0.0) | (goal > size - 1.0)
    is_start = (goal == 0.0).all(axis=1)
    yield Refusal("goal", off.any(axis=1) | is_start, f"a cell up to [{size - 1}, {size - 1}] but [0, 0]")


def distances(walls: Floats, goal: NDArray[np.int64]) -> Floats:
    """Return moves from each cell to the goal by a shortest path, "n size size"; inf where there is none.

    Args:
        goal: the goal's cell (row, column), "n 2".

    The recursion is Bellman's: a cell is one move further than the nearest cell that it leads to.
    """
    n, size = len(walls), walls.shape[1]
    far = np.full((n, size + 2, size + 2), np.inf)  # a frame of cells that nobody can be in
    far[np.arange(n), goal[:, 0] + 1, goal[:, 1] + 1] = 0.0
    inner = far[:, 1:-1, 1:-1]
    while True:
        around = [far[:, 1 + r : 1 + r + size, 1 + c : 1 + c + size] for r, c in MOVES]
        through = np.where(walls == 0.0, np.stack(around, axis=-1), np.inf).min(axis=-1) + 1.0
        if (through >= inner).all():
            return inner.copy()
        np.minimum(inner, through, out=inner)
