"""The contract test of families: ours all pass; members, tasks and features that break it are told."""

import importlib
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from metarl.rollout.observed import observe_task
from metarl.rollout.registry import families
from metarl.testing import check_family
from metarl_envs import PointGoal
from metarl_envs.few_shot.sinusoid import Sinusoid
from tiny_families import Blobs, Crane, Field, Patches, Spot

# Tested beside its small archives, in test_omniglot.py, and where Meta-World is, in tests/meta_world.
NEEDS_MORE = {"omniglot", "metaworld-ml1", "metaworld-ml10", "metaworld-ml45"}
OURS = [name for name in families.names() if families[name].__module__.startswith("metarl_envs.")]
CASES = [(name, spec) for name in OURS if name not in NEEDS_MORE for spec in families[name].specs]
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_no_family_of_ours_is_left_out() -> None:
    assert len(OURS) >= 23 and set(OURS) == NEEDS_MORE | {name for name, _ in CASES}


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_every_family_of_ours_keeps_the_contract(name: str, spec: str) -> None:
    cls = families[name]
    check_family(cls(spec) if hasattr(cls, "sample_shots") else cls(spec, horizon=8))


@pytest.mark.parametrize(
    "family",
    [
        *(Field(spec) for spec in Field.specs),
        Field(horizon=1),
        Crane(first=2),
        *(Spot(actions=kind) for kind in ("moves", "both", "amounts")),
        Blobs(),
        Blobs(ways="all"),
        Patches(ways=3, queries=2),
        observe_task(PointGoal("promp", horizon=5)),
        observe_task(Sinusoid()),
    ],
    ids=lambda family: f"{type(family).__name__}/{family.spec}",
)
def test_families_of_other_kinds_keep_it_too(family: Any) -> None:
    """One step alone; all classes of a split at once; the oracle's view."""
    check_family(family)


