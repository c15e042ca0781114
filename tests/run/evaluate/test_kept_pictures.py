"""Paths, fitted curves and image samples of an evaluation, as the JSON holds them."""

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch

from metarl.core.batch import Episodes
from metarl.core.params import tree_map
from metarl.learn.problem import TaskData
from metarl.run.agent.agent import Agent
from metarl.run.evaluate.kept_pictures import (
    EPISODES,
    GRID_POINTS,
    QUERIES_SHOWN,
    SUPPORT_SHOWN,
    TASKS,
    pictures,
    traces,
)
from metarl.run.experience.gather import Experience, gather
from metarl_envs.few_shot.sinusoid import Sinusoid
from tiny_families import Field
from tiny_runs import IMAGES, agent, examples_of, gathered, meta_of, pupil, tasks_of


def taken(built: Agent, steps: int, n: int = 8) -> tuple[dict[str, Any], Experience]:
    """The pictures of so many tasks after so many steps, as they come out of a file."""
    tasks = tasks_of(built, n)
    source = examples_of(built, tasks)
    experience = gather(built, meta_of(built), source, built.adaptations([0.3], steps))
    taken = {name: picture.as_dict() for name, picture in pictures(built, tasks, experience).items()}
    return json.loads(json.dumps(taken)), experience


# Curves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "shown"), [(0, ["0"]), (1, ["0", "1"]), (2, ["0", "1", "2"]), (5, ["0", "1", "5"])]
)
def test_curves_are_shown_before_after_one_and_after_all_steps(steps: int, shown: list[str]) -> None:
    fits = taken(pupil(), steps)[0]["fits"]
    assert list(fits) == ["x", "tasks"]
    assert len(fits["tasks"]) == TASKS < 8
    for task in fits["tasks"]:
        assert list(task) == ["support", "truth", "predictions"]
        assert list(task["predictions"]) == shown
        assert all(len(curve) == GRID_POINTS for curve in (task["truth"], *task["predictions"].values()))


def test_curves_are_the_truth_and_what_the_network_says_on_the_grid() -> None:
    built = pupil()
    found, experience = taken(built, 2)
    fits, tasks = found["fits"], tasks_of(built, 8)
    grid = np.linspace(-5, 5, GRID_POINTS)
    np.testing.assert_allclose(fits["x"], grid, atol=1e-4)
    for t, task in enumerate(fits["tasks"]):
        truth = tasks["amplitude"][t] * np.sin(grid - tasks["phase"][t])
        np.testing.assert_allclose(task["truth"], truth, atol=1e-3)
        support = torch.cat([experience.data.support[0].x, experience.data.support[0].y], -1)[t]
        np.testing.assert_allclose(task["support"], support, atol=1e-4)
        assert len(task["support"]) == 10
        for k, curve in task["predictions"].items():
            params = tree_map(lambda p, t=t: p[t], experience.path[int(k)])
            expected = built.apply(params, torch.tensor(grid, dtype=torch.float32)[:, None])[:, 0]
            np.testing.assert_allclose(curve, expected, atol=2e-4)
        assert task["predictions"]["0"] != task["predictions"]["2"]


@pytest.mark.parametrize(("steps", "shown"), [(1, 4), (2, 8), (3, 10), (5, 10)])
def test_of_mini_batches_all_examples_that_were_read_are_shown_once(steps: int, shown: int) -> None:
    whole, part = (taken(pupil(inner_batch=n), steps)[0]["fits"]["tasks"] for n in (None, 4))
    for all_points, read in zip(whole, part, strict=True):
        assert read["support"] == all_points["support"][:shown]


def test_without_steps_the_query_is_shown() -> None:
    fits, experience = taken(pupil(), 0)
    points = torch.cat([experience.data.query.x, experience.data.query.y], -1)
    for t, task in enumerate(fits["fits"]["tasks"]):
        np.testing.assert_allclose(task["support"], points[t], atol=1e-4)


def test_fewer_tasks_than_there_is_room_for_are_all_shown() -> None:
    assert len(taken(pupil(), 1, n=3)[0]["fits"]["tasks"]) == 3


class Bare(Sinusoid):
    """Without the truth that a picture needs."""

    curve = property()  # type: ignore[assignment]


@pytest.mark.parametrize(
    "options",
    [{"observe_task": True}, {"family": f"{__name__}:Bare"}, {"family": "tiny_families:Blobs"}],
    ids=["oracle", "without the truth", "points"],
)
def test_where_there_is_nothing_to_draw_nothing_is(options: dict[str, Any]) -> None:
    assert taken(pupil(**options), 1)[0] == {}


# Images ------------------------------------------------------------------------------------------


def unpacked(samples: dict[str, Any]) -> np.ndarray[Any, Any]:
    """All images, from the text that a page reads."""
    data = np.frombuffer(base64.b64decode(samples["images"]), np.uint8)
    return data.reshape(-1, samples["height"], samples["width"])


