"""Episodes played by a script, whoever plays them: a vector environment, or single ones one by one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from metarl.rollout.family import Array, TaskFamily, Tasks
from metarl.testing.tasks import draw_tasks, features, rows, unlike


class Start(NamedTuple):
    """A reset: of which rows (bool "n"), and for all rows seeds and tasks (None: each draws its own)."""

    mask: Array
    seeds: list[int]
    tasks: Tasks | None


class Script(NamedTuple):
    """Actions "time n ...", and the resets, by the number of the step that they come before."""

    starts: Mapping[int, Start]
    actions: Array

    def of_rows(self, order: list[int]) -> "Script":
        """Return the part of some rows."""
        starts = {
            t: Start(mask[order], [seeds[i] for i in order], tasks and rows(tasks, order))
            for t, (mask, seeds, tasks) in self.starts.items()
        }
        return Script(starts, self.actions[:, order])


class Moment(NamedTuple):
    """Everything that rows show after a reset or a step, arrays "n ...".

    ``age`` counts each row's steps since its reset; ``task`` is empty after a step. ``success`` is NaN where
    nothing is said of it, else 0 or 1.
    """

    age: Array
    obs: Array
    reward: Array
    terminated: Array
    truncated: Array
    success: Array
    task: dict[str, Array]

    def of_rows(self, order: list[int]) -> "Moment":
        """Return the part of some rows."""
        age, obs, reward, terminated, truncated, success = (x[order] for x in self[:6])
        return Moment(age, obs, reward, terminated, truncated, success, rows(self.task, order))

    @property
    def done(self) -> Array:
        """Return the rows that have ended, bool "n"."""
        return np.asarray(self.terminated | self.truncated)

    def at(self, row: int) -> str:
        """Return in words where a row stands."""
        return f"of row {row} at step {self.age[row]}" if self.age[row] else f"of row {row} after its reset"


class OneByOne:
    """Single environments played like the rows of a vector environment: the truth that it is held against."""

    def __init__(self, family: TaskFamily, n: int) -> None:
        self.envs = [family.make() for _ in range(n)]
        self._family = family
        self._obs: list[Array] = [np.zeros(0)] * n
        self._task: list[dict[str, Array]] = [{}] * n
        self._terminated, self._truncated = np.zeros((2, n), bool)

    def reset(self, *, seed: list[int], options: dict[str, Any] | None) -> tuple[Array, dict[str, Any]]:
        """Start the masked rows, each with its own seed and task."""
        tasks, n = (options or {}).get("task"), len(self.envs)
        mask = (options or {}).get("reset_mask", np.ones(n, bool))
        for i in np.flatnonzero(mask):
            own = None if tasks is None else {"task": rows(tasks, i)}
            obs, info = self.envs[i].reset(seed=seed[i], options=own)
            self._obs[i] = _observed(obs, (), self._family.observation_space, "make()")
            self._task[i] = _named(info, (), self._family, "make()")
            self._terminated[i] = self._truncated[i] = False
        names = self._task[0]
        return np.stack(self._obs), {"task": {key: np.stack([t[key] for t in self._task]) for key in names}}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Step each row that goes on; the others stay as they are."""
        reward, success = np.zeros(len(self.envs)), np.full(len(self.envs), np.nan)
        for i in np.flatnonzero(~(self._terminated | self._truncated)):
            obs, *outcome, info = self.envs[i].step(actions[i])
            self._obs[i] = _observed(obs, (), self._family.observation_space, "make()")
            reward[i], self._terminated[i], self._truncated[i] = _outcome(outcome, (), "make()")
            success[i] = _success(info, (), "make()")
        infos = {} if np.isnan(success).all() else {"success": np.nan_to_num(success)}
        return np.stack(self._obs), reward, self._terminated.copy(), self._truncated.copy(), infos


Player: TypeAlias = VectorEnv[Any, Any, Any] | OneByOne


def play(player: Player, script: Script, family: TaskFamily, what: str) -> list[Moment]:
    """Yield what is to be seen, moment by moment; a wrong form is an AssertionError."""
    n, moments = script.actions.shape[1], list[Moment]()
    age, reward = np.zeros(n, np.int64), np.zeros(n)
    terminated, truncated = np.zeros((2, n), bool)
    unsaid = np.full(n, np.nan)

    def enter(obs: Any, task: dict[str, Array], success: Array = unsaid) -> None:
        seen = _observed(obs, (n,), family.observation_space, what)
        moments.append(Moment(age.copy(), seen, reward, terminated, truncated, success, task))
        _check_values(moments[-1], family.observation_space, what)

    for t, action in enumerate(script.actions):
        if (start := script.starts.get(t)) and start.mask.any():
            going = ~start.mask
            age, reward = age * going, np.zeros(n)
            terminated, truncated = terminated & going, truncated & going
            enter(*_started(player, start, family, what))
        over = terminated | truncated
        obs, *outcome, info = player.step(action)
        reward, terminated, truncated = _outcome(outcome, (n,), what)
        success = _success(info, (n,), what)
        success[over & (success > 0)] = 0.0  # what has ended may say what it likes
        age = age + 1
        enter(obs, {}, success)
    return moments


