"""Paths in the plane before and after adaptation, for families that have one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from metarl.core.batch import Episodes
from metarl.rollout.collector import Tasks
from metarl.rollout.family import TaskFamily
from metarl.run.experience import Experience

TASKS, EPISODES = 6, 5


def traces(family: TaskFamily, tasks: Tasks, experience: Experience) -> dict[str, Any] | None:
    """Marks and paths of the first tasks and episodes for ``evaluation.json``; None without a plane."""
    plane: Callable[[Any], Any] | None = getattr(family, "plane", None)
    marks: Callable[[Any], Any] | None = getattr(family, "marks", None)
    if plane is None:
        return None
    shown = {key: value[:TASKS] for key, value in tasks.items()}
    last = len(experience.batches) - 1
    paths = {str(step): _paths(plane, experience.batches[step]) for step in sorted({0, last})}
    return {"marks": np.asarray(marks(shown)).tolist() if marks else None, "agents": {"meta": paths}}


def _paths(plane: Callable[[Any], Any], batch: Episodes) -> list[list[list[list[float]]]]:
    """[task][episode][time][2]."""
    tasks, episodes = min(TASKS, batch.mask.shape[0]), min(EPISODES, batch.mask.shape[1])
    return [[_path(plane, batch, t, e) for e in range(episodes)] for t in range(tasks)]


def _path(plane: Callable[[Any], Any], batch: Episodes, task: int, episode: int) -> list[list[float]]:
    """Positions over time, the one after the last step included."""
    length = int(batch.mask[task, episode].sum())
    obs, final = batch.obs[task, episode, :length], batch.final_obs[task, episode]
    points = np.concatenate([obs.cpu().numpy(), final[None].cpu().numpy()])
    return np.round(np.asarray(plane(points), np.float64), 4).tolist()  # type: ignore[no-any-return]
