"""The values that tasks of a ``GymFamily`` are drawn from: ``Uniform``, ``Scale`` and ``Choice``.

Bounds and values are whatever a user wrote (hence Any) until ``fault`` has looked at them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, prod
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from metarl_envs.base.formulas import Bools, Floats


@runtime_checkable
class ValueRange(Protocol):
    """The values of one named part of a task, in training and out of distribution (ood).

    A task's entries are float64. ``original`` is the environment's own value, None where it is not known.
    """

    relative: ClassVar[bool]

    @property
    def count(self) -> int | None:
        """Number of training values, where there are finitely many."""

    @property
    def has_ood(self) -> bool:
        """True with values out of distribution."""

    def fault(self) -> str:
        """Name what is wrong with the range and what is allowed; "" if nothing is wrong."""

    def shape(self, original: Any) -> tuple[int, ...]:
        """Return the shape of one task's entry."""

    def draw(self, u: Floats, ood: bool) -> Floats:
        """Turn uniform numbers "n ..." in [0, 1) into entries "n ..."."""

    def features(self, entries: Floats) -> Floats:
        """Return what an oracle sees of entries "n ...": "n f", in training from −1 to 1."""

    def refuse(self, entries: Floats) -> tuple[Bools, str]:
        """Mark the entries "n ..." that cannot be served, bool "n ...", and say what is allowed."""

    def value(self, entry: Any, original: Any) -> Any:
        """Return what the environment is to have for one task's entry."""


def _bounds_fault(*bounds: Any) -> str:
    try:
        arrays = [np.asarray(bound, np.float64) for bound in bounds]
    except (TypeError, ValueError):
        return "has a bound that is no number"
    if len({array.shape for array in arrays}) > 1:
        return f"has bounds of the shapes {', '.join(str(a.shape) for a in arrays)}; allowed: one shape"
    if not all(np.isfinite(array).all() for array in arrays):
        return "has a bound that is not finite; allowed: finite numbers"
    return ""


def _interval_fault(low: Any, high: Any, ood: Any) -> str:
    """Name what is wrong with a range and the one beyond it; "" if nothing is."""
    if ood is not None and not (isinstance(ood, Sequence) and len(ood) == 2):
        return "has an ood that is no pair; allowed: ood=(low, high)"
    if fault := _bounds_fault(low, high, *(ood or ())):
        return fault
    if (np.asarray(low) >= high).any():
        return "is empty; allowed: low < high"
    if ood is not None:
        if (np.asarray(ood[0]) >= ood[1]).any():
            return "has an empty ood; allowed: low < high"
        if ((np.asarray(ood[0]) < high) & (np.asarray(ood[1]) > low)).any():
            return "has an ood that overlaps the training range; allowed: a range beside it"
    return ""


def _plain(entry: Any) -> Any:
    return entry.item() if np.ndim(entry) == 0 else np.array(entry)


def _rows(x: Floats) -> Floats:
    return x.reshape(len(x), -1)


@dataclass(frozen=True)
class _Interval:
    low: Any
    high: Any
    ood: Any = None
    count: ClassVar[int | None] = None

    @property
    def has_ood(self) -> bool:
        return self.ood is not None

    def _bounds(self, ood: bool) -> Any:
        return self.ood if ood and self.ood is not None else (self.low, self.high)


@dataclass(frozen=True)
class Uniform(_Interval):
    """Uniform in [low, high): a number, or an array with a range for each entry.

    Args:
        ood: the range out of distribution, which does not overlap the other.
    """

    relative: ClassVar[bool] = False

    def fault(self) -> str:
        return _interval_fault(self.low, self.high, self.ood)

    def shape(self, original: Any) -> tuple[int, ...]:
        return np.shape(self.low)

    def draw(self, u: Floats, ood: bool) -> Floats:
        low, high = (np.asarray(x, np.float64) for x in self._bounds(ood))
        return np.asarray(low + u * (high - low))

    def features(self, entries: Floats) -> Floats:
        """Return the place in the training range, −1 to 1."""
        low, high = np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)
        return _rows((2 * entries - low - high) / (high - low))

    def refuse(self, entries: Floats) -> tuple[Bools, str]:
        return np.zeros(len(entries), np.bool_), ""

    def value(self, entry: Any, original: Any) -> Any:
        return _plain(entry)