def _started(player: Player, start: Start, family: TaskFamily, what: str) -> tuple[Any, dict[str, Array]]:
    """Observations and the tasks that are named, after a reset as the script has it."""
    options: dict[str, Any] = {} if start.mask.all() else {"reset_mask": start.mask.copy()}
    given = {key: x.copy() for key, x in (start.tasks or {}).items()}
    if start.tasks is not None:
        options["task"] = given
    seeds: Any = start.seeds  # Gymnasium's annotation knows one number only, its environments take a list
    obs, info = player.reset(seed=seeds, options=options or None)
    task = _named(info, (len(start.mask),), family, what)
    features(family, task)
    if start.tasks is not None and (key := unlike(given, start.tasks)):
        raise AssertionError(f"{what}: reset changes the task {key} that it is handed")
    for key, handed in given.items():
        for row in np.flatnonzero(start.mask):
            if not np.allclose(
                task[key][row], handed[row], rtol=1e-5, atol=1e-6
            ):  # it may be kept in float32
                found, wanted = task[key][row].tolist(), handed[row].tolist()
                raise AssertionError(
                    f"{what}: info['task'] of row {row} has {key!r} {found!s:.80}, expected {wanted!s:.80}"
                )
    return obs, task


def _observed(obs: Any, lead: tuple[int, ...], space: gymnasium.Space[Any], what: str) -> Array:
    """Copy observations, whose shape and dtype must be right."""
    seen, wanted = np.array(obs), (*lead, *(space.shape or ()))
    if seen.shape != wanted or seen.dtype != space.dtype:
        found = f"{seen.dtype} {seen.shape}"
        raise AssertionError(f"{what}: observations are {found}, expected {space.dtype} {wanted}")
    return seen


def _outcome(outcome: Sequence[Any], lead: tuple[int, ...], what: str) -> tuple[Array, Array, Array]:
    """Copies of reward, terminated and truncated whose shapes and kinds are right."""
    found = [np.array(x) for x in outcome]
    for name, x, kinds in zip(("reward", "terminated", "truncated"), found, ("fiu", "b", "b"), strict=True):
        if x.shape != lead or x.dtype.kind not in kinds:
            allowed = "bool" if kinds == "b" else "float64"
            raise AssertionError(f"{what}: {name} is {x.dtype} {x.shape}, expected {allowed} {lead}")
    return found[0].astype(np.float64), found[1], found[2]


def _success(info: Any, lead: tuple[int, ...], what: str) -> Array:
    """Return 1 for rows that succeed by an info, else 0; NaN if it does not speak of it."""
    if not isinstance(info, Mapping) or "success" not in info:
        return np.full(lead, np.nan)
    found = np.asarray(info["success"])
    if found.shape != lead or found.dtype.kind not in "fiub":
        raise AssertionError(
            f"{what}: info['success'] is {found.dtype} {found.shape}, expected bool or numbers {lead}"
        )
    return np.array(found > 0, np.float64)


def _named(info: Any, lead: tuple[int, ...], family: TaskFamily, what: str) -> dict[str, Array]:
    """Copy the tasks that an info names, whose names and shapes must be right."""
    task = info.get("task") if isinstance(info, Mapping) else None
    if not isinstance(task, Mapping):
        raise AssertionError(f"{what}: reset names no info['task'], expected a dict")
    shapes = {key: (*lead, *x.shape[1:]) for key, x in draw_tasks(family, 1).items()}
    if sorted(task) != sorted(shapes):
        raise AssertionError(f"{what}: info['task'] has {sorted(task)}, expected {sorted(shapes)}")
    for key, wanted in shapes.items():
        if np.shape(task[key]) != wanted:
            found = np.shape(task[key])
            raise AssertionError(f"{what}: info['task'] has {key!r} of shape {found}, expected {wanted}")
    return {key: np.array(task[key]) for key in shapes}


def _check_values(moment: Moment, space: gymnasium.Space[Any], what: str) -> None:
    """Finite rewards, finite observations inside their space."""
    for row, obs in enumerate(moment.obs):
        if not np.isfinite(moment.reward[row]):
            raise AssertionError(f"{what}: the reward {moment.at(row)} is {moment.reward[row]}")
        if not np.isfinite(obs).all() or not space.contains(obs if obs.shape else obs[()]):
            shown = f"{obs.tolist()!s:.120}"
            raise AssertionError(
                f"{what}: the observation {moment.at(row)} is {shown}, outside {space!s:.120}"
            )
