"""Pictures of an evaluation, taken: paths in the plane, fitted curves, or images with their labels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl.core.batch import Episodes, Shots
from metarl.core.params import tree_map
from metarl.rollout.collector import Tasks
from metarl.rollout.family import TaskFamily
from metarl.run.agent.agent import Agent
from metarl.run.agent.data_kinds import EXAMPLES
from metarl.run.experience.gather import Experience
from metarl.run.experience.predictions import predictions
from metarl.run.results.pictures import Array, Fit, Fits, QueryImage, Samples, Traces

TASKS, EPISODES = 6, 5
GRID_POINTS, SUPPORT_SHOWN, QUERIES_SHOWN = 101, 3, 10


def pictures(agent: Agent, tasks: Tasks, experience: Experience) -> dict[str, Any]:
    """Return ``traces``, ``fits`` or ``samples`` of an evaluation; nothing where none can be drawn."""
    if agent.kind is not EXAMPLES:
        return {"traces": traces(agent.episodic, tasks, experience)}
    observation, label = agent.family.observation_space.shape, agent.family.action_space.shape
    if observation == (1,) and label == (1,) and hasattr(agent.family, "curve"):
        return {"fits": _fits(agent, tasks, experience)}
    if len(observation or ()) == 3 and agent.metric == "accuracy":
        return {"samples": _samples(agent, tasks, experience)}
    return {}


def traces(family: TaskFamily, tasks: Tasks, experience: Experience) -> Traces | None:
    """Return the goals and the paths of the first tasks and episodes; None without a plane."""
    plane: Callable[[Any], Any] | None = getattr(family, "plane", None)
    marks: Callable[[Any], Any] | None = getattr(family, "marks", None)
    if plane is None:
        return None
    last = len(experience.batches) - 1
    paths = {step: _paths(plane, experience.batches[step]) for step in sorted({0, last})}
    goals = marks({key: value[:TASKS] for key, value in tasks.items()}) if marks else None
    return Traces(paths, None if goals is None else list(np.asarray(goals, np.float64)))


def _paths(plane: Callable[[Any], Any], batch: Episodes) -> list[list[Array]]:
    """Return [task][episode] the positions "time 2", the one after the last step included."""
    tasks, episodes = min(TASKS, batch.mask.shape[0]), min(EPISODES, batch.mask.shape[1])

    def path(task: int, episode: int) -> Array:
        length = int(batch.mask[task, episode].sum())
        obs, final = batch.obs[task, episode, :length], batch.final_obs[task, episode]
        points = np.concatenate([obs.cpu().numpy(), final[None].cpu().numpy()])
        return np.asarray(plane(points), np.float64)

    return [[path(task, episode) for episode in range(episodes)] for task in range(tasks)]


def _fits(agent: Agent, tasks: Tasks, experience: Experience) -> Fits:
    """Return the truth and the predictions before, after one and after all inner steps, on a grid."""
    space: Any = agent.family.observation_space
    grid = np.linspace(float(space.low[0]), float(space.high[0]), GRID_POINTS, dtype=np.float32)
    family: Any = agent.family
    shown = {key: value[: min(TASKS, experience.data.tasks)] for key, value in tasks.items()}
    truth = np.asarray(family.curve(shown, grid), np.float64)
    n, last = len(truth), len(experience.path) - 1
    x = torch.from_numpy(grid)[None, :, None].expand(n, -1, -1).to(agent.device)
    curves = {}
    for k in sorted({0, min(1, last), last}):
        with torch.no_grad():
            outputs = agent.apply_tasks(tree_map(lambda p: p[:n], experience.path[k]), x)
        curves[k] = outputs[..., 0].cpu().double().numpy()
    support = _support(experience, tasks)
    points = torch.cat([support.x, support.y], -1).cpu().double().numpy()
    return Fits(
        grid.astype(np.float64),
        [Fit(points[t], truth[t], {k: curve[t] for k, curve in curves.items()}) for t in range(n)],
    )


def _samples(agent: Agent, tasks: Tasks, experience: Experience) -> Samples:
    """Return support images by class, and some queries with what they were taken for before and after."""
    query: Shots = experience.data.query
    support = _support(experience, tasks)
    n = min(TASKS, len(query.x))
    path, first, whole = tree_map(lambda x: x[:n], (experience.path, experience.data, support))
    outputs = list(predictions(agent, path, first, whole))
    before, after = (outputs[k].argmax(-1).tolist() for k in (0, -1))
    images: list[np.ndarray] = []

    def keep(image: Tensor) -> int:
        images.append((image.mean(0).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())
        return len(images) - 1

    classes, queries = [], []
    spread = np.linspace(0, query.x.shape[1] - 1, min(QUERIES_SHOWN, query.x.shape[1])).astype(int).tolist()
    for t in range(n):
        labels = range(int(support.y[t].max()) + 1)
        classes.append(
            [[keep(x) for x in support.x[t][support.y[t] == label][:SUPPORT_SHOWN]] for label in labels]
        )
        queries.append(
            [QueryImage(keep(query.x[t, q]), int(query.y[t, q]), before[t][q], after[t][q]) for q in spread]
        )
    return Samples(np.stack(images), classes, queries)


def _support(experience: Experience, tasks: Tasks) -> Shots:
    """Return the examples that the inner steps read, each once; with no step at all, the query set."""
    query: Shots = experience.data.query
    if not experience.data.support:
        return query
    size = experience.samples // len(next(iter(tasks.values()))) - query.x.shape[1]
    batches: list[Shots] = [*experience.data.support]
    return tree_map(lambda *xs: torch.cat(xs, 1)[:, :size], batches[0], *batches[1:])
