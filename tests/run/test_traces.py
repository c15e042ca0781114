"""Paths in the plane."""

from typing import Any

import numpy as np
import pytest
import torch

from metarl.core.batch import Episodes
from metarl.learn.problem import TaskData
from metarl.run.experience import Experience
from metarl.run.traces import EPISODES, TASKS, traces
from tiny_families import Field
from tiny_runs import agent, gathered, tasks_of


def batch(m: int, e: int, start: float, lengths: torch.Tensor) -> Episodes:
    """Task t and episode e observe (10 t + e, start + time, 99); what follows the end is −1."""
    obs = torch.full((m, e, 4, 3), 99.0)
    obs[..., 0] = (10 * torch.arange(m)[:, None] + torch.arange(e))[..., None]
    obs[..., 1] = start + torch.arange(4)
    mask = (torch.arange(4) < lengths[..., None]).float()
    final = torch.stack([obs[..., 0, 0], start + lengths, torch.full((m, e), 99.0)], -1)
    none = torch.zeros(m, e, 4)
    return Episodes(
        obs=torch.where(mask[..., None] > 0, obs, -1.0),
        action=none,
        reward=none,
        terminated=none.bool(),
        truncated=none.bool(),
        mask=mask,
        log_prob=none,
        final_obs=final,
        advantage=none,
        target=none,
    )


def experience(m: int, e: int, steps: int) -> Experience:
    lengths = 1 + (torch.arange(m)[:, None] + torch.arange(e)) % 4
    *support, query = (batch(m, e, 100.0 * k, lengths) for k in range(steps + 1))
    return Experience(TaskData(tuple(support), query), torch.zeros(steps + 1, m), torch.zeros(m), {}, 0)


class Plane(Field):
    def plane(self, obs: Any) -> Any:
        return obs[..., :2]


class Marked(Plane):
    def marks(self, tasks: Any) -> Any:
        return tasks["goal"] + 0.5


def test_paths_end_where_the_episode_did() -> None:
    found = traces(Plane(), {"goal": np.zeros((2, 2))}, experience(2, 3, 2))
    assert found is not None
    assert found["marks"] is None
    assert list(found["agents"]["meta"]) == ["0", "2"]
    for name, start in {"0": 0.0, "2": 200.0}.items():
        paths = found["agents"]["meta"][name]
        for t in range(2):
            for e in range(3):
                length = 1 + (t + e) % 4
                assert paths[t][e] == [[10.0 * t + e, start + i] for i in range(length + 1)]


def test_no_more_than_a_few_tasks_and_episodes_are_kept() -> None:
    goals = np.arange(40.0).reshape(20, 2)
    found = traces(Marked(), {"goal": goals}, experience(20, 9, 1))
    assert found is not None
    assert found["marks"] == (goals[:TASKS] + 0.5).tolist()
    assert {len(paths) for paths in found["agents"]["meta"].values()} == {TASKS}
    assert {len(task) for paths in found["agents"]["meta"].values() for task in paths} == {EPISODES}


def test_without_steps_before_and_after_are_one() -> None:
    found = traces(Plane(), {"goal": np.zeros((1, 2))}, experience(1, 1, 0))
    assert found is not None
    assert list(found["agents"]["meta"]) == ["0"]


def test_a_family_without_a_plane_has_none() -> None:
    assert traces(Field(), {"goal": np.zeros((1, 2))}, experience(1, 1, 0)) is None


@pytest.mark.parametrize("observe_task", [False, True])
def test_point_goal_is_drawn_as_it_moved(observe_task: bool) -> None:
    built = agent(observe_task=observe_task)
    found = gathered(built, [0.1])
    drawn = traces(built.family, tasks_of(built), found)
    assert drawn is not None
    np.testing.assert_allclose(drawn["marks"], tasks_of(built)["goal"], rtol=1e-6)
    for name, of_step in zip(("0", "1"), found.batches, strict=True):
        path = np.array(drawn["agents"]["meta"][name][3][2])
        assert path.shape == (11, 2)
        np.testing.assert_allclose(path[:-1], of_step.obs[3, 2, :, :2], atol=5.1e-5)
        np.testing.assert_allclose(path[-1], of_step.final_obs[3, 2, :2], atol=5.1e-5)
        moved = of_step.action[3, 2].clip(-1, 1) * 0.1
        np.testing.assert_allclose(np.diff(path, axis=0), moved, atol=1.1e-4)
