"""Families given by formulas: the formulas, and how tasks are read.

The vector environment (``formula_envs``) evaluates the formulas for all rows at once; the single
environment is that vector environment with one row, so the two agree by construction.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Integers: TypeAlias = NDArray[np.int64]
Tasks: TypeAlias = dict[str, NDArray[Any]]
AnyError = TypeVar("AnyError", bound=Exception)


class Refusal(NamedTuple):
    """Rows or entries ``bad`` (bool "n" or "n ...") of tasks' ``key`` that are not as ``allowed`` says."""

    key: str
    bad: Bools
    allowed: str


@runtime_checkable
class Stated(Protocol):
    """A family as the rows of a vector environment see it; each part as in ``Analytic``."""

    @property
    def title(self) -> str:
        """Name of family and spec in messages."""

    @property
    def horizon(self) -> int:
        """Time steps after which an episode is truncated."""

    @property
    def observation_space(self) -> Box:
        """The space of one environment's observations."""

    @property
    def action_space(self) -> Box | Discrete | MultiDiscrete:
        """The space of one environment's actions."""

    @property
    def task_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of one task's entry under each key."""

    @property
    def refuse(self) -> Callable[[Tasks], Iterable[Refusal]] | None:
        """Function that names the tasks the family cannot serve."""


@runtime_checkable
class Served(Stated, Protocol):
    """A family that makes training tasks of uniform numbers."""

    @property
    def task_draws(self) -> int:
        """Uniform numbers that a training task is made of."""

    @property
    def task(self) -> Callable[[Floats], Tasks]:
        """Function from uniform numbers to training tasks."""


@dataclass(frozen=True)
class Analytic:
    """A family's formulas, each for any number n of rows at once.

    Every function returns new arrays (the environments keep and hand out what it returns). It treats rows
    independently, by operations that round a number alike wherever it stands, so that a row's bits do not
    depend on n.
    ``noise`` and the arguments of ``task`` and ``start`` are uniform numbers in [0, 1).

    Attributes:
        title: what messages call it, for example ``point-goal/finn2017``.
        horizon: time steps after which an episode is truncated.
        task_shapes: shape of one task's entry under each key; all entries are float64.
        task: float64 "n task_draws" to training tasks.
        start: float64 "n start_draws" to the state "n ...".
        step: (state, action "n ...", tasks, noise "n step_draws") to (state, reward, terminated): float64 "n"
            and bool "n". Actions are float64 and finite, or int64 within the Discrete or
            MultiDiscrete space.
        observe: (state, tasks) to observations "n ...", in the observation space's dtype.
        refuse: finite tasks of the right shapes to what the family cannot serve of them.
        ood: as ``task``, for tasks out of the training distribution; None: there they are the same.
    """

    title: str
    horizon: int
    observation_space: Box
    action_space: Box | Discrete | MultiDiscrete
    task_shapes: Mapping[str, tuple[int, ...]]
    task: Callable[[Floats], Tasks]
    start: Callable[[Floats], NDArray[Any]]
    step: Callable[[NDArray[Any], NDArray[Any], Tasks, Floats], tuple[NDArray[Any], Floats, Bools]]
    observe: Callable[[NDArray[Any], Tasks], NDArray[Any]]
    task_draws: int = 0
    start_draws: int = 0
    step_draws: int = 0
    refuse: Callable[[Tasks], Iterable[Refusal]] | None = None
    ood: Callable[[Floats], Tasks] | None = None


def read_tasks(model: Stated, tasks: object, n: int | None = None) -> Tasks:
    """Return tasks as float64 arrays of n rows (None: as many as there are), copied.

    Raises:
        ValueError: keys, shapes or values that the family does not have; one line names key and row.
    """
    keys = sorted(model.task_shapes)
    if not isinstance(tasks, Mapping) or sorted(map(str, tasks)) != keys:
        shown = sorted(map(str, tasks)) if isinstance(tasks, Mapping) else type(tasks).__name__
        raise ValueError(f"{model.title}: task has {shown}; allowed: a dict with the keys {keys}")
    read: Tasks = {}
    for key, row_shape in model.task_shapes.items():
        try:
            values = np.array(tasks[key], dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{model.title}: task {key!r} is not numeric: {tasks[key]!r:.80}") from None
        rows = n if n is not None or values.ndim == 0 else len(values)
        if values.shape != (rows, *row_shape):
            allowed = str((rows or "rows", *row_shape)).replace("'", "")
            raise ValueError(f"{model.title}: task {key!r} has shape {values.shape}; allowed: {allowed}")
        n = rows
        refuse_rows(model, f"task {key!r}", values, ~np.isfinite(values), "finite numbers")
        read[key] = values
    if model.refuse is not None:
        for key, bad, allowed in model.refuse(read):
            refuse_rows(model, f"task {key!r}", read[key], bad, allowed)
    return read


def flat_features(model: Stated, tasks: object) -> NDArray[np.float32]:
    """Return every number of each task in the order of ``task_shapes``, float32 "n f"."""
    read = read_tasks(model, tasks)
    rows = [read[key].reshape(len(read[key]), -1) for key in model.task_shapes]
    return np.concatenate(rows, axis=1).astype(np.float32)


def of_row(error: AnyError, row: int, step: int) -> AnyError:
    """Give an error the attributes ``row`` and ``step`` (from 1, at the reset 0) and return it."""
    vars(error).update(row=row, step=step)
    return error


def refuse_rows(
    model: Stated, what: str, values: NDArray[Any], bad: Bools, allowed: str, step: int = 0
) -> None:
    """Raise a ValueError that names the first row of ``values`` "n ..." where ``bad`` "n" or "n ..." holds.

    Of a row with several axes it shows the vector along the last one, where ``bad`` tells which.
    """
    if bad.any():
        row, *place = np.argwhere(bad)[0, : max(1, values.ndim - 1)].tolist()
        entry = f", entry {place}" if place else ""
        shown = str(values[(row, *place)].tolist())
        shown = shown if len(shown) <= 120 else f"{shown[:120]}…"
        line = f"{model.title}: {what} of row {row}{entry} is {shown}; allowed: {allowed}"
        raise of_row(ValueError(line), row, step)
