"""Numbers and tables as text: how values, steps and cells are written on a page and on a terminal."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, SupportsFloat, TypeGuard

from metarl.run.log.measures import Measure

Number = int | float
PERCENT = "\u202f%"


class Form(NamedTuple):
    """The way that the values of a metric are written: ``form(value)``, ``form.change(difference)``.

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
        """Return "low to high", to stand beneath a value: of shares without the sign."""
        return f"{self(low)} to {self(high)}".replace(PERCENT, "")

    def change(self, value: Number) -> str:
        """Return a difference of two values, which of shares is in percentage points."""
        return f"{number(100 * value, 1)} points" if self.share and math.isfinite(value) else self(value)


def form_of(measure: Measure, values: Iterable[Number]) -> Form:
    """Return one form for all values of a metric.

    An error, which may be large before adaptation and small after it, has as many digits everywhere; any
    other metric has as many decimals.
    """
    return Form(measure.share, None if measure.lower_is_better else decimals(values))


def decimals(values: Iterable[Number]) -> int:
    """Return how many decimals show three digits of the largest value, and at least the integers."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    return 0 if largest >= 1000 else 1 if largest >= 10 else 2 if largest >= 1 else 3


def number(value: Number, places: int) -> str:
    """Write a number with a real minus sign and thousands apart; a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    return f"{round(value, places) + 0.0:,.{places}f}".replace("-", "−").replace(",", "\u202f")


def significant(value: Number) -> str:
    """Write three digits, of small numbers two: 0.043, 5.01, 1 234; a power of ten where long: 3.96e18."""
    if value == 0 or not math.isfinite(value):
        return number(value, 0)
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 6:
        return number(value, max(0, (2 if exponent >= -1 else 1) - exponent))
    mantissa, power = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(power)}".replace("-", "−")


def tick(number: SupportsFloat, _position: object = None) -> str:
    """Write a number as a tick label: 12k, 1.5M, −0.004, 2e−5."""
    value = float(number)
    size, unit = next(((s, u) for s, u in ((1e9, "G"), (1e6, "M"), (1e4, "k")) if abs(value) >= s), (1.0, ""))
    value = value / (1e3 if unit == "k" else size)
    rounded = round(value, 2 if abs(value) < 10 else 1) if unit else value
    text = f"{rounded:.2g}" if 0 < abs(rounded) < 1e-3 else f"{rounded:.4g}"
    return text.replace("e-0", "e-").replace("-", "−") + unit


def percent(number: SupportsFloat, _position: object = None) -> str:
    """Write a share as a tick label: 95 %."""
    return f"{tick(100 * float(number))}{PERCENT}"


def count(n: int, thing: str) -> str:
    """Write 1 task, 2 tasks."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}".replace(",", "\u202f")


def rates(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return step sizes without those at the end that only repeat: the last one given serves the rest."""
    last = len(values)
    while last > 1 and values[last - 2] == values[-1]:
        last -= 1
    return values[:last]


def written(value: Any) -> str:
    """Write a value of a configuration or a protocol without spaces: 64,64 or horizon:50 or unset."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}:{entry}" for name, entry in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or "none"
    return "unset" if value is None else str(value)


def shown_steps(last: int) -> list[int]:
    """Return the steps that a table has room for: all of a few, else 0, 1, 2, 5, 10, 20, … and the last."""
    if last <= 6:
        return list(range(last + 1))
    round_ones = [digit * 10**power for power in range(len(str(last))) for digit in (1, 2, 5)]
    return [0, *(step for step in round_ones if step < last), last]


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Return lines of cells under one another, right-aligned but for the columns ``left``."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "   ".join(
            f"{cell:<{width}}" if column in left else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [line.rstrip() for line in lines]


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether a value read from a file can be counted."""
    return isinstance(value, int) and not isinstance(value, bool)
