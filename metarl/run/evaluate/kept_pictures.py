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
    if not hasattr(family, "plane"):
        return None
    batches, goals = experience.batches, None
    paths = {step: _paths(family.plane, batches[step]) for step in sorted({0, len(batches) - 1})}
    if hasattr(family, "marks"):
        goals = list(np.asarray(family.marks(_first(TASKS, tasks)), np.float64))
    return Traces(paths, goals)


def _first(n: int, tasks: Tasks) -> Tasks:
    return {key: value[:n] for key, value in tasks.items()}


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
    family: Any = agent.family
    low, high = (float(bound[0]) for bound in (family.observation_space.low, family.observation_space.high))
    grid = np.linspace(low, high, GRID_POINTS, dtype=np.float32)
    n, last = min(TASKS, experience.data.tasks), len(experience.path) - 1
    truth = np.asarray(family.curve(_first(n, tasks), grid), np.float64)
    x = torch.from_numpy(grid)[None, :, None].expand(n, -1, -1).to(agent.device)
    curves = {}
    for k in sorted({0, min(1, last), last}):
        with torch.no_grad():
            outputs = agent.apply_tasks(tree_map(lambda p: p[:n], experience.path[k]), x)
        curves[k] = outputs[..., 0].cpu().double().numpy()
    support = _support(experience, tasks)
    points = torch.cat([support.x, support.y], -1).cpu().double().numpy()
    fits = [Fit(points[t], truth[t], {k: curve[t] for k, curve in curves.items()}) for t in range(n)]
    return Fits(grid.astype(np.float64), fits)


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

    classes, queries, queries_each = [], [], query.x.shape[1]
    spread = np.linspace(0, queries_each - 1, min(QUERIES_SHOWN, queries_each)).astype(int).tolist()
    for t in range(n):
        x, y = support.x[t], support.y[t]
        labels = range(int(y.max()) + 1)
        classes.append([[keep(image) for image in x[y == label][:SUPPORT_SHOWN]] for label in labels])
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
