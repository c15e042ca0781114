"""A small grid maze: the goal is out of sight, and nothing is paid until it is found.

Everything is deterministic, so that what a task is worth is known exactly: shortest paths, and by
``exact_values`` the return of any policy. Lengths are in cells, rewards have no unit.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from metarl_envs.base.analytic_family import AnalyticFamily
from metarl_envs.base.arguments import chosen_spec, no_others, positive_int
from metarl_envs.base.formulas import Analytic, Bools, Floats, Tasks, read_tasks
from metarl_envs.finite.exact_values import MDP
from metarl_envs.finite.maze_layout import MOVES, carved, distances, inner_walls, no_maze, passages, walls_of
from metarl_envs.finite.tabular_mdp import start_in_first

Cells = NDArray[np.int64]


def _tasks(uniforms: Floats, size: int, extra: int) -> Tasks:
    """Draw walls with ``extra`` passages more than connect the cells, and a goal that is not the start."""
    cell = 1 + (uniforms[:, 0] * (size * size - 1)).astype(np.int64)
    return {
        "walls": walls_of(carved(uniforms[:, 1:], extra, size), size),
        "goal": np.stack(np.divmod(cell, size), axis=1).astype(np.float64),
    }


def _at_start(uniforms: Floats) -> Cells:
    return np.zeros(len(uniforms), dtype=np.int64)


def _walls_around(state: Cells, tasks: Tasks) -> Floats:
    """Return the four walls of each row's cell, "n 4"."""
    walls = tasks["walls"]
    around: Floats = walls.reshape(len(walls), -1, 4)[np.arange(len(state)), state]
    return around


def _observe(state: Cells, tasks: Tasks, size: int) -> NDArray[np.float32]:
    """Return the cell one-hot, then its walls."""
    obs = np.zeros((len(state), size * size + 4), dtype=np.float32)
    obs[np.arange(len(state)), state] = 1.0
    obs[:, size * size :] = _walls_around(state, tasks)
    return obs


def _step(
    state: Cells, action: NDArray[np.int64], tasks: Tasks, noise: Floats, size: int
) -> tuple[Cells, Floats, Bools]:
    """Move unless a wall is in the way; pay 1 for the step that reaches the goal and ends, else 0."""
    offsets = np.array([row * size + column for row, column in MOVES])
    blocked = _walls_around(state, tasks)[np.arange(len(state)), action] == 1.0
    new = np.where(blocked, state, state + offsets[action])
    goal = tasks["goal"]
    there = new == goal[:, 0] * size + goal[:, 1]
    return new, there.astype(np.float64), there


class Maze(AnalyticFamily):
    """The family ``maze``: tasks are ``{"walls": float64 "n size size 4", "goal": float64 "n 2"}``.

    Each episode starts in cell [0, 0], on top and to the left. ``walls[row, column]`` says of the moves up,
    right, down, left (actions 0 to 3) out of a cell whether a wall blocks them; the goal is (row, column).

    Args:
        spec: a key of ``specs``; None takes the first.
        size: rows, and columns, from 3.
        horizon: time steps of an episode.

    Raises:
        ValueError: an unknown spec or argument, a size below 3 or a horizon below 1; one line.
    """

    name = "maze"
    specs = {
        "tree": "size x size cells, v1: start in cell [0, 0], goal any other cell, a random spanning tree of "
        "passages and half of the remaining ones open, reward 1 at the goal, which ends the episode; ood: "
        "the tree alone, so that only one way leads anywhere"
    }

    def __init__(
        self, spec: str | None = None, *, size: int = 5, horizon: int = 30, **unknown: object
    ) -> None:
        no_others(self.name, unknown, ["size", "horizon"])
        spec = chosen_spec(self.name, spec, self.specs)
        self.size = size = positive_int(self.name, "size", size, least=3)
        model = Analytic(
            title=f"{self.name}/{spec}",
            horizon=positive_int(self.name, "horizon", horizon),
            observation_space=Box(0.0, 1.0, (size * size + 4,), np.float32),
            action_space=Discrete(4),
            task_shapes={"walls": (size, size, 4), "goal": (2,)},
            task_draws=1 + len(passages(size)[0]),
            task=partial(_tasks, size=size, extra=(size - 1) ** 2 // 2),
            ood=partial(_tasks, size=size, extra=0),
            start=_at_start,
            step=partial(_step, size=size),
            observe=partial(_observe, size=size),
            refuse=no_maze,
        )
        super().__init__(spec, model)

    def task_features(self, tasks: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return what an oracle sees: the goal's cell one-hot, then each inner wall once, float32 "n f"."""
        read = read_tasks(self.model, tasks)
        goal = np.eye(self.size**2)[self._goal_cells(read)]
        return np.concatenate([goal, inner_walls(read["walls"])], axis=1).astype(np.float32)

    def distances(self, tasks: Mapping[str, Any]) -> Floats:
        """Return each cell's moves to the goal by a shortest path, float64 "n size size"; inf without one.

        ``distances(tasks)[:, 0, 0]`` are the fewest steps in which an episode can end with a reward.

        Raises:
            ValueError: tasks that the family does not have; one line.
        """
        read = read_tasks(self.model, tasks)
        return distances(read["walls"], read["goal"].astype(np.int64))

    def mdp(self, tasks: Mapping[str, Any]) -> MDP:
        """Return tasks as finite MDPs of size² + 1 states: the cells, and the end, where nothing is earned.

        Raises:
            ValueError: tasks that the family does not have; one line.
        """
        read = read_tasks(self.model, tasks)
        n, cells = len(read["goal"]), self.size**2
        rows = np.arange(n)
        transition, reward = np.zeros((n, cells + 1, 4, cells + 1)), np.zeros((n, cells + 1, 4))
        transition[:, cells, :, cells] = 1.0
        for cell in range(cells):
            for action in range(4):
                here, way = np.full(n, cell), np.full(n, action)
                new, reward[:, cell, action], there = self.model.step(here, way, read, np.zeros((n, 0)))
                transition[rows, cell, action, np.where(there, cells, new)] = 1.0
        return MDP(start_in_first(n, cells + 1), transition, reward)

    def plane(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Return the place of an observation "... o" in a picture: x rightwards, y upwards, start (0, 0)."""
        return self._points(obs[..., : self.size**2].argmax(axis=-1))

    def marks(self, tasks: Mapping[str, Any]) -> NDArray[Any]:
        """Return the point that a picture of each task marks: its goal, "n 2"."""
        return self._points(self._goal_cells(read_tasks(self.model, tasks)))

    def _goal_cells(self, tasks: Tasks) -> Cells:
        cell: Cells = (tasks["goal"] @ [self.size, 1.0]).astype(np.int64)
        return cell

    def _points(self, cells: Cells) -> NDArray[np.float32]:
        row, column = np.divmod(cells, self.size)
        return np.stack([column, -row], axis=-1).astype(np.float32)
