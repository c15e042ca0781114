"""The adaptation curve as a value, and the columns that it has in a row of metrics.jsonl.

A row keeps a curve of three inner steps as ``return/step_0`` … ``return/step_3``, the validation tasks' as
``validation/return/step_0`` …: here alone these names are made and taken apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
VALIDATION = "validation"


@dataclass(frozen=True)
class Curve(Generic[T]):
    """A metric before the first inner step and after each: numbers, or tensors of a number a task.

    Attributes:
        metric: the metric's name, without a slash.
        values: the value after 0, 1, … K inner steps.
        prefix: whose curve it is: "" of the training tasks, else ``VALIDATION`` or another name.
    """

    metric: str
    values: Sequence[T]
    prefix: str = ""

    def to_row(self) -> dict[str, T]:
        """Return the curve's columns."""
        return {f"{_stem(self.metric, self.prefix)}{k}": value for k, value in enumerate(self.values)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any], metric: str, prefix: str = "") -> "Curve[Any] | None":
        """Return one metric's curve as far as the row has it without a gap; None without its first value."""
        stem = _stem(metric, prefix)
        values: list[Any] = []
        while f"{stem}{len(values)}" in row:
            values.append(row[f"{stem}{len(values)}"])
        return cls(metric, values, prefix) if values else None

    @classmethod
    def all_from_row(cls, row: Mapping[str, Any], prefix: str = "") -> "list[Curve[Any]]":
        """Return every metric's curve in the order of the row, which has the run's own metric first."""
        names = [key.removesuffix("/step_0") for key in row if key.endswith("/step_0")]
        metrics = [metric for of, _, metric in (name.rpartition("/") for name in names) if of == prefix]
        curves = [cls.from_row(row, metric, prefix) for metric in metrics]
        return [curve for curve in curves if curve is not None]


def _stem(metric: str, prefix: str) -> str:
    return "/".join([*([prefix] if prefix else []), metric, "step_"])
