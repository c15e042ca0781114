"""Letters as classes: look-alikes are one class, and each script belongs to one split.

Two letters look alike when appearances of theirs correlate above ``ALIKE``, or when both look like a third.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from metarl_envs.few_shot.glyph_shapes import Bitmaps, appearances, letters

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]

# A class of look-alikes stands in the first of these scripts that has one of them.
SCRIPTS = {
    "train": ("LATIN", "GREEK", "CYRILLIC", "COPTIC", "LISU", "OLD", "CANADIAN", "ARABIC"),
    "validation": ("ARMENIAN", "LAO", "NKO"),
    "test": ("GEORGIAN", "HEBREW", "TIFINAGH", "OGHAM"),
}
ALIKE = 0.94  # normalised correlation; the promise is 0.95
_SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))  # pixels down and to the right
_BLOCK = 512  # images compared with all others at a time, for memory's sake


def classes() -> dict[str, list[str]]:
    """Return the letters that stand for classes, split by split."""
    split_of = {
        char: split for split, names in SCRIPTS.items() for script in names for char in letters(script)
    }
    chars, shapes = list(split_of), [appearances(char) for char in split_of]
    first = look_alikes(shapes)
    chosen: dict[str, list[str]] = {split: [] for split in SCRIPTS}
    for number in np.unique(first).tolist():
        chosen[split_of[chars[number]]].append(chars[number])
    return chosen


def look_alikes(shapes: list[Bitmaps]) -> NDArray[np.int64]:
    """Return for each letter, given by its appearances "2 faces 28 28", the first letter of its class."""
    owners = np.repeat(np.arange(len(shapes)), [shape.shape[1] for shape in shapes])
    first = np.arange(len(shapes))
    for view in (0, 1):
        for one, other in _alike(np.concatenate([shape[view] for shape in shapes])):
            _join(first, owners[one], owners[other])
    return first


def _alike(images: Bitmaps) -> Iterator[Pairs]:
    """Yield pairs of images "s 28 28" that correlate above ``ALIKE``, where one may be shifted by a pixel.

    Seven bits a pixel keep every sum of products below 2²⁴, so float32 has it exactly in whatever order it is
    summed: what looks alike does not depend on the machine.
    """
    ink = (images >> 1).astype(np.float32)
    rows = ink.reshape(len(ink), -1)
    total = rows.sum(1, dtype=np.float64)
    spread = np.sqrt(rows.shape[1] * np.square(rows, dtype=np.float64).sum(1) - total**2)
    for start in range(0, len(rows), _BLOCK):
        part, rest = slice(start, start + _BLOCK), slice(start, None)
        shifted = (np.roll(ink[part], shift, (1, 2)).reshape(-1, rows.shape[1]) for shift in _SHIFTS)
        products = next(shifted) @ rows[rest].T
        for block in shifted:
            np.maximum(products, block @ rows[rest].T, out=products)
        covariance = rows.shape[1] * products.astype(np.float64) - np.outer(total[part], total[rest])
        one, other = np.nonzero(covariance > ALIKE * np.outer(spread[part], spread[rest]))
        yield one + start, other + start


def _join(first: NDArray[np.int64], one: NDArray[np.int64], other: NDArray[np.int64]) -> None:
    """Merge the classes of each pair in place: all their letters get the smallest number among them."""
    while (first[one] != first[other]).any():
        smaller = np.minimum(first[one], first[other])
        np.minimum.at(first, first[one], smaller)
        np.minimum.at(first, first[other], smaller)
        while (first != first[first]).any():
            first[:] = first[first]