@dataclass(frozen=True)
class Scale(_Interval):
    """Factors of the environment's own value, one for each of its numbers, log-uniform in [low, high).

    Halving is then as likely as doubling.

    Args:
        ood: the range of factors out of distribution, which does not overlap the other.
    """

    relative: ClassVar[bool] = True

    def fault(self) -> str:
        if np.ndim(self.low) or np.ndim(self.high):
            return "has a bound that is no number; allowed: two factors, for all entries alike"
        if fault := _interval_fault(self.low, self.high, self.ood):
            return fault
        positive = min(self.low, self.high, *(self.ood or ())) > 0
        return "" if positive else "has a factor that is not positive; allowed: > 0"

    def shape(self, original: Any) -> tuple[int, ...]:
        return np.shape(original)

    def draw(self, u: Floats, ood: bool) -> Floats:
        low, high = self._bounds(ood)
        return np.asarray(low * np.float_power(high / low, u))  # which rounds a number alike wherever it is

    def features(self, entries: Floats) -> Floats:
        """Return the place in the training range on a logarithmic scale, −1 to 1."""
        return _rows(2 * np.log(entries / self.low) / np.log(self.high / self.low) - 1)

    def refuse(self, entries: Floats) -> tuple[Bools, str]:
        return entries <= 0, "factors > 0"

    def value(self, entry: Any, original: Any) -> Any:
        return _plain(np.asarray(original) * entry)


@dataclass(frozen=True)
class Choice:
    """One of finitely many values, each as likely as another.

    Of values that are all numbers a task has the number, of others the position (from 0, those out of
    distribution last).

    Args:
        ood: the values out of distribution, none of which is among the others.
    """

    values: Any
    ood: Any = ()
    relative: ClassVar[bool] = False

    @property
    def count(self) -> int | None:
        return len(self.values)

    @property
    def has_ood(self) -> bool:
        return len(self.ood) > 0

    @property
    def _all(self) -> list[Any]:
        return [*self.values, *self.ood]

    @property
    def _numeric(self) -> bool:
        return all(isinstance(x, int | float | np.integer | np.floating) for x in self._all)

    @property
    def _numbers(self) -> Floats:
        """Return all values as a task has them."""
        return np.array(self._all if self._numeric else range(len(self._all)), np.float64)

    def fault(self) -> str:
        if any(not isinstance(x, Sequence) or isinstance(x, str) for x in (self.values, self.ood)):
            return "has no list of values; allowed: Choice([...])"
        everything = self._all
        if not len(self.values):
            return "is empty; allowed: one value or more"
        if len(set(self._numbers.tolist() if self._numeric else map(repr, everything))) < len(everything):
            return "has a value twice; allowed: each once"
        return "" if np.isfinite(self._numbers).all() else "has a value that is not finite"

    def shape(self, original: Any) -> tuple[int, ...]:
        return ()

    def draw(self, u: Floats, ood: bool) -> Floats:
        n = len(self.values)
        numbers = self._numbers[n:] if ood and self.has_ood else self._numbers[:n]
        return np.asarray(numbers[np.floor(u * len(numbers)).astype(np.int64)])

    def features(self, entries: Floats) -> Floats:
        """Return the place of numbers between the least and the largest, −1 to 1; others one-hot."""
        numbers, n = self._numbers, len(self.values)
        if self._numeric:
            low, high = numbers[:n].min(), numbers[:n].max()
            return _rows((2 * entries - low - high) / ((high - low) or 1.0))
        return np.equal(entries[:, None], numbers).astype(np.float64)

    def refuse(self, entries: Floats) -> tuple[Bools, str]:
        shown = ", ".join(f"{x:g}" for x in self._numbers)
        return ~np.isin(entries, self._numbers), shown if len(shown) <= 120 else f"{shown[:120]}…"

    def value(self, entry: Any, original: Any) -> Any:
        return self._all[int(np.flatnonzero(self._numbers == entry)[0])]


def nth(ranges: Sequence[ValueRange], index: NDArray[np.int64]) -> list[Floats]:
    """Return the tasks of finite ranges by number: uniform numbers "n" for each range.

    Neighbouring numbers are spread over all tasks, so that the first few differ in everything; numbers from 0
    up to the number of tasks give each task once.
    """
    counts = [r.count or 1 for r in ranges]
    total = prod(counts)
    stride = max(1, round(total * 0.6180339887498949))  # the golden ratio
    while gcd(stride, total) != 1:
        stride += 1
    rest = np.array([int(i) * stride % total for i in index], object)
    uniforms: list[Floats] = []
    for count in counts:
        uniforms.append(((rest % count).astype(np.float64) + 0.5) / count)
        rest = rest // count
    return uniforms
