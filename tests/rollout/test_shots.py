"""Labelled examples as batches: mini-batches in order, and draws that a family's spaces do not promise."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from metarl.core.batch import Shots
from metarl.core.errors import RequestError
from metarl.rollout.observed import observe_task
from metarl.rollout.shots import check_shots, mini_batch, sample_shots
from metarl_envs.few_shot.sinusoid import Sinusoid
from tiny_families import CENTRES, Blobs, Patches

Drawn = dict[str, Any]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def numbered(n: int) -> Shots:
    """Examples 0 … n − 1 of the first task and 100, 101, … of the second; a label is minus its example."""
    x = torch.stack([torch.arange(n), 100 + torch.arange(n)]).float()[..., None]
    return Shots(x, -x)


# Mini-batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "size", "expected"),
    [
        (6, 2, [[0, 1], [2, 3], [4, 5], [0, 1]]),
        (5, 2, [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4], [0, 1]]),  # from the front again, none left out
        (5, 4, [[0, 1, 2, 3], [4, 0, 1, 2], [3, 4, 0, 1]]),
        (3, 1, [[0], [1], [2], [0]]),
    ],
)
def test_they_follow_one_another_and_begin_again(n: int, size: int, expected: list[list[int]]) -> None:
    shots = numbered(n)
    for step, rows in enumerate(expected):
        found = mini_batch(shots, size, step)
        assert found.x[0, :, 0].tolist() == rows
        assert found.x[1, :, 0].tolist() == [100 + row for row in rows]
        assert torch.equal(found.y, -found.x)  # labels stay with their examples


def test_over_as_many_steps_as_it_takes_each_example_comes_equally_often() -> None:
    drawn = torch.cat([mini_batch(numbered(10), 4, step).x[0, :, 0] for step in range(5)])
    assert torch.bincount(drawn.long()).tolist() == [2] * 10


@pytest.mark.parametrize("size", [None, 5, 9])
def test_a_size_that_takes_all_takes_each_once(size: int | None) -> None:
    shots = numbered(5)
    for step in (0, 1, 7):
        assert mini_batch(shots, size, step).x[0, :, 0].tolist() == [0, 1, 2, 3, 4]


# Draws -------------------------------------------------------------------------------------------


def test_support_and_query_are_told_apart() -> None:
    family = Sinusoid(shots=3, queries=7)
    tasks = family.sample_tasks(4, rng())
    support, query = sample_shots(family, tasks, rng(1))
    assert (support.x.shape, support.y.shape) == ((4, 3, 1), (4, 3, 1))
    assert (query.x.shape, query.y.shape) == ((4, 7, 1), (4, 7, 1))
    drawn = family.sample_shots(tasks, rng(1))
    for name, shots in (("support", support), ("query", query)):
        np.testing.assert_array_equal(shots.x, drawn[f"{name}_x"])
        np.testing.assert_array_equal(shots.y, drawn[f"{name}_y"])
        truth = tasks["amplitude"][:, None, None] * np.sin(shots.x.numpy() - tasks["phase"][:, None, None])
        np.testing.assert_allclose(shots.y, truth, atol=1e-5)


def test_labels_are_the_places_of_the_classes_in_the_task() -> None:
    family = Blobs(ways=3, shots=40, queries=40)
    tasks = family.sample_tasks(5, rng())
    for shots in sample_shots(family, tasks, rng(1)):
        assert shots.y.dtype == torch.int64
        for t, classes in enumerate(tasks["classes"]):
            for label, number in enumerate(classes):
                mean = shots.x[t][shots.y[t] == label].mean(0)
                np.testing.assert_allclose(mean, CENTRES[number], atol=0.25)


@pytest.mark.parametrize("family", [Sinusoid(), Blobs(), Patches(ways=2), observe_task(Sinusoid())])
def test_sound_families_pass(family: Any) -> None:
    support, query = sample_shots(family, family.sample_tasks(3, rng()), rng(1))
    check_shots(family, support, "support")
    check_shots(family, query, "query")


class Spoiled:
    """A family around another one, whose draws are spoiled."""

    def __init__(self, family: Any, spoil: Callable[[Drawn], Drawn]) -> None:
        self.name, self.spec, self.metric, self.num_tasks = "spoiled", family.spec, family.metric, None
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self.sample_tasks, self.task_features = family.sample_tasks, family.task_features
        self._draw, self._spoil = family.sample_shots, spoil

    def sample_shots(self, tasks: Any, rng: np.random.Generator) -> Drawn:
        return self._spoil(self._draw(tasks, rng))


def put(name: str, value: float, dtype: Any = None) -> Callable[[Drawn], Drawn]:
    """One number of an array is another, in another precision if so wished."""

    def spoil(drawn: Drawn) -> Drawn:
        array = drawn[name].astype(dtype or drawn[name].dtype)
        array[1, 2] = value
        return {**drawn, name: array}

    return spoil


def change(name: str, to: Callable[[Any], Any]) -> Callable[[Drawn], Drawn]:
    return lambda drawn: {**drawn, name: to(drawn[name])}


SPOILED = [
    (Sinusoid, put("support_x", np.nan), "support_x has numbers that are not finite float32"),
    (Sinusoid, put("query_x", np.inf), "query_x has numbers that are not finite float32"),
    (Sinusoid, put("support_y", np.nan), "support_y has numbers that are not finite float32"),
    (Sinusoid, put("query_y", -np.inf), "query_y has numbers that are not finite float32"),
    (Sinusoid, put("support_x", 0, np.float64), "support_x has numbers that are not finite float32"),
    (Sinusoid, put("query_y", 0, np.int64), "query_y has numbers that are not finite float32"),
    (Sinusoid, change("support_x", lambda x: x[:, :0]), "support_x has shape (3, 0, 1); allowed: "),
    (Sinusoid, change("query_x", lambda x: x[..., 0]), "query_x has shape (3, 10); allowed: (3, 10, 1)"),
    (Sinusoid, change("query_x", lambda x: x[:, :4]), "query_x has shape (3, 4, 1); allowed: (3, 10, 1)"),
    (Sinusoid, change("support_y", lambda y: y[..., 0]), "support_y has shape (3, 10); allowed: (3, 10, 1)"),
    (Blobs, put("support_y", 3), "support_y has labels torch.int64 from 0 to 3; allowed: int64 from 0 to 2"),
    (Blobs, put("query_y", -1), "query_y has labels torch.int64 from -1 to 2; allowed: int64 from 0 to 2"),
    (Blobs, put("query_y", 0, np.int32), "query_y has labels torch.int32 from 0 to 2; allowed: int64"),
    (Blobs, put("support_y", 0, np.float32), "support_y has labels torch.float32 from 0.0 to 2.0; allowed"),
    (Blobs, change("support_y", lambda y: y[..., None]), "support_y has shape (3, 12, 1); allowed: (3, 12)"),
    (Blobs, change("query_x", lambda x: x[..., :1]), "query_x has shape (3, 15, 1); allowed: (3, 15, 2)"),
]


@pytest.mark.parametrize(("family", "spoil", "told"), SPOILED)
def test_what_the_spaces_do_not_promise_is_refused_by_family_and_array(
    family: Any, spoil: Callable[[Drawn], Drawn], told: str
) -> None:
    spoiled = Spoiled(family(), spoil)
    support, query = sample_shots(spoiled, spoiled.sample_tasks(3, rng()), rng(1))
    bad, sound = (support, query) if "support_" in told else (query, support)
    part, other = ("support", "query") if bad is support else ("query", "support")
    check_shots(spoiled, sound, other)
    with pytest.raises(RequestError) as caught:
        check_shots(spoiled, bad, part)
    assert str(caught.value).startswith("family 'spoiled': ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_examples_at_all_are_refused() -> None:
    """Zero shots of a task: both arrays agree, and there is nothing in them."""
    none = Spoiled(Sinusoid(), lambda drawn: {name: x[:, :0] for name, x in drawn.items()})
    support, _ = sample_shots(none, none.sample_tasks(3, rng()), rng())
    with pytest.raises(
        RequestError, match=r"support_x has shape \(3, 0, 1\); allowed: .* no axis of length 0"
    ):
        check_shots(none, support, "support")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda drawn: {name: x for name, x in drawn.items() if name != "query_y"}, "query_y is missing"),
        (change("support_x", lambda x: x.tolist()), "support_x is a list without numbers"),
        (change("query_y", lambda y: y.astype(str)), "query_y is a ndarray without numbers"),
    ],
)
def test_what_is_no_numeric_array_is_named(spoil: Callable[[Drawn], Drawn], told: str) -> None:
    family = Spoiled(Sinusoid(), spoil)
    with pytest.raises(RequestError) as caught:
        sample_shots(family, family.sample_tasks(3, rng()), rng())
    assert str(caught.value) == f"family 'spoiled': {told}; allowed: a numeric array"


# The oracle's view -------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "size"), [(Sinusoid(), 1), (Blobs(), 2)])
def test_an_oracle_s_examples_end_with_the_task(family: Any, size: int) -> None:
    seen, tasks = observe_task(family), family.sample_tasks(4, rng())
    features = family.task_features(tasks)
    assert seen.observation_space.shape == (size + features.shape[1],)
    assert seen.action_space == family.action_space
    assert (seen.name, seen.spec, seen.metric, seen.num_tasks) == (
        family.name,
        family.spec,
        family.metric,
        None,
    )
    plain, shown = family.sample_shots(tasks, rng(1)), seen.sample_shots(tasks, rng(1))
    for part in ("support", "query"):
        np.testing.assert_array_equal(shown[f"{part}_y"], plain[f"{part}_y"])
        np.testing.assert_array_equal(shown[f"{part}_x"][..., :size], plain[f"{part}_x"])
        for t in range(4):
            row = shown[f"{part}_x"][t][:, size:]
            np.testing.assert_array_equal(row, np.broadcast_to(features[t], row.shape))
        assert shown[f"{part}_x"].dtype == np.float32


def test_an_oracle_cannot_look_at_images() -> None:
    with pytest.raises(RequestError, match="one-dimensional Box"):
        observe_task(Patches(ways=2))


def test_spaces_are_those_of_one_example() -> None:
    assert isinstance(Blobs(ways="all").action_space, Discrete)
    assert Blobs(ways="all").action_space.n == 6
    assert isinstance(Sinusoid().action_space, Box)
