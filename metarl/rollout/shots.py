"""Labelled examples of a family as batches."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.batch import Shots
from metarl.core.errors import RequestError
from metarl.core.params import tree_map
from metarl.rollout.family import SupervisedFamily, Tasks


def sample_shots(family: SupervisedFamily, tasks: Tasks, rng: np.random.Generator) -> tuple[Shots, Shots]:
    """Support and query examples of each task, task axis first.

    Raises:
        RequestError: an array is missing or holds no numbers; the line names family and array.
    """
    drawn = family.sample_shots(tasks, rng)

    def tensor(name: str) -> Tensor:
        try:
            return torch.from_numpy(drawn[name])
        except (KeyError, TypeError):
            given = f"a {type(drawn[name]).__name__} without numbers" if name in drawn else "missing"
            line = f"family {family.name!r}: {name} is {given}; allowed: a numeric array"
            raise RequestError(line) from None

    support, query = (Shots(tensor(f"{part}_x"), tensor(f"{part}_y")) for part in ("support", "query"))
    return support, query


def mini_batch(shots: Shots, size: int | None, step: int) -> Shots:
    """The examples of inner step ``step``: the next ``size``, from the front again when all were used.

    ``size`` None, or one as large as the set, takes all. Examples stand in random order as they were drawn.
    """
    n = shots.x.shape[1]
    if size is None or size >= n:
        return shots
    rows = (torch.arange(size) + step * size) % n
    return tree_map(lambda x: x[:, rows], shots)


def check_shots(family: SupervisedFamily, shots: Shots, part: str) -> None:
    """Check examples against the family's spaces: shapes, finite numbers, labels in range.

    Raises:
        RequestError: one line that names family, array, what was given and what is allowed.
    """
    space, labels = family.observation_space, family.action_space
    name = f"family {family.name!r}: {part}"
    _shape(f"{name}_x", shots.x.numpy(), (*shots.y.shape[:2], *(space.shape or ())))
    _finite(f"{name}_x", shots.x.numpy())
    classes = getattr(labels, "n", None)
    _shape(f"{name}_y", shots.y.numpy(), (*shots.x.shape[:2], *(labels.shape or ())))
    if classes is None:
        _finite(f"{name}_y", shots.y.numpy())
    elif shots.y.dtype != torch.int64 or not bool(((shots.y >= 0) & (shots.y < int(classes))).all()):
        given = f"{shots.y.dtype} from {shots.y.min()} to {shots.y.max()}"
        raise RequestError(f"{name}_y has labels {given}; allowed: int64 from 0 to {int(classes) - 1}")


def _shape(name: str, array: NDArray[Any], wanted: tuple[int, ...]) -> None:
    if array.shape != wanted or 0 in array.shape:
        raise RequestError(f"{name} has shape {array.shape}; allowed: {wanted} with no axis of length 0")


def _finite(name: str, array: NDArray[Any]) -> None:
    fine = np.isfinite(array)
    if array.dtype != np.float32 or not fine.all():
        where = "" if fine.all() else f", first those of task {np.argwhere(~fine)[0, 0]}"
        raise RequestError(f"{name} has numbers that are not finite float32{where}")
