"""Where the numbers of a task come from: ``Uniform``, ``Scale`` and ``Choice``, each with a range out of
distribution if it is given one. ``GymFamily`` draws them; what is wrong with one is told there, by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, prod
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from metarl_envs.base.formulas import Bools, Floats

# What users write is judged by ``wrong``, in words of its own: hence Any.
Range: TypeAlias = Any


@runtime_checkable
class ValueRange(Protocol):
    """One named part of a task; its entries are float64 of shape ``shape(own)``."""

    relative: ClassVar[bool]

    @property
    def count(self) -> int | None:
        """How many values it has, where there are finitely many."""

    @property
    def has_ood(self) -> bool:
        """Whether it has a range out of distribution."""

    def fault(self) -> str:
        """What is wrong with it and what is allowed, "" if nothing is."""

    def shape(self, own: Any) -> tuple[int, ...]:
        """The shape of an entry, where the environment's own value is ``own`` (None: it is not known)."""

    def draw(self, u: Floats, ood: bool) -> Floats:
        """Entries "n ..." from uniform numbers "n ..."."""

    def features(self, entries: Floats) -> Floats:
        """What an oracle sees of entries "n ...": "n f", of which ±1 are the edges of training."""

    def refuse(self, entries: Floats) -> tuple[Bools, str]:
        """Which of entries "n ..." it cannot serve, and what is allowed."""

    def value(self, entry: Any, own: Any) -> Any:
        """What the environment is given for one task's entry."""


def _same_shape(*bounds: Any) -> str:
    try:
        arrays = [np.asarray(bound, np.float64) for bound in bounds]
    except (TypeError, ValueError):
        return "has a bound that is no number"
    if len({array.shape for array in arrays}) > 1:
        return f"has bounds of the shapes {', '.join(str(a.shape) for a in arrays)}; allowed: one shape"
    if not all(np.isfinite(array).all() for array in arrays):
        return "has a bound that is not finite; allowed: finite numbers"
    return ""


def _range(low: Any, high: Any, ood: Range) -> str:
    """What is wrong with a range and the one beyond it."""
    if ood is not None and not (isinstance(ood, Sequence) and len(ood) == 2):
        return "has an ood that is no pair; allowed: ood=(low, high)"
    if trouble := _same_shape(low, high, *(ood or ())):
        return trouble
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
class Uniform:
    """Uniform in [low, high): a number, or an array with a range for each entry.

    Args:
        ood: the range out of distribution, which does not overlap the other.
    """

    low: Any
    high: Any
    ood: Range = None
    relative: ClassVar[bool] = False
    count: ClassVar[int | None] = None

    @property
    def has_ood(self) -> bool:
        """Whether it has a range out of distribution."""
        return self.ood is not None

    def fault(self) -> str:
        """What is wrong with it."""
        return _range(self.low, self.high, self.ood)

    def shape(self, own: Any) -> tuple[int, ...]:
        """That of the bounds."""
        return np.shape(self.low)

    def draw(self, u: Floats, ood: bool) -> Floats:
        """Uniform entries."""
        low, high = (np.asarray(x, np.float64) for x in self._bounds(ood))
        return np.asarray(low + u * (high - low))

    def _bounds(self, ood: bool) -> Range:
        return self.ood if ood and self.ood is not None else (self.low, self.high)

    def features(self, entries: Floats) -> Floats:
        """The place in the training range, −1 to 1."""
        low, high = np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)
        return _rows((2 * entries - low - high) / (high - low))

    def refuse(self, entries: Floats) -> tuple[Bools, str]:
        """Nothing."""
        return np.zeros(len(entries), np.bool_), ""

    def value(self, entry: Any, own: Any) -> Any:
        """The entry."""
        return _plain(entry)


