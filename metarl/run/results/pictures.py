"""Pictures of an evaluation: paths in the plane, fitted curves, or images with their labels.

Each is one class that writes its part of ``evaluation.json`` and reads it again. Reading checks the part,
which may be a stranger's: damage raises KeyError, ValueError, TypeError, AttributeError or IndexError.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LARGEST = 1e100  # of numbers that figures have room for


def array(values: Any, dimensions: int) -> Array:
    """Return floats with NaN for null and for what is not finite, or too large for figures."""
    numbers = np.array(values, dtype=np.float64)
    if numbers.ndim != dimensions:
        raise ValueError(f"expected {dimensions} dimensions, got {numbers.ndim}")
    return np.where(np.abs(numbers) < LARGEST, numbers, np.nan)


def _rounded(values: Array) -> Any:
    return np.round(np.asarray(values, np.float64), 4).tolist()


@dataclass(frozen=True)
class Traces:
    """The trained agent's paths in the plane.

    Attributes:
        paths: by step, [task][episode] "time 2"; the first step is before adaptation, the last after it.
        goals: each task's goal "2" or None; None in all for a family without goals.
    """

    paths: Mapping[int, list[list[Array]]]
    goals: list[Array | None] | None = None

    @property
    def steps(self) -> int:
        """Return the number of inner steps."""
        return max(self.paths)

    @property
    def before(self) -> list[list[Array]]:
        """Return the paths before adaptation."""
        return self.paths[min(self.paths)]

    @property
    def after(self) -> list[list[Array]]:
        """Return the paths after the last step."""
        return self.paths[self.steps]

    def as_dict(self) -> dict[str, Any]:
        """Return ``traces`` of ``evaluation.json``."""
        paths = {
            str(step): [[_rounded(path) for path in episodes] for episodes in tasks]
            for step, tasks in self.paths.items()
        }
        goals = self.goals and [None if goal is None else goal.tolist() for goal in self.goals]
        return {"marks": goals, "agents": {"meta": paths}}

    @classmethod
    def read(cls, data: Mapping[str, Any], agent: str = "meta") -> "Traces | None":
        """Return the paths of one agent, those of the first and the last step; None where it has not both."""
        paths = {int(step): tasks for step, tasks in data.get("agents", {}).get(agent, {}).items()}
        if len(paths) < 2:
            return None
        ends = {
            step: [[_points(path) for path in episodes] for episodes in paths[step]]
            for step in (min(paths), max(paths))
        }
        goals = [None if mark is None else array(mark, 1)[:2] for mark in data.get("marks") or []]
        return cls(ends, goals + [None] * (len(ends[min(paths)]) - len(goals)))


def _points(rows: Any) -> Array:
    """Return the rows "point 2" without those that are no points."""
    points = array(rows, 2)[:, :2] if len(rows) else np.empty((0, 2))
    if points.shape[1] < 2:
        raise ValueError("a path holds points with less than two numbers")
    return points[np.isfinite(points).all(axis=1)]


class Fit(NamedTuple):
    """One task of regression: support "s 2" of x and y, the truth "g" and, by step, the predictions "g"."""

    support: Array
    truth: Array
    predictions: dict[int, Array]


@dataclass(frozen=True)
class Fits:
    """Tasks of regression from one number to one, over the grid x "g"."""

    x: Array
    tasks: list[Fit]

    def as_dict(self) -> dict[str, Any]:
        """Return ``fits`` of ``evaluation.json``."""
        tasks = [
            {"support": _rounded(task.support), "truth": _rounded(task.truth)}
            | {"predictions": {str(step): _rounded(curve) for step, curve in task.predictions.items()}}
            for task in self.tasks
        ]
        return {"x": _rounded(self.x), "tasks": tasks}

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> "Fits":
        """Return checked fits; all curves are as long as x."""
        x, tasks = array(data["x"], 1), []
        for task in data["tasks"]:
            curves = {int(step): array(values, 1) for step, values in task["predictions"].items()}
            fit = Fit(_points(task["support"]), array(task["truth"], 1), dict(sorted(curves.items())))
            if {len(fit.truth), *map(len, curves.values())} != {len(x)}:
                raise ValueError(f"curves of the fits are not {len(x)} numbers each, as x is")
            tasks.append(fit)
        return cls(x, tasks)


class QueryImage(NamedTuple):
    """An image by its number, its class, and the classes it was taken for before and after adaptation."""

    image: int
    label: int
    before: int
    after: int


@dataclass(frozen=True)
class Samples:
    """Tasks of classification.

    Attributes:
        images: uint8 "image height width"; 255 is ink.
        support: [task][class] the numbers of the support images.
        queries: [task] its query images.
    """

    images: NDArray[np.uint8]
    support: list[list[list[int]]]
    queries: list[list[QueryImage]]

    def as_dict(self) -> dict[str, Any]:
        """Return ``samples`` of ``evaluation.json``; the images are packed as base64."""
        _, height, width = self.images.shape
        tasks = [
            {"support": support, "queries": [query._asdict() for query in queries]}
            for support, queries in zip(self.support, self.queries, strict=True)
        ]
        packed = base64.b64encode(self.images.tobytes()).decode()
        return {"height": height, "width": width, "images": packed, "tasks": tasks}

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> "Samples":
        """Return checked samples, none of which names an image that is not there."""
        packed = np.frombuffer(base64.b64decode(data["images"], validate=True), dtype=np.uint8)
        images = packed.reshape(-1, int(data["height"]), int(data["width"]))
        support = [[[int(n) for n in numbers] for numbers in task["support"]] for task in data["tasks"]]
        queries = [
            [QueryImage(*(int(query[name]) for name in QueryImage._fields)) for query in task["queries"]]
            for task in data["tasks"]
        ]
        used = [n for task in support for numbers in task for n in numbers]
        used += [query.image for task in queries for query in task]
        if any(not 0 <= n < len(images) for n in used):
            raise ValueError(f"samples name an image that is none of the {len(images)}")
        return cls(images, support, queries)