def test_images_are_kept_with_their_labels_and_what_was_said_of_them() -> None:
    built = pupil(**IMAGES)
    found, experience = taken(built, 2, n=7)
    samples = found["samples"]
    assert list(samples) == ["height", "width", "images", "tasks"]
    assert (samples["height"], samples["width"], len(samples["tasks"])) == (28, 28, TASKS)
    images, (support, query) = unpacked(samples), (experience.data.support[0], experience.data.query)
    said = [built.apply_tasks(experience.path[k], query.x).argmax(-1) for k in (0, -1)]
    seen = []
    for t, task in enumerate(samples["tasks"]):
        assert len(task["support"]) == 3
        for label, numbers in enumerate(task["support"]):
            own = support.x[t][support.y[t] == label]
            assert len(numbers) == len(own) == 2
            for number, image in zip(numbers, own, strict=True):
                np.testing.assert_array_equal(images[number], image[0] * 255)
            seen += numbers
        for entry in task["queries"]:
            # Which query it is, by its pixels.
            (q,) = (i for i in range(12) if np.array_equal(images[entry["image"]], query.x[t, i, 0] * 255))
            assert entry["label"] == int(query.y[t, q])
            assert [entry["before"], entry["after"]] == [int(k[t, q]) for k in said]
            seen.append(entry["image"])
        assert len(task["queries"]) == QUERIES_SHOWN < 12
        assert {entry["label"] for entry in task["queries"]} == {0, 1, 2}  # spread over all of them
    assert sorted(seen) == list(range(len(images)))  # each image is used, and once
    assert any(e["before"] != e["after"] for task in samples["tasks"] for e in task["queries"])


def test_of_many_shots_a_few_are_shown() -> None:
    built = pupil(**IMAGES | {"family_arg": {"ways": 2, "shots": 5, "queries": 2}})
    samples = taken(built, 1, n=2)[0]["samples"]
    assert [len(numbers) for numbers in samples["tasks"][0]["support"]] == [SUPPORT_SHOWN] * 2
    assert len(samples["tasks"][0]["queries"]) == 4


# Episodes ----------------------------------------------------------------------------------------


def batch(m: int, e: int, start: float, lengths: torch.Tensor) -> Episodes:
    """Task t and episode e observe (10 t + e, start + time, 99); what follows the end is −1."""
    obs = torch.full((m, e, 4, 3), 99.0)
    obs[..., 0] = (10 * torch.arange(m)[:, None] + torch.arange(e))[..., None]
    obs[..., 1] = start + torch.arange(4)
    mask = (torch.arange(4) < lengths[..., None]).float()
    final = torch.stack([obs[..., 0, 0], start + lengths, torch.full((m, e), 99.0)], -1)
    none = torch.zeros(m, e, 4)
    numbers = dict.fromkeys(("action", "reward", "log_prob", "advantage", "target"), none)
    ends = dict.fromkeys(("terminated", "truncated"), none.bool())
    obs = torch.where(mask[..., None] > 0, obs, -1.0)
    return Episodes(obs=obs, mask=mask, final_obs=final, **numbers, **ends)


def experience(m: int, e: int, steps: int) -> Experience:
    lengths = 1 + (torch.arange(m)[:, None] + torch.arange(e)) % 4
    *support, query = (batch(m, e, 100.0 * k, lengths) for k in range(steps + 1))
    curves = {"return": torch.zeros(steps + 1, m)}
    return Experience(TaskData(tuple(support), query), curves, {}, (), 0)


class Plane(Field):
    def plane(self, obs: Any) -> Any:
        return obs[..., :2]


class Marked(Plane):
    def marks(self, tasks: Any) -> Any:
        return tasks["goal"] + 0.5


def test_paths_end_where_the_episode_did() -> None:
    found = traces(Plane(), {"goal": np.zeros((2, 2))}, experience(2, 3, 2))
    assert found is not None and found.goals is None and list(found.paths) == [0, 2]
    for step, start in {0: 0.0, 2: 200.0}.items():
        for t in range(2):
            for e in range(3):
                length = 1 + (t + e) % 4
                expected = [[10.0 * t + e, start + i] for i in range(length + 1)]
                assert found.paths[step][t][e].tolist() == expected


def test_no_more_than_a_few_tasks_and_episodes_are_kept() -> None:
    goals = np.arange(40.0).reshape(20, 2)
    found = traces(Marked(), {"goal": goals}, experience(20, 9, 1))
    assert found is not None
    assert found.as_dict()["marks"] == (goals[:TASKS] + 0.5).tolist()
    assert {len(paths) for paths in found.paths.values()} == {TASKS}
    assert {len(task) for paths in found.paths.values() for task in paths} == {EPISODES}


def test_without_steps_before_and_after_are_one() -> None:
    found = traces(Plane(), {"goal": np.zeros((1, 2))}, experience(1, 1, 0))
    assert found is not None and list(found.paths) == [0]


def test_a_family_without_a_plane_has_none() -> None:
    assert traces(Field(), {"goal": np.zeros((1, 2))}, experience(1, 1, 0)) is None


@pytest.mark.parametrize("observe_task", [False, True])
def test_point_goal_is_drawn_as_it_moved(observe_task: bool) -> None:
    built = agent(observe_task=observe_task)
    found = gathered(built, [0.1])
    kept = pictures(built, tasks_of(built), found)["traces"]
    drawn = kept.as_dict()
    np.testing.assert_allclose(drawn["marks"], tasks_of(built)["goal"], rtol=1e-6)
    for name, of_step in zip(("0", "1"), found.batches, strict=True):
        path = np.array(drawn["agents"]["meta"][name][3][2])
        assert path.shape == (11, 2)
        np.testing.assert_allclose(path[:-1], of_step.obs[3, 2, :, :2], atol=5.1e-5)
        np.testing.assert_allclose(path[-1], of_step.final_obs[3, 2, :2], atol=5.1e-5)
        moved = of_step.action[3, 2].clip(-1, 1) * 0.1
        np.testing.assert_allclose(np.diff(path, axis=0), moved, atol=1.1e-4)
