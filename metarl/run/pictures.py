"""What an evaluation keeps for pictures: paths in the plane, fitted curves, or images with their labels."""

import base64
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl.core.batch import Shots
from metarl.core.params import tree_map
from metarl.rollout.collector import Tasks
from metarl.run.agent import Agent
from metarl.run.data_kinds import EXAMPLES
from metarl.run.experience import Experience
from metarl.run.predictions import predictions
from metarl.run.traces import traces

TASKS, GRID_POINTS, SUPPORT_SHOWN, QUERIES_SHOWN = 6, 101, 3, 10


def pictures(agent: Agent, tasks: Tasks, experience: Experience) -> dict[str, Any]:
    """``traces``, ``fits`` or ``samples`` for ``evaluation.json``; nothing where none can be drawn."""
    if agent.kind is not EXAMPLES:
        return {"traces": traces(agent.episodic, tasks, experience)}
    shown = {key: value[: min(TASKS, experience.data.tasks)] for key, value in tasks.items()}
    observation, label = agent.family.observation_space.shape, agent.family.action_space.shape
    if observation == (1,) and label == (1,) and hasattr(agent.family, "curve"):
        return {"fits": _fits(agent, tasks, shown, experience)}
    if len(observation or ()) == 3 and agent.metric == "accuracy":
        return {"samples": _samples(agent, tasks, experience)}
    return {}


def _fits(agent: Agent, tasks: Tasks, shown: Tasks, experience: Experience) -> dict[str, Any]:
    """The truth and the predictions before, after one and after all inner steps, on a grid."""
    space: Any = agent.family.observation_space
    grid = np.linspace(float(space.low[0]), float(space.high[0]), GRID_POINTS, dtype=np.float32)
    family: Any = agent.family
    truth = np.asarray(family.curve(shown, grid))
    n, last = len(truth), len(experience.path) - 1
    x = torch.from_numpy(grid)[None, :, None].expand(n, -1, -1).to(agent.device)
    curves = {}
    for k in sorted({0, min(1, last), last}):
        with torch.no_grad():
            outputs = agent.apply_tasks(tree_map(lambda p: p[:n], experience.path[k]), x)
        curves[k] = outputs[..., 0].cpu().numpy()
    support = _support(experience, tasks)
    points = torch.cat([support.x, support.y], -1).cpu().numpy()
    each = [
        {
            "support": _round(points[t]),
            "truth": _round(truth[t]),
            "predictions": {str(k): _round(curve[t]) for k, curve in curves.items()},
        }
        for t in range(n)
    ]
    return {"x": _round(grid), "tasks": each}


def _samples(agent: Agent, tasks: Tasks, experience: Experience) -> dict[str, Any]:
    """Support images by class, and some queries with what was predicted before and after adaptation."""
    query: Shots = experience.data.query
    support = _support(experience, tasks)
    n = min(TASKS, len(query.x))
    path, first, whole = tree_map(lambda x: x[:n], (experience.path, experience.data, support))
    said = list(predictions(agent, path, first, whole))
    before, after = (said[k].argmax(-1).tolist() for k in (0, -1))
    images: list[np.ndarray] = []

    def keep(image: Tensor) -> int:
        images.append((image.mean(0).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())
        return len(images) - 1

    each = []
    for t in range(n):
        classes = [
            [keep(x) for x in support.x[t][support.y[t] == label][:SUPPORT_SHOWN]]
            for label in range(int(support.y[t].max()) + 1)
        ]
        spread = (
            np.linspace(0, query.x.shape[1] - 1, min(QUERIES_SHOWN, query.x.shape[1])).astype(int).tolist()
        )
        queries = [
            {
                "image": keep(query.x[t, q]),
                "label": int(query.y[t, q]),
                "before": before[t][q],
                "after": after[t][q],
            }
            for q in spread
        ]
        each.append({"support": classes, "queries": queries})
    height, width = images[0].shape
    packed = base64.b64encode(np.stack(images).tobytes()).decode()
    return {"height": height, "width": width, "images": packed, "tasks": each}


def _support(experience: Experience, tasks: Tasks) -> Shots:
    """The examples that the inner steps read, each once; with no step at all, the query set."""
    query: Shots = experience.data.query
    if not experience.data.support:
        return query
    size = experience.samples // len(next(iter(tasks.values()))) - query.x.shape[1]
    batches: list[Shots] = [*experience.data.support]
    return tree_map(lambda *xs: torch.cat(xs, 1)[:, :size], batches[0], *batches[1:])


def _round(values: np.ndarray) -> Any:
    return np.round(np.asarray(values, np.float64), 4).tolist()
