"""The environments of a task family: one by itself, and many in step, held against it."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from metarl.rollout.family import Array, TaskFamily
from metarl.testing.play import Moment, OneByOne, Script, Start, play
from metarl.testing.tasks import draw_tasks, rows

ROWS = 3
TRIES = 20  # of a longer episode, where all have ended at once
ORDERS = ([0, 1, 2], [1, 0])  # of the rows in a vector environment


def check_environments(family: TaskFamily, *, tolerance: float = 0.0) -> None:
    """Assert what ``TaskFamily`` says of environments; part of ``metarl.testing.check_family``.

    Three rows with tasks, seeds (up to 2⁶⁴) and actions of their own are played by three single environments
    from ``make()``, twice, and by vector environments of three rows and of two in another order. Half-way to
    the horizon row 1 is restarted with another task, the others end and are frozen, and at last all restart
    with tasks that they draw themselves.

    * Spaces are the family's; observations lie in theirs, with its dtype; rewards are finite; an episode ends
      at the horizon, if not before; not every one ends with its first step, unless the horizon is 1.
    * Every reset names the tasks in info["task"], the handed-over ones where there are any, and leaves what
      it is handed as it is.
    * The same seeds, tasks and actions give the same; Gymnasium's ``check_env`` accepts the environment (what
      it merely warns of is ignored, and so is an environment of one step, which it does not allow).
    * Vector environments say ``AutoresetMode.DISABLED``, restart the rows of ``reset_mask`` alone, and freeze
      finished rows: the observation and both flags stay, the reward is 0.
    * Each row of each of them is the single environment step by step, in info["success"] too, of which a
      family whose metric it is must speak.
    """
    script = _script(family)
    with ExitStack() as opened:
        singles = OneByOne(family, ROWS)
        for env in singles.envs:
            opened.callback(env.close)
            _check_spaces(env.observation_space, env.action_space, family, "make()")
        expected = play(singles, script, family, "make()")
        _check_ends(expected, family.horizon, "make()")
        _check_lengths(expected, family, singles.envs[0])
        _check_success(expected, family, "make()")
        again = play(singles, script, family, "make()")
        _compare(again, expected, tolerance, "make()", "for the same seed, task and actions")
        if family.horizon > 1:
            _check_with_gymnasium(singles.envs[0])
    for order in ORDERS:
        n, what = len(order), f"make_vec({len(order)})"
        with ExitStack() as opened:
            vector = family.make_vec(n)
            opened.callback(vector.close)
            _check_vector(vector, family, n, what)
            found = play(vector, script.of_rows(order), family, what)
            _check_frozen(found, what)
            _check_ends(found, family.horizon, what)
            _check_success(found, family, what)
            wanted = [moment.of_rows(order) for moment in expected]
            _compare(found, wanted, tolerance, what, "as make() gives it")


def _script(family: TaskFamily) -> Script:
    """Check what ``check_environments`` describes."""
    rng, half = np.random.default_rng(0), max(1, family.horizon // 2)
    steps = half + family.horizon + 1 + half
    all_rows = np.ones(ROWS, bool)
    tasks = [draw_tasks(family, ROWS, seed=seed) for seed in (1, 2)]
    seeds = rng.integers(2**63, 2**64, (3, ROWS), np.uint64).tolist()
    starts = {
        0: Start(all_rows, seeds[0], tasks[0]),
        half: Start(np.arange(ROWS) == 1, seeds[1], tasks[1]),
        half + family.horizon + 1: Start(all_rows, seeds[2], None),
    }
    space = copy.deepcopy(family.action_space)
    space.seed(0)
    actions = [np.stack([np.asarray(space.sample()) for _ in range(ROWS)]) for _ in range(steps)]
    return Script(starts, np.stack(actions))


def _check_spaces(observations: Any, actions: Any, family: TaskFamily, what: str) -> None:
    pairs = {
        "observation_space": (observations, family.observation_space),
        "action_space": (actions, family.action_space),
    }
    for name, (found, wanted) in pairs.items():
        if found != wanted:
            raise AssertionError(f"{what}: the {name} is {found}, expected the family's {wanted}")


def _check_vector(env: Any, family: TaskFamily, n: int, what: str) -> None:
    if not isinstance(env, VectorEnv) or env.num_envs != n:
        found = f"{type(env).__name__} of {getattr(env, 'num_envs', 'no')} rows"
        raise AssertionError(f"{what} is a {found}, expected a gymnasium.vector.VectorEnv of {n} rows")
    mode = (env.metadata or {}).get("autoreset_mode")
    if mode is not AutoresetMode.DISABLED:
        raise AssertionError(
            f"{what}: metadata['autoreset_mode'] is {mode}, expected {AutoresetMode.DISABLED}"
        )
    _check_spaces(env.single_observation_space, env.single_action_space, family, f"{what}, one row")
    if env.action_space != (wanted := batch_space(family.action_space, n)):
        raise AssertionError(f"{what}: the action_space is {env.action_space}, expected {wanted}")


def _check_with_gymnasium(env: gymnasium.Env[Any, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice, such as bounds of ±1
        try:
            check_env(env, skip_render_check=True, skip_close_check=True)
        except Exception as error:
            raise AssertionError(f"make(): gymnasium's check_env: {error}") from error


def _check_ends(moments: list[Moment], horizon: int, what: str) -> None:
    ended = np.zeros_like(moments[0].done)
    for moment in moments:
        ended = (ended & (moment.age > 0)) | moment.done
        late = ~ended & (moment.age >= horizon)
        if late.any():
            row = int(late.argmax())
            raise AssertionError(f"{what}: row {row} goes on after step {horizon}, expected its end there")


def _check_lengths(moments: list[Moment], family: TaskFamily, env: gymnasium.Env[Any, Any]) -> None:
    """Not all episodes end with their first step, whatever the task, the seed and the action."""
    if family.horizon == 1 or not all(moment.done[moment.age == 1].all() for moment in moments):
        return
    space, tasks = copy.deepcopy(family.action_space), draw_tasks(family, TRIES, seed=3)
    space.seed(1)
    for i in range(TRIES):
        env.reset(seed=i, options={"task": rows(tasks, i)})
        action: Any = space.start + i % space.n if isinstance(space, Discrete) else space.sample()
        if not any(env.step(action)[2:4]):
            return
    raise AssertionError(
        f"make(): {TRIES} episodes all end with their first step, expected longer ones, or a horizon of 1"
    )


def _check_success(moments: list[Moment], family: TaskFamily, what: str) -> None:
    """Check that a family measured by success speaks of it by the end of an episode."""
    if getattr(family, "metric", "return") == "success" and all(np.isnan(m.success).all() for m in moments):
        raise AssertionError(
            f"{what}: metric is 'success', expected info['success'] at each step, found none"
        )


def _check_frozen(moments: list[Moment], what: str) -> None:
    """Rows that have ended stay as they are, and so do, in a reset, those that ``reset_mask`` leaves out."""
    for before, after in pairwise(moments):
        in_reset = bool(after.task)
        kept = (after.age > 0) & (before.done | in_reset)
        stay = {
            "observation": (after.obs, before.obs),
            "reward": (after.reward, np.zeros_like(after.reward)),
            "flag terminated": (after.terminated, before.terminated),
            "flag truncated": (after.truncated, before.truncated),
        }
        why = "reset_mask leaves it out" if in_reset else "it has ended"
        for name, (found, wanted) in stay.items():
            moved = kept & (found != wanted).reshape(len(kept), -1).any(1)
            if moved.any():
                row = int(moved.argmax())
                place, is_, was = _first(found[row] != wanted[row], found[row], wanted[row])
                raise AssertionError(
                    f"{what}: row {row} is not left alone, though {why}: "
                    f"the {name}{place} {after.at(row)} is {is_}, expected {was}"
                )


def _compare(found: list[Moment], wanted: list[Moment], tolerance: float, what: str, why: str) -> None:
    """Equal moments; observations and rewards within the tolerance."""
    for one, two in zip(found, wanted, strict=True):
        for name, x, y, room in _parts(one, two, tolerance):
            a, b = x.astype(np.float64), y.astype(np.float64)
            apart = np.abs(a - b) > room * np.maximum(1.0, np.abs(b))
            differ = apart.reshape(len(apart), -1).any(1)
            if differ.any():
                row = int(differ.argmax())
                place, is_, should = _first(apart[row], x[row], y[row])
                raise AssertionError(
                    f"{what}: the {name}{place} {one.at(row)} is {is_}, expected {should} {why}"
                )


def _parts(one: Moment, two: Moment, tolerance: float) -> Iterator[tuple[str, Array, Array, float]]:
    """Name, both values and tolerance of all that two moments show."""
    for key in one.task:
        yield f"task {key!r}", one.task[key], two.task[key], tolerance
    yield "observation", one.obs, two.obs, tolerance
    yield "reward", one.reward, two.reward, tolerance
    yield "flag terminated", one.terminated, two.terminated, 0.0
    yield "flag truncated", one.truncated, two.truncated, 0.0
    yield "success", np.nan_to_num(one.success), np.nan_to_num(two.success), 0.0


def _first(where: Any, found: Any, wanted: Any) -> tuple[str, Any, Any]:
    """Return the place of the first entry at which ``where`` holds, and both values there."""
    place = np.argwhere(where)[0].tolist()
    return str(place) if place else "", *(np.asarray(x)[tuple(place)].item() for x in (found, wanted))
