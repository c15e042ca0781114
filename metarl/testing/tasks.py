"""Tasks of a family as its contract tests look at them: drawn, compared and counted."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from metarl.rollout.family import Array, Family, Tasks


def draw_tasks(family: Family, n: int, split: str = "train", seed: int = 0) -> dict[str, Array]:
    """``n`` tasks of a split, after a look at their form."""
    tasks = family.sample_tasks(n, np.random.default_rng(seed), split)
    if not isinstance(tasks, Mapping) or not tasks:
        found = "nothing" if isinstance(tasks, Mapping) else f"a {type(tasks).__name__}"
        raise AssertionError(f"split {split!r} gives {found}, expected a dict of arrays")
    for key, x in tasks.items():
        what = f"split {split!r}: {key!r} of {n} tasks"
        if not isinstance(x, np.ndarray) or x.shape[:1] != (n,):
            found = f"has the shape {x.shape}" if isinstance(x, np.ndarray) else f"is a {type(x).__name__}"
            raise AssertionError(f"{what} {found}, expected an array of {n} rows")
        if x.dtype.kind not in "biuf" or not np.isfinite(x).all():
            raise AssertionError(f"{what} has entries that are no finite numbers ({x.dtype})")
    return dict(tasks)


def rows(tasks: Tasks, which: Any) -> dict[str, Any]:
    """Some of the tasks, or one without its row axis."""
    return {key: x[which] for key, x in tasks.items()}


def unlike(one: Tasks, two: Tasks) -> str:
    """Return the first entry of tasks that differs, "" if none does."""
    if sorted(one) != sorted(two):
        return f"set of names, {sorted(one)} or {sorted(two)},"
    for key in one:
        if one[key].dtype != two[key].dtype or not np.array_equal(one[key], two[key]):
            return repr(key)
    return ""


def distinct(tasks: Tasks) -> set[bytes]:
    """Return the different ones among tasks."""
    columns = [tasks[key] + 0 for key in sorted(tasks)]  # no minus zeros
    return {b"".join(x[i].tobytes() for x in columns) for i in range(len(columns[0]))}


def features(family: Family, tasks: Tasks) -> Array:
    """Return what an oracle sees of tasks, after a look at its form."""
    given = {key: x.copy() for key, x in tasks.items()}
    seen, n = family.task_features(given), len(next(iter(tasks.values())))
    if key := unlike(given, tasks):
        raise AssertionError(f"task_features changes the {key} that it is handed")
    ok = isinstance(seen, np.ndarray) and seen.dtype == np.float32 and seen.ndim == 2
    if not ok or len(seen) != n or not seen.size:
        found = f"{seen.dtype} {seen.shape}" if isinstance(seen, np.ndarray) else type(seen).__name__
        raise AssertionError(f"task_features of {n} tasks are {found}, expected float32 ({n}, f)")
    if not np.isfinite(seen).all():
        task = int(np.argwhere(~np.isfinite(seen))[0, 0])
        raise AssertionError(f"task_features of task {task} are {seen[task].tolist()}, expected finite ones")
    return seen
