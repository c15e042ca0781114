"""The protocols of task families."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test", "ood")

Array: TypeAlias = NDArray[Any]
Tasks: TypeAlias = Mapping[str, Array]

_SHARED = ("name", "spec", "num_tasks", "observation_space", "action_space", "sample_tasks", "task_features")
_EPISODIC, _SUPERVISED = ("horizon", "make", "make_vec"), ("metric", "sample_shots")


@runtime_checkable
class TaskFamily(Protocol):
    """Draws tasks, as plain arrays with one row a task, and serves them as Gymnasium environments.

    A family's class has ``name`` and ``specs`` (spec → one-line description, the default first) and is made
    by ``cls(spec=None, **arguments)``; it raises a ValueError of one line for what it cannot serve.

    Tasks are handed over by ``reset(seed=..., options={"task": {key: rows}})``, to a vector environment with
    one row a sub-environment; a ``reset`` without one draws a training task. Both name the tasks in
    info["task"]. The same seed gives a sub-environment and a single environment the same start. Vector
    environments also read ``options={"reset_mask": bool "num_envs"}``, freeze finished rows (the observation
    stays, the reward is 0) and truncate at the horizon. ``metarl.testing.check_family`` tests all of this.

    Optional: ``stepped = "python"`` says that ``make_vec``'s rows are stepped one after another in Python,
    which several processes do faster. ``metric = "success"`` says that what counts is the share of episodes
    that succeed, which is then reported before the return: info["success"] of every step (a bool or a number,
    above 0 for yes; of a vector environment "num_envs"). For pictures: ``plane(obs "... o") -> "... 2"`` and
    ``marks(tasks) -> "n 2"``.

    Attributes:
        num_tasks: the number of tasks where there are finitely many (training has then seen the test tasks).
    """

    name: str
    spec: str
    horizon: int
    num_tasks: int | None

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        """The space of one environment's observations."""

    @property
    def action_space(self) -> gymnasium.Space[Any]:
        """The space of one environment's actions."""

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> dict[str, Array]:
        """Draw tasks of one of ``SPLITS``: each entry has the shape "n ..."."""

    def task_features(self, tasks: Any) -> NDArray[np.float32]:
        """Return what an oracle sees of each task: float32 "n f"."""

    def make(self) -> gymnasium.Env[Any, Any]:
        """One environment."""

    def make_vec(self, num_envs: int) -> VectorEnv[Any, Any, Any]:
        """``num_envs`` environments stepped together."""


@runtime_checkable
class SupervisedFamily(Protocol):
    """Draws tasks of regression or classification and labelled examples of them.

    Class, specs and arguments as in ``TaskFamily``; the arguments say how many examples a task gives.

    Optional, for pictures: ``curve(tasks, x "g") -> "n g"``, the truth of a regression from one number.

    Attributes:
        metric: ``mse`` or ``accuracy``: what is reported.
        num_tasks: the number of tasks where there are finitely many.
    """

    name: str
    spec: str
    metric: str
    num_tasks: int | None

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        """The space of one example: a Box."""

    @property
    def action_space(self) -> gymnasium.Space[Any]:
        """The space of one label: a Box to regress, Discrete to classify."""

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> dict[str, Array]:
        """Draw tasks of one of ``SPLITS``: each entry has the shape "n ..."."""

    def sample_shots(self, tasks: Any, rng: np.random.Generator) -> dict[str, Array]:
        """Draw examples of each task: support_x, support_y "n s ...", query_x, query_y "n q ..."."""

    def task_features(self, tasks: Any) -> NDArray[np.float32]:
        """Return what an oracle sees of each task: float32 "n f"."""


Family: TypeAlias = TaskFamily | SupervisedFamily


def title_of(family: Family) -> str:
    """Return the beginning of messages about a family."""
    return f"family {family.name!r} ({family.spec})"


def is_supervised(family: Any) -> bool:
    """Return whether a family, or a class of families, gives labelled examples in place of episodes."""
    return hasattr(family, "sample_shots")


def lacking(family: Any) -> list[str]:
    """The members of its kind that a family does not have."""
    own = _SUPERVISED if is_supervised(family) else _EPISODIC
    return [member for member in (*_SHARED, *own) if not hasattr(family, member)]
