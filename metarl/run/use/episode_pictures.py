"""Episodes as pictures: what the environment draws of itself, or else a plot of what happened."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from inspect import signature
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metarl.rollout.family import TaskFamily
from metarl.run.store.terminal import warn
from metarl.run.use.policy import Policy

SIDE = 480  # pixels of a plot
Picture = NDArray[np.uint8]


class Episode(NamedTuple):
    """Observations "time+1 o", returns so far "time+1", and pictures "height width 3" if there are any."""

    obs: NDArray[Any]
    returns: NDArray[np.float64]
    pictures: list[Picture]


def show(
    family: TaskFamily, policies: Sequence[Policy], task: Mapping[str, Any], seed: int, deterministic: bool
) -> tuple[list[Episode], int]:
    """Return one episode of each policy from the same start, and its natural speed in frames a second.

    The environment draws itself where the family's ``make`` takes a ``render_mode``; where it does not, or
    where there is nothing to draw with, paths are plotted in the family's plane, and without one the return.
    """
    drawing = {"render_mode": "rgb_array"} if "render_mode" in signature(family.make).parameters else {}
    with closing(family.make(**drawing)) as env:
        played = [play(env, family.horizon, policy, task, seed, deterministic) for policy in policies]
        speed = int(env.metadata.get("render_fps") or 20)
    if not played[0].pictures:
        plots = zip(played, _plots(family, played, task), strict=True)
        played = [episode._replace(pictures=plot) for episode, plot in plots]
    return played, speed


def play(
    env: gymnasium.Env[Any, Any],
    horizon: int,
    policy: Policy,
    task: Mapping[str, Any],
    seed: int,
    deterministic: bool,
) -> Episode:
    """Return one episode of a policy."""
    obs, _ = env.reset(seed=seed, options={"task": task})
    observed, rewards = [np.asarray(obs)], [0.0]
    pictures = _drawn(env)
    for _ in range(horizon):
        action, _ = policy.predict(obs, deterministic=deterministic)
        obs, reward, terminated, truncated, _ = env.step(action)
        observed.append(np.asarray(obs))
        rewards.append(float(reward))
        pictures += _drawn(env) if pictures else []
        if terminated or truncated:
            break
    return Episode(np.stack(observed), np.cumsum(rewards), pictures)


def _drawn(env: gymnasium.Env[Any, Any]) -> list[Picture]:
    if env.render_mode is None:
        return []
    try:
        picture: Any = env.render()
    except RuntimeError as error:  # such as no OpenGL
        warn(f"{error}; a plot takes the place of pictures")
        return []
    return [np.asarray(picture, np.uint8)]


def _plots(family: Any, played: Sequence[Episode], task: Mapping[str, Any]) -> list[list[Picture]]:
    """Draw the path in the plane so far, in the same square for all episodes, with the task's marks; without
    a plane the return so far over time, on the same axes for all.
    """
    marks, in_plane = np.zeros((0, 2)), hasattr(family, "plane")
    if not in_plane:
        lines = [np.stack([np.arange(len(e.returns)), e.returns], axis=1) for e in played]
        returns = np.concatenate(lines)[:, 1]
        margin = 0.05 * max(float(np.ptp(returns)), 1e-3)
        box = np.array([[0, returns.min() - margin], [family.horizon, returns.max() + margin]])
    else:
        lines = [np.asarray(family.plane(episode.obs), np.float64) for episode in played]
        if hasattr(family, "marks"):
            marks = np.asarray(family.marks({key: np.asarray(value)[None] for key, value in task.items()}))
        points = np.concatenate([*lines, marks])
        middle = (points.min(0) + points.max(0)) / 2
        half = max(0.6 * float(np.ptp(points, axis=0).max()), 1e-3)
        box = np.stack([middle - half, middle + half])
    return [_growing(line, box, marks, equal=in_plane) for line in lines]


def _growing(points: NDArray[Any], box: NDArray[Any], marks: NDArray[Any], equal: bool) -> list[Picture]:
    """Draw a picture for each point: the line up to it, a dot where it stands, a cross on each mark."""
    figure = Figure(figsize=(SIDE / 100, SIDE / 100), dpi=100, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlim=box[:, 0], ylim=box[:, 1])
    if equal:
        axes.set_aspect("equal")
    else:
        axes.set(xlabel="time step", ylabel="return so far")
    axes.grid(alpha=0.3)
    axes.plot(*marks.T, "x", color="tab:red", markersize=12, markeredgewidth=3, zorder=3)
    (line,) = axes.plot([], [], color="tab:blue", linewidth=2)
    (dot,) = axes.plot([], [], "o", color="tab:blue", markersize=9)
    pictures = []
    for t in range(1, len(points) + 1):
        line.set_data(*points[:t].T)
        dot.set_data(*points[t - 1 : t].T)
        canvas.draw()
        pictures.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return pictures