@pytest.mark.parametrize("place", ["dial:Dial", "lines:Lines"])
def test_the_examples_of_the_documentation_keep_it(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    module, name = place.split(":")
    check_family(getattr(importlib.import_module(module), name)())


# What breaks it ---------------------


def altered(family: Any = None, **members: Any) -> Any:
    """A family, by default the corners, with some of its members replaced."""
    family = PointGoal("promp", horizon=4) if family is None else family
    for name, member in members.items():
        setattr(family, name, member)
    return family


def tasks_by(change: Any, family: Any = None) -> Any:
    """Other tasks: ``change(tasks, n, rng, split)`` of those that the family gives."""
    family = PointGoal(horizon=4) if family is None else family
    own = family.sample_tasks
    return altered(
        family, sample_tasks=lambda n, rng, split="train": change(own(n, rng, split), n, rng, split)
    )


def splits_by(refuse: Any) -> Any:
    """The corners, which have no ood; what they refuse is refused by ``refuse(split)``."""
    own = PointGoal("promp").sample_tasks

    def sample_tasks(n: int, rng: np.random.Generator, split: str = "train") -> Any:
        return own(n, rng, split) if split in ("train", "validation", "test") else refuse(split)

    return altered(sample_tasks=sample_tasks)


def raising(error: Exception) -> Any:
    def refuse(split: str) -> Any:
        raise error

    return refuse


def features_by(change: Any) -> Any:
    own = PointGoal("promp").task_features
    return altered(task_features=lambda tasks: change(own(tasks), tasks))


def reused(seen: Any, tasks: Any) -> Any:
    tasks["goal"] += 1.0
    return seen


class Bare:
    name, spec, num_tasks = "bare", "v1", None


GOAL = {"goal": np.zeros((5, 2))}

BROKEN = {
    "a class": (PointGoal, "expected an instance, found the class PointGoal itself"),
    "members missing": (
        Bare(),
        "it lacks observation_space, action_space, sample_tasks, task_features, horizon",
    ),
    "no name": (altered(name=""), "name is '', expected a str of one line"),
    "a name of two lines": (altered(spec="a\nb"), r"spec is 'a\\nb', expected a str of one line"),
    "unknown metric": (altered(metric="mse"), "metric is 'mse', expected 'success' or none"),
    "unknown spec": (altered(spec="new"), "spec is 'new', expected one of its specs: finn2017, promp"),
    "no horizon": (altered(horizon=0), "horizon is 0, expected an int from 1$"),
    "an open horizon": (altered(horizon=None), "horizon is None, expected an int from 1$"),
    "half a task": (altered(num_tasks=2.5), "num_tasks is 2.5, expected an int from 1 or None"),
    "observations of many arrays": (
        altered(observation_space=gymnasium.spaces.Dict({})),
        r"observation_space is Dict\(\), expected a Gymnasium space of one array",
    ),
    "other actions": (
        altered(action_space=gymnasium.spaces.MultiBinary(2)),
        r"action_space is MultiBinary\(2\), expected a Box, Discrete or MultiDiscrete",
    ),
    "no dict": (
        tasks_by(lambda tasks, *_: tasks["goal"]),
        "split 'train' gives a ndarray, expected a dict of arrays",
    ),
    "rows": (
        tasks_by(lambda tasks, *_: {"goal": np.repeat(tasks["goal"], 2, 0)}),
        r"split 'train': 'goal' of 5 tasks has the shape \(10, 2\), expected an array of 5 rows",
    ),
    "lists": (
        tasks_by(lambda tasks, *_: {"goal": tasks["goal"].tolist()}),
        "'goal' of 5 tasks is a list, expected an array of 5 rows",
    ),
    "NaN": (
        tasks_by(lambda tasks, *_: {"goal": tasks["goal"] * np.nan}),
        r"'goal' of 5 tasks has entries that are no finite numbers \(float64\)",
    ),
    "not reproducible": (
        tasks_by(lambda tasks, n, *_: {"goal": np.random.default_rng().random((n, 2))}),
        "split 'train' gives another 'goal' for the same state of the generator",
    ),
    "no prefix": (
        tasks_by(lambda tasks, *_: {"goal": tasks["goal"][::-1]}),
        r"split 'train': the first 2 of 5 tasks are not those of a draw of 2 \('goal'\)",
    ),
    "generator ignored": (
        tasks_by(lambda tasks, n, *_: {"goal": np.arange(2.0 * n).reshape(n, 2)}),
        "split 'train' gives the same tasks whatever the generator",
    ),
    "unknown split accepted": (
        splits_by(lambda split: GOAL),
        "sample_tasks accepts split 'nowhere', expected a ValueError of one line",
    ),
    "refused by another error": (
        splits_by(raising(KeyError("ood"))),
        "split 'nowhere' raises KeyError: 'ood', expected a ValueError if it is refused",
    ),
    "refused in two lines": (
        splits_by(raising(ValueError("no\nsuch split"))),
        r"the refusal of split 'nowhere' is no line: 'no\\nsuch split'",
    ),
    "no test tasks": (
        tasks_by(lambda tasks, n, rng, split: {} if split == "test" else tasks),
        "split 'test' gives nothing, expected a dict of arrays",
    ),
    "too few tasks": (altered(num_tasks=3), "num_tasks is 3, but training and test have 4 different tasks"),
    "too many tasks": (
        altered(num_tasks=6),
        "num_tasks is 6, but 6 tasks of split 'validation' are 4 different ones, expected each once",
    ),
    "tasks not counted": (
        altered(num_tasks=None),
        r"num_tasks is None, but training has met all test tasks \(the 4 different ones of 64\)",
    ),
    "double features": (
        features_by(lambda seen, tasks: seen.astype(np.float64)),
        r"task_features of 5 tasks are float64 \(5, 2\), expected float32 \(5, f\)",
    ),
    "features of one": (
        features_by(lambda seen, tasks: seen[:1]),
        r"task_features of 5 tasks are float32 \(1, 2\), expected float32 \(5, f\)",
    ),
    "infinite features": (
        features_by(lambda seen, tasks: seen / np.float32(0)),
        r"task_features of task 0 are \[-?inf, -?inf\], expected finite ones",
    ),
    "features of others": (
        features_by(lambda seen, tasks: seen - seen.mean(0)),
        "task_features of a task depend on which others they are asked with",
    ),
    "tasks in place": (features_by(reused), "task_features changes the 'goal' that it is handed"),
    "marks": (
        altered(marks=lambda tasks: tasks["goal"][0]),
        r"marks gives the shape \(2,\), expected \(5, 2\)",
    ),
    "plane": (
        altered(plane=lambda obs: obs[..., :1]),
        r"plane gives the shape \(4, 3, 1\), expected \(4, 3, 2\)",
    ),
    "curve": (
        altered(Sinusoid(), curve=lambda tasks, x: x),
        r"curve gives the shape \(7,\), expected \(5, 7\)",
    ),
    "an error inside": (
        altered(task_features=lambda tasks: tasks["gaol"]),
        "task_features raises KeyError: 'gaol'",
    ),
}


@pytest.mark.parametrize("how", list(BROKEN))
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_family_broken_on_purpose_is_told_in_one_line(how: str) -> None:
    family, words = BROKEN[how]
    with pytest.raises(AssertionError, match=words) as caught:
        check_family(family)
    line = str(caught.value)
    assert line.startswith(f"family {family.name!r}: ") and "\n" not in line and len(line) < 400
