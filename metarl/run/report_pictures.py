"""What an evaluation keeps for pictures, as checked values; ``run.pictures`` writes it."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LARGEST = 1e100  # of numbers that figures have room for


@dataclass(frozen=True)
class Traces:
    """The agent's paths in the plane, [task][episode] "time 2", and each task's goal "2" if it has one."""

    before: list[list[Array]]
    after: list[list[Array]]
    goals: list[Array | None]
    steps: int


@dataclass(frozen=True)
class Fit:
    """One task of regression: support "s 2" of x and y, the truth "g" and, by step, the predictions "g"."""

    support: Array
    truth: Array
    predictions: dict[int, Array]


@dataclass(frozen=True)
class Fits:
    """Tasks of regression from one number to one, over the grid x "g"."""

    x: Array
    tasks: list[Fit]


class Query(NamedTuple):
    """An image by its number, its class, and the classes it was taken for before and after adaptation."""

    image: int
    label: int
    before: int
    after: int


@dataclass(frozen=True)
class Samples:
    """Tasks of classification: images uint8 "i height width" (255 is ink), [task][class] the numbers of its
    support images, and [task] its queries.
    """

    images: NDArray[np.uint8]
    support: list[list[list[int]]]
    queries: list[list[Query]]


class Pictures(NamedTuple):
    """At most one of them is there."""

    traces: Traces | None = None
    fits: Fits | None = None
    samples: Samples | None = None


def read_pictures(data: Mapping[str, Any], agent: str) -> Pictures:
    """The pictures of an evaluation.json; traces are those of ``agent``.

    Raises:
        KeyError, ValueError, TypeError, AttributeError, IndexError: it is damaged.
    """
    return Pictures(
        _traces(data["traces"], agent) if data.get("traces") else None,
        _fits(data["fits"]) if data.get("fits") else None,
        _samples(data["samples"]) if data.get("samples") else None,
    )


def array(values: Any, dimensions: int) -> Array:
    """As floats, with NaN for null and for what is not finite, or too large for figures."""
    found = np.array(values, dtype=np.float64)
    if found.ndim != dimensions:
        raise ValueError(f"expected {dimensions} dimensions, got {found.ndim}")
    return np.where(np.abs(found) < LARGEST, found, np.nan)


def _traces(data: Mapping[str, Any], agent: str) -> Traces | None:
    """The first and the last step's paths of one agent; None where it has none."""
    paths = {int(step): tasks for step, tasks in data.get("agents", {}).get(agent, {}).items()}
    if len(paths) < 2:
        return None
    first, last = ([[_path(e) for e in task] for task in paths[step]] for step in (min(paths), max(paths)))
    goals = [None if mark is None else array(mark, 1)[:2] for mark in data.get("marks") or []]
    return Traces(first, last, goals + [None] * (len(first) - len(goals)), max(paths))


def _path(points: Any) -> Array:
    """One episode's path "time 2" without the rows that are no points."""
    path = array(points, 2)[:, :2] if len(points) else np.empty((0, 2))
    if path.shape[1] < 2:
        raise ValueError("a path holds points with less than two numbers")
    return path[np.isfinite(path).all(axis=1)]


def _fits(data: Mapping[str, Any]) -> Fits:
    x = array(data["x"], 1)
    return Fits(x, [_fit(task, len(x)) for task in data["tasks"]])


def _fit(task: Mapping[str, Any], points: int) -> Fit:
    predictions = {int(step): array(values, 1) for step, values in task["predictions"].items()}
    fit = Fit(_path(task["support"]), array(task["truth"], 1), dict(sorted(predictions.items())))
    if {len(fit.truth), *map(len, predictions.values())} != {points}:
        raise ValueError(f"curves of the fits are not {points} numbers each, as x is")
    return fit


def _samples(data: Mapping[str, Any]) -> Samples:
    packed = np.frombuffer(base64.b64decode(data["images"], validate=True), dtype=np.uint8)
    images = packed.reshape(-1, int(data["height"]), int(data["width"]))
    support = [[[int(n) for n in numbers] for numbers in task["support"]] for task in data["tasks"]]
    queries = [
        [Query(*(int(query[name]) for name in Query._fields)) for query in task["queries"]]
        for task in data["tasks"]
    ]
    named = [n for task in support for numbers in task for n in numbers]
    named += [query.image for task in queries for query in task]
    if any(not 0 <= n < len(images) for n in named):
        raise ValueError(f"samples name an image that is none of the {len(images)}")
    return Samples(images, support, queries)