@dataclass(frozen=True)
class Scale:
    """Factors of the environment's own value, one for each of its numbers, log-uniform in [low, high).

    Halving is then as likely as doubling.

    Args:
        ood: the range of factors out of distribution, which does not overlap the other.
    """

    low: Any
    high: Any
    ood: Range = None
    relative: ClassVar[bool] = True
    count: ClassVar[int | None] = None

    @property
    def has_ood(self) -> bool:
        """Whether it has a range out of distribution."""
        return self.ood is not None

    def fault(self) -> str:
        """What is wrong with it."""
        bounds = self.low, self.high, *(self.ood or ())
        if np.ndim(self.low) or np.ndim(self.high):
            return "has a bound that is no number; allowed: two factors, for all entries alike"
        trouble = _range(self.low, self.high, self.ood)
        return trouble or ("has a factor that is not positive; allowed: > 0" if min(bounds) <= 0 else "")

    def shape(self, own: Any) -> tuple[int, ...]:
        """That of the environment's own value."""
        return np.shape(own)

    def draw(self, u: Floats, ood: bool) -> Floats:
        """Log-uniform factors; ``float_power`` rounds a number alike wherever it stands."""
        low, high = self.ood if ood and self.ood is not None else (self.low, self.high)
        return np.asarray(low * np.float_power(high / low, u))

    def features(self, entries: Floats) -> Floats:
        """The place in the training range on a logarithmic scale, −1 to 1."""
        return _rows(2 * np.log(entries / self.low) / np.log(self.high / self.low) - 1)

    def refuse(self, entries: Floats) -> tuple[Bools, str]:
        """Factors that are not positive."""
        return entries <= 0, "factors > 0"

    def value(self, entry: Any, own: Any) -> Any:
        """The environment's own value times the factors."""
        return _plain(np.asarray(own) * entry)


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
        """The number of training values."""
        return len(self.values)

    @property
    def has_ood(self) -> bool:
        """Whether it has values out of distribution."""
        return len(self.ood) > 0

    @property
    def _all(self) -> list[Any]:
        return [*self.values, *self.ood]

    @property
    def _numeric(self) -> bool:
        return all(isinstance(x, int | float | np.integer | np.floating) for x in self._all)

    @property
    def _numbers(self) -> Floats:
        """All values as a task has them."""
        return np.array(self._all if self._numeric else range(len(self._all)), np.float64)

    def fault(self) -> str:
        """What is wrong with it."""
        if any(not isinstance(x, Sequence) or isinstance(x, str) for x in (self.values, self.ood)):
            return "has no list of values; allowed: Choice([...])"
        everything = self._all
        if not len(self.values):
            return "is empty; allowed: one value or more"
        if len(set(self._numbers.tolist() if self._numeric else map(repr, everything))) < len(everything):
            return "has a value twice; allowed: each once"
        return "" if np.isfinite(self._numbers).all() else "has a value that is not finite"

    def shape(self, own: Any) -> tuple[int, ...]:
        """A number."""
        return ()

    def draw(self, u: Floats, ood: bool) -> Floats:
        """Values by equal parts of [0, 1)."""
        n = len(self.values)
        numbers = self._numbers[n:] if ood and self.has_ood else self._numbers[:n]
        return np.asarray(numbers[np.floor(u * len(numbers)).astype(np.int64)])

    def features(self, entries: Floats) -> Floats:
        """Of numbers the place between the least and the largest, −1 to 1; of others which one it is."""
        numbers, n = self._numbers, len(self.values)
        if self._numeric:
            low, high = numbers[:n].min(), numbers[:n].max()
            return _rows((2 * entries - low - high) / ((high - low) or 1.0))
        return np.equal(entries[:, None], numbers).astype(np.float64)

    def refuse(self, entries: Floats) -> tuple[Bools, str]:
        """All that is not among the values."""
        shown = ", ".join(f"{x:g}" for x in self._numbers)
        return ~np.isin(entries, self._numbers), shown if len(shown) <= 120 else f"{shown[:120]}…"

    def value(self, entry: Any, own: Any) -> Any:
        """The value itself, as it was given."""
        return self._all[int(np.flatnonzero(self._numbers == entry)[0])]


def nth(distributions: Sequence[ValueRange], index: NDArray[np.int64]) -> list[Floats]:
    """The tasks of finite distributions by number: uniform numbers "n" for each distribution.

    Neighbouring numbers are spread over all tasks, so that the first few differ in everything; numbers from 0
    up to the number of tasks give each task once.
    """
    counts = [d.count or 1 for d in distributions]
    total = prod(counts)
    stride = max(1, round(total * 0.6180339887498949))  # the golden ratio
    while gcd(stride, total) != 1:
        stride += 1
    rest = np.array([int(i) * stride % total for i in index], object)
    found: list[Floats] = []
    for count in counts:
        found.append(((rest % count).astype(np.float64) + 0.5) / count)
        rest = rest // count
    return found
