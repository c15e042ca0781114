"""How the report writes numbers."""

import math
from collections.abc import Iterable
from typing import NamedTuple, TypeGuard

from metarl.run.measures import Measure
from metarl.run.svg import Number

PERCENT = "\u202f%"


class Form(NamedTuple):
    """How the values of a metric are written: ``form(value)``, and ``form.change(difference)``.

    Attributes:
        share: as percent.
        places: decimals; None: as many as a value needs, see ``significant``.
    """

    share: bool
    places: int | None

    def __call__(self, value: Number) -> str:
        if self.share:
            return f"{number(100 * value, 1)}{PERCENT}" if math.isfinite(value) else number(value, 1)
        return significant(value) if self.places is None else number(value, self.places)

    def interval(self, low: Number, high: Number) -> str:
        """From low to high, to stand beneath a value: of shares without the sign."""
        return f"{self(low)} to {self(high)}".replace(PERCENT, "")

    def change(self, value: Number) -> str:
        """A difference of two values, which of shares is in percentage points."""
        return f"{number(100 * value, 1)} points" if self.share and math.isfinite(value) else self(value)


def form_of(measure: Measure, values: Iterable[Number]) -> Form:
    """One form for all of a metric's values: an error, which may be large before adaptation and small after
    it, has as many digits everywhere, anything else as many decimals.
    """
    return Form(measure.share, None if measure.lower_is_better else decimals(values))


def decimals(values: Iterable[Number]) -> int:
    """How many decimals show three digits of the largest of `values`, and at least the integers."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    return 0 if largest >= 1000 else 1 if largest >= 10 else 2 if largest >= 1 else 3


def number(value: Number, places: int) -> str:
    """With a real minus sign and thousands apart; a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    return f"{round(value, places) + 0.0:,.{places}f}".replace("-", "−").replace(",", "\u202f")


def significant(value: Number) -> str:
    """Three digits, of small numbers two: 0.043, 5.01, 1 234; with a power of ten where long: 3.96e18."""
    if value == 0 or not math.isfinite(value):
        return number(value, 0)
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 6:
        return number(value, max(0, (2 if exponent >= -1 else 1) - exponent))
    mantissa, power = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(power)}".replace("-", "−")


def count(n: int, thing: str) -> str:
    """1 task, 2 tasks."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}".replace(",", "\u202f")


def rates(values: tuple[float, ...]) -> tuple[float, ...]:
    """Step sizes without those at the end that only repeat: the last one given serves the rest."""
    last = len(values)
    while last > 1 and values[last - 2] == values[-1]:
        last -= 1
    return values[:last]


def shown_steps(last: int) -> list[int]:
    """The steps that a table has room for: all of a few, else 0, 1, 2, 5, 10, 20, 50, … and the last."""
    if last <= 6:
        return list(range(last + 1))
    round_ones = [digit * 10**power for power in range(len(str(last))) for digit in (1, 2, 5)]
    return [0, *(step for step in round_ones if step < last), last]


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value read from a file can be counted."""
    return isinstance(value, int) and not isinstance(value, bool)
