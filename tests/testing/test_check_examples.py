"""The contract test of families, labelled examples: each way to break them is told in one line."""

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from metarl.testing import check_family
from metarl_envs.few_shot.sinusoid import Sinusoid
from tiny_families import Blobs


def shots_by(change: Any, family: Any = None, **members: Any) -> Any:
    """Other examples: ``change(drawn, tasks, rng)`` of those that the family gives."""
    family = Sinusoid(shots=4, queries=3) if family is None else family
    own = family.sample_shots
    family.sample_shots = lambda tasks, rng: change(own(tasks, rng), tasks, rng)
    for name, member in members.items():
        setattr(family, name, member)
    return family


def same(drawn: Any, *_: Any) -> Any:
    return drawn


def by_name(name: str, change: Any) -> Any:
    return lambda drawn, *_: drawn | {name: change(drawn[name])}


def of_the_first(drawn: Any, *_: Any) -> Any:
    return {name: np.repeat(x[:1], len(x), 0) for name, x in drawn.items()}


def centred(drawn: Any, *_: Any) -> Any:
    return drawn | {"support_y": drawn["support_y"] - drawn["support_y"].mean(0)}


def in_place(drawn: Any, tasks: Any, rng: Any) -> Any:
    tasks["phase"] += 1.0
    return drawn


def of_all_tasks(drawn: Any, *_: Any) -> Any:
    """As many shots as tasks."""
    return drawn | {name: drawn[name][:, : len(drawn[name])] for name in ("support_x", "support_y")}


def fresh(drawn: Any, tasks: Any, rng: Any) -> Any:
    return Sinusoid(shots=4, queries=3).sample_shots(tasks, np.random.default_rng())


BROKEN = {
    "metric": (shots_by(same, metric="accuracy"), "metric is 'accuracy', expected 'mse' for labels in Box"),
    "metric of classes": (shots_by(same, Blobs(), metric="mse"), "metric is 'mse', expected 'accuracy' for"),
    "observations": (
        shots_by(same, observation_space=Discrete(3)),
        r"observation_space is Discrete\(3\), expected",
    ),
    "no query": (
        shots_by(lambda drawn, *_: {name: x for name, x in drawn.items() if "query" not in name}),
        "query_x is missing; allowed: a numeric array",
    ),
    "double precision": (
        shots_by(by_name("support_x", lambda x: x.astype(np.float64))),
        "support_x has numbers that are not finite float32",
    ),
    "NaN": (
        shots_by(by_name("query_y", lambda x: x * np.float32(np.nan))),
        "query_y has numbers that are not finite float32",
    ),
    "labels of another shape": (
        shots_by(by_name("support_y", lambda x: x[..., 0])),
        r"support_y has shape \(4, 4\); allowed: \(4, 4, 1\)",
    ),
    "tasks lost": (
        shots_by(lambda drawn, *_: {name: np.concatenate([x, x]) for name, x in drawn.items()}),
        r"support_x of 4 tasks has the shape \(8, 4, 1\), expected \(4, 4, 1\)",
    ),
    "shots by number of tasks": (
        shots_by(of_all_tasks),
        r"support_x of 1 tasks has the shape \(1, 1, 1\), expected \(1, 4, 1\)",
    ),
    "examples outside": (
        shots_by(by_name("query_x", lambda x: x + np.float32(11))),
        r"query_x of task 0 has the number \S+, outside Box\(-5\.0, 5\.0",
    ),
    "labels outside": (
        shots_by(same, action_space=Box(-0.25, 0.25, (1,), np.float32)),
        r"support_y of task 0 has the number \S+, outside Box\(-0\.25, 0\.25",
    ),
    "labels from 1": (
        shots_by(by_name("support_y", lambda y: y + 1), Blobs()),
        "support_y has labels torch.int64 from 1 to 3; allowed: int64 from 0 to 2",
    ),
    "small labels": (
        shots_by(by_name("query_y", lambda y: y.astype(np.int32)), Blobs()),
        "query_y has labels torch.int32 from 0 to 2; allowed: int64 from 0 to 2",
    ),
    "not reproducible": (
        shots_by(fresh),
        "sample_shots gives another 'support_x' for the same state of the generator",
    ),
    "tasks in place": (shots_by(in_place), "sample_shots changes the task 'phase' that it is handed"),
    "centred over tasks": (
        shots_by(centred),
        "support_y of task 0 changes with task 3, expected it not to",
    ),
    "the first task's": (
        shots_by(of_the_first),
        "the examples of task 3 stay the same whatever the task",
    ),
    "an error inside": (
        shots_by(lambda drawn, *_: drawn["nothing"]),
        "sample_shots raises KeyError: 'nothing'",
    ),
}


@pytest.mark.parametrize("how", list(BROKEN))
def test_a_family_broken_on_purpose_is_told_in_one_line(how: str) -> None:
    family, words = BROKEN[how]
    with pytest.raises(AssertionError, match=words) as caught:
        check_family(family)
    line = str(caught.value)
    assert line.startswith(f"family {family.name!r}: ") and "\n" not in line and len(line) < 400


@pytest.mark.parametrize("family", [Sinusoid(shots=4, queries=3), Blobs()])
def test_an_unspoilt_one_is_not_blamed(family: Any) -> None:
    check_family(shots_by(same, family))
