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
        meaning: a task's value, in a few words.
    """

    of_task: str
    of_tasks: str
    lower_is_better: bool = False
    share: bool = False
    of: Literal["episodes", "examples"] | None = None
    meaning: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return what ``evaluation.json`` keeps."""
        return dataclasses.asdict(self)


# What training draws: the key of rows and agents, and the words for people.
SAMPLES = {"env_steps": "environment steps", "examples": "labelled examples"}

MEASURES: dict[str, Measure] = {}


def register(name: str, measure: Measure) -> None:
    """State a metric; a second one of the same name is refused, and so is a name with a slash."""
    if "/" in name or MEASURES.get(name, measure) != measure:
        raise RequestError(f"metric {name!r} is already registered, or its name holds a slash")
    MEASURES[name] = measure


_SUCCESS = "the share of a task's episodes that succeed, at any of their steps"
_MSE, _ERROR = "mean squared error", "the mean squared error over a task's queries"
_ACCURACY = "the share of a task's queries that get the right label"
register("success", Measure("success rate", "success rate", share=True, of="episodes", meaning=_SUCCESS))
register("return", Measure("return", "mean return", of="episodes", meaning="the mean return of its episodes"))
register("mse", Measure(_MSE, _MSE, lower_is_better=True, of="examples", meaning=_ERROR))
register("accuracy", Measure("accuracy", "mean accuracy", share=True, of="examples", meaning=_ACCURACY))


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
