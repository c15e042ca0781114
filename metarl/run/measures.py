"""Metrics by name: what each is called, which way is better, and of which kind of data it is.

The one place where a metric is stated. ``scores`` and ``rollouts`` compute them under the same names; this
module knows no torch, and an evaluation keeps its ``Measure``, so that reports need no code of a stranger.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from metarl.core.errors import RequestError


@dataclass(frozen=True)
class Measure:
    """A metric.

    Attributes:
        of_task: its name where one task is meant.
        of_tasks: its name where the mean over tasks is meant.
        lower_is_better: an error.
        share: a number between 0 and 1, written in percent.
        of: the data that it is measured on; None: any.
    """

    of_task: str
    of_tasks: str
    lower_is_better: bool = False
    share: bool = False
    of: Literal["episodes", "examples"] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what ``evaluation.json`` keeps."""
        return dataclasses.asdict(self)


MEASURES: dict[str, Measure] = {}


def register(name: str, measure: Measure) -> None:
    """State a metric; a second one of the same name is refused, and so is a name with a slash."""
    if "/" in name or MEASURES.get(name, measure) != measure:
        raise RequestError(f"metric {name!r} is already registered, or its name holds a slash")
    MEASURES[name] = measure


register("success", Measure("success rate", "success rate", share=True, of="episodes"))
register("return", Measure("return", "mean return", of="episodes"))
register("mse", Measure("mean squared error", "mean squared error", lower_is_better=True, of="examples"))
register("accuracy", Measure("accuracy", "mean accuracy", share=True, of="examples"))


def measure_of(metric: str) -> Measure:
    """Return the metric of a name; an unknown one goes by its name, and more of it is better."""
    return MEASURES.get(metric, Measure(metric, metric))


def read_measure(metric: str, values: Mapping[str, Any] | None) -> Measure:
    """Return the measure that an evaluation keeps of its metric, or of an old evaluation the known one.

    Raises:
        TypeError: a value of another type than its field's.
    """
    if values is None:
        return measure_of(metric)
    known = dataclasses.asdict(measure_of(metric))
    values = {name: values.get(name, default) for name, default in known.items()}
    for name, value in values.items():
        if name != "of" and type(value) is not type(known[name]):
            raise TypeError(f"measure has {name} {value!r}, expected {type(known[name]).__name__}")
    return Measure(**values)
