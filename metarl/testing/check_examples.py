"""The labelled examples of a supervised family."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from metarl.core.errors import RequestError
from metarl.rollout.family import SPLITS, Array, SupervisedFamily, Tasks
from metarl.rollout.shots import check_shots, sample_shots
from metarl.testing.tasks import draw_tasks, rows, unlike

TASKS = 4
OTHERS = 8  # tasks that stand in for the last one


def check_examples(family: SupervisedFamily) -> None:
    """Assert what ``SupervisedFamily`` says of examples; part of ``metarl.testing.check_family``.

    * ``metric`` is ``mse`` for labels in a Box and ``accuracy`` for Discrete ones.
    * In train, validation and test, support and query have a row a task, finite float32 examples inside the
      observation space, and labels inside the action space (int64 from 0, or finite float32); their numbers
      do not depend on the number of tasks.
    * Examples are a function of tasks and generator; the tasks are left as they are.
    * Another last task gives other examples of the last task, and the same of all others. (The examples of
      one task may well depend on how many tasks are drawn with it: who needs them not to asks one by one.)
    """
    _check_metric(family)
    for split in SPLITS[:-1]:
        _check_split(family, split)
    tasks, others = draw_tasks(family, TASKS), draw_tasks(family, OTHERS, seed=1)
    shots = _shots(family, tasks)
    if where := unlike(_shots(family, tasks), shots):
        raise AssertionError(f"sample_shots gives another {where} for the same state of the generator")
    _check_isolation(family, tasks, others, shots)


def _check_metric(family: SupervisedFamily) -> None:
    labels, space = family.action_space, family.observation_space
    fitting = "accuracy" if isinstance(labels, Discrete) else "mse"
    if family.metric != fitting:
        raise AssertionError(f"metric is {family.metric!r}, expected {fitting!r} for labels in {labels}")
    if not isinstance(space, Box):
        raise AssertionError(f"observation_space is {space}, expected a Box")


def _shots(family: SupervisedFamily, tasks: Tasks) -> dict[str, Array]:
    """Support and query of the tasks as arrays, after a look at their form."""
    given = {key: x.copy() for key, x in tasks.items()}
    try:
        parts = dict(
            zip(("support", "query"), sample_shots(family, given, np.random.default_rng(0)), strict=True)
        )
        for part, shots in parts.items():
            check_shots(family, shots, part)
    except RequestError as error:
        raise AssertionError(str(error)) from error
    if key := unlike(given, tasks):
        raise AssertionError(f"sample_shots changes the task {key} that it is handed")
    return {f"{part}_{name}": getattr(shots, name).numpy() for part, shots in parts.items() for name in "xy"}


def _check_split(family: SupervisedFamily, split: str) -> None:
    tasks = draw_tasks(family, TASKS, split)
    shots, alone = _shots(family, tasks), _shots(family, rows(tasks, slice(1)))
    for name, x in shots.items():
        for n, array in ((TASKS, x), (1, alone[name])):
            if array.shape != (wanted := (n, *x.shape[1:])):
                raise AssertionError(f"{name} of {n} tasks has the shape {array.shape}, expected {wanted}")
        space = family.observation_space if name.endswith("x") else family.action_space
        if isinstance(space, Box):
            _check_bounds(name, x, space)


def _check_bounds(name: str, x: Array, space: Box) -> None:
    outside = ((x < space.low) | (x > space.high)).reshape(len(x), -1)
    if outside.any():
        task, place = np.argwhere(outside)[0]
        value: Any = x.reshape(len(x), -1)[task, place]
        raise AssertionError(f"{name} of task {task} has the number {value}, outside {space!s:.120}")


def _check_isolation(family: SupervisedFamily, tasks: Tasks, others: Tasks, shots: dict[str, Array]) -> None:
    changed = set[str]()
    different = False
    for i in range(OTHERS):
        swapped = {key: np.concatenate([x[:-1], others[key][i : i + 1]]) for key, x in tasks.items()}
        different |= bool(unlike(swapped, tasks))
        found = _shots(family, swapped)
        for name, x in found.items():
            rest = (x[:-1] != shots[name][:-1]).reshape(TASKS - 1, -1).any(1)
            if rest.any():
                raise AssertionError(
                    f"{name} of task {rest.argmax()} changes with task {TASKS - 1}, expected it not to"
                )
        changed |= {name for name, x in found.items() if (x[-1] != shots[name][-1]).any()}
    if different and not changed:
        raise AssertionError(f"the examples of task {TASKS - 1} stay the same whatever the task")
