"""The contract of a task family, tried in one line: ``check_family(family)``."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from metarl.rollout.family import SPLITS, Family, is_supervised, lacking
from metarl.testing.check_environments import check_environments
from metarl.testing.check_examples import check_examples
from metarl.testing.one_line import one_line
from metarl.testing.tasks import distinct, draw_tasks, features, rows, unlike

MANY, FEW = 5, 2  # tasks; the few are to be the first of the many
FINITE = 64  # of more tasks, only so many are counted
NOWHERE = "nowhere"  # a split that nobody has


def check_family(family: Any, *, tolerance: float = 0.0) -> None:
    """Assert that ``family`` keeps the contract of ``metarl.rollout.family``.

    Of every family:

    * it has all members, and they are what they have to be;
    * ``sample_tasks`` draws numbers with one row a task in train, validation, test and, where it is not
      refused, ood; tasks are a function of the generator, the first m of n are those of m, and
      ``num_tasks`` is right; a split that it lacks is refused by a ValueError of one line;
    * ``task_features`` are finite float32 "n f", a row a task; ``plane``, ``marks`` and ``curve``, where it
      has them, have their shapes.

    For its episodes see ``metarl.testing.check_environments``, for its labelled examples
    ``metarl.testing.check_examples``. Both hold single rows against many.

    A consistent family that is not the intended one passes: compare its rewards or labels with numbers
    worked by hand. Episodes are played to the horizon several times, so give the family a short one.

    Args:
        family: a ``TaskFamily`` or a ``SupervisedFamily``.
        tolerance: by how much observations and rewards of a vector environment may differ from those of
            single ones, absolute and relative to the larger; 0 asks for equal numbers.

    Raises:
        AssertionError: of one line, which names the family, what was expected and what was found.
    """
    subject = f"family {getattr(family, 'name', type(family).__name__)!r}"
    with one_line(subject, "reading its members"):
        if isinstance(family, type):
            raise AssertionError(f"expected an instance, found the class {family.__name__} itself")
        if missing := lacking(family):
            raise AssertionError(f"it lacks {', '.join(missing)}")
        _check_members(family)
    own: dict[str, Callable[[Any], None]] = {
        "an environment": partial(check_environments, tolerance=tolerance)
    }
    if is_supervised(family):
        own = {"sample_shots": check_examples}
    for words, check in (CHECKS | own).items():
        with one_line(subject, words):
            check(family)


def _check_members(family: Any) -> None:
    for member in ("name", "spec"):
        found = getattr(family, member)
        if not isinstance(found, str) or not found or "\n" in found:
            raise AssertionError(f"{member} is {found!r}, expected a str of one line")
    specs = getattr(family, "specs", {family.spec: ""})
    if family.spec not in specs:
        raise AssertionError(f"spec is {family.spec!r}, expected one of its specs: {', '.join(specs)}")
    counts = {"num_tasks": family.num_tasks}
    if not is_supervised(family):
        counts["horizon"] = family.horizon
        if family.horizon is None:
            raise AssertionError("horizon is None, expected an int from 1")
        metric = getattr(family, "metric", "return")
        if metric not in ("return", "success"):
            raise AssertionError(f"metric is {metric!r}, expected 'success' or none")
    for member, count in counts.items():
        whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if count is not None and not (whole and count >= 1):
            allowed = "an int from 1" + (" or None" if member == "num_tasks" else "")
            raise AssertionError(f"{member} is {count!r}, expected {allowed}")
    space = family.observation_space
    if not isinstance(space, gymnasium.Space) or space.shape is None:
        raise AssertionError(f"observation_space is {space}, expected a Gymnasium space of one array")
    if not isinstance(family.action_space, Box | Discrete | MultiDiscrete):
        raise AssertionError(
            f"action_space is {family.action_space}, expected a Box, Discrete or MultiDiscrete"
        )


def _splits(family: Family) -> Iterator[str]:
    """Return the splits that the family has: those that all have, and "ood" unless it is refused."""
    yield from SPLITS[:-1]
    if _refusal(family, SPLITS[-1]) is None:
        yield SPLITS[-1]


def _refusal(family: Family, split: str) -> str | None:
    """Return the line by which a split is refused; None if it is not."""
    try:
        family.sample_tasks(1, np.random.default_rng(0), split)
    except ValueError as error:
        if not str(error) or "\n" in str(error):
            raise AssertionError(f"the refusal of split {split!r} is no line: {str(error)!r:.80}") from error
        return str(error)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise AssertionError(
            f"split {split!r} raises {found}, expected a ValueError if it is refused"
        ) from error
    return None


def _check_splits(family: Family) -> None:
    if _refusal(family, NOWHERE) is None:
        raise AssertionError(f"sample_tasks accepts split {NOWHERE!r}, expected a ValueError of one line")
    for split in _splits(family):
        many = draw_tasks(family, MANY, split)
        if where := unlike(draw_tasks(family, MANY, split), many):
            raise AssertionError(f"split {split!r} gives another {where} for the same state of the generator")
        if where := unlike(draw_tasks(family, FEW, split), rows(many, slice(FEW))):
            raise AssertionError(
                f"split {split!r}: the first {FEW} of {MANY} tasks are not those of a draw of {FEW} ({where})"
            )
    draws = [draw_tasks(family, MANY, seed=seed) for seed in range(8)]
    varied = family.num_tasks is None and len(distinct(draws[0])) > 1
    if varied and not any(unlike(draws[0], other) for other in draws[1:]):
        raise AssertionError("split 'train' gives the same tasks whatever the generator")


def _check_count(family: Family) -> None:
    """Check that there are ``num_tasks`` tasks, or else that training has not met the test tasks."""
    known = family.num_tasks
    n = FINITE if known is None else min(known, FINITE)
    met, held_out = distinct(draw_tasks(family, 8 * n)), distinct(draw_tasks(family, n, "test", seed=1))
    if known is None:
        if held_out <= met:
            raise AssertionError(
                f"num_tasks is None, but training has met all test tasks (the {len(held_out)} different "
                f"ones of {n}), expected their number"
            )
        return
    for split in ("validation", "test"):
        found = len(distinct(draw_tasks(family, n, split)))
        if found < n:
            raise AssertionError(
                f"num_tasks is {known}, but {n} tasks of split {split!r} are {found} different ones, "
                "expected each once"
            )
    if known <= FINITE and (found := len(met | held_out)) > known:
        raise AssertionError(f"num_tasks is {known}, but training and test have {found} different tasks")


def _check_features(family: Family) -> None:
    for split in _splits(family):
        tasks = draw_tasks(family, MANY, split)
        all_of_them = features(family, tasks)
        for which in (slice(FEW), slice(FEW - 1, FEW)):
            if not np.array_equal(features(family, rows(tasks, which)), all_of_them[which]):
                raise AssertionError("task_features of a task depend on which others they are asked with")


def _check_pictures(family: Any) -> None:
    tasks = draw_tasks(family, MANY)
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {}
    if hasattr(family, "marks"):
        shapes["marks"] = family.marks(tasks), (MANY, 2)
    if hasattr(family, "curve"):
        shapes["curve"] = family.curve(tasks, np.linspace(-1.0, 1.0, 7)), (MANY, 7)
    if hasattr(family, "plane"):
        space = family.observation_space
        seen = np.zeros((4, 3, *space.shape), space.dtype)
        shapes["plane"] = family.plane(seen), (4, 3, 2)
    for member, (found, wanted) in shapes.items():
        if np.shape(found) != wanted:
            raise AssertionError(f"{member} gives the shape {np.shape(found)}, expected {wanted}")


CHECKS: dict[str, Callable[[Any], None]] = {
    "sample_tasks": _check_splits,
    "counting tasks": _check_count,
    "task_features": _check_features,
    "what is for pictures": _check_pictures,
}
