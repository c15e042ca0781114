"""maze: a walk by hand, layouts, splits, distances, reference players, bad input."""

from collections import deque

import numpy as np
import pytest

from metarl_envs import Maze
from metarl_envs.finite.exact_values import optimal_return, policy_return, random_return
from metarl_envs.finite.maze_layout import DOWN, LEFT, RIGHT, UP, carved, distances, passages, walls_of
from metarl_envs.finite.reference_players import MAZE_PLAYERS
from row_by_row import refused, rng

SPLITS = ("train", "validation", "test", "ood")
Z = 4.5  # standard errors that a mean may be off


def drawn(picture: str) -> np.ndarray:
    """The walls "size size 4" of a picture: cells are dots, and a passage is shown between two of them."""
    rows = picture.strip("\n").split("\n")
    size = (len(rows) + 1) // 2
    walls = np.ones((size, size, 4))
    for r in range(size):
        for c in range(size):
            for move, (dr, dc) in enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)]):
                y, x = 2 * r + dr, 2 * c + dc
                if 0 <= y < len(rows) and 0 <= x < 2 * size - 1:
                    walls[r, c, move] = rows[y].ljust(2 * size)[x] == " "
    return walls


SNAKE = """
.-.-.
    |
.-. .
|   |
. .-.
"""  # [1, 1] is a dead end that hangs on [1, 0], which nothing leads to from the start


def walked(walls: np.ndarray, cell: tuple[int, int]) -> dict[tuple[int, int], int]:
    """Fewest moves from a cell to each one that can be reached: breadth first, with a queue."""
    found, queue = {cell: 0}, deque([cell])
    while queue:
        r, c = queue.popleft()
        for move, (dr, dc) in enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)]):
            if walls[r, c, move] == 0 and (r + dr, c + dc) not in found:
                found[r + dr, c + dc] = found[r, c] + 1
                queue.append((r + dr, c + dc))
    return found


def test_a_walk_by_hand():
    env = Maze(size=3).make()
    obs, _ = env.reset(seed=0, options={"task": {"walls": drawn(SNAKE), "goal": [2, 2]}})
    assert obs.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1]  # only the way to the right is open
    seen = [env.step(move) for move in (DOWN, RIGHT, UP, RIGHT, DOWN, LEFT, DOWN)]
    assert [int(obs[:9].argmax()) for obs, *_ in seen] == [0, 1, 1, 2, 5, 5, 8]
    assert [obs[9:].tolist() for obs, *_ in seen[3:5]] == [[1, 1, 0, 0], [0, 1, 0, 1]]
    assert [reward for _, reward, *_ in seen] == [0.0] * 6 + [1.0]
    assert [end[2:4] for end in seen] == [(False, False)] * 6 + [(True, False)]
    assert env.step(UP)[1:4] == (0.0, True, False)  # it is over


def test_an_episode_is_cut_at_the_horizon_and_the_goal_may_be_passed_in_its_last_step():
    env = Maze(size=3, horizon=4).make_vec(2)
    env.reset(options={"task": {"walls": [drawn(SNAKE)] * 2, "goal": [[2, 2], [0, 2]]}})
    ends = [env.step(np.array([move, RIGHT]))[1:4] for move in (RIGHT, RIGHT, DOWN, DOWN)]
    assert [reward.tolist() for reward, *_ in ends] == [[0, 0], [0, 1], [0, 0], [1, 0]]
    assert [part.tolist() for part in ends[3][1:]] == [[True, True], [False, False]]
    env.reset(options={"task": {"walls": [drawn(SNAKE)] * 2, "goal": [[2, 2], [1, 0]]}})
    assert [env.step(np.array([UP, RIGHT]))[3].tolist() for _ in range(4)] == [[False] * 2] * 3 + [[True] * 2]


def test_distances_by_hand():
    tasks = {"walls": [drawn(SNAKE)], "goal": [[2, 2]]}
    inf = np.inf
    assert Maze(size=3).distances(tasks).tolist() == [[[4, 3, 2], [inf, inf, 1], [inf, 1, 0]]]
    assert Maze(size=3).distances({"walls": [drawn(SNAKE)], "goal": [[1, 1]]})[0, 0, 0] == inf


def test_a_tree_by_hand():
    # Passages of 3 × 3 cells: [0,0]-[0,1], [0,1]-[0,2], then rows 1 and 2, then the downward ones by rows.
    weights = np.array([[0.9, 0.1, 0.2, 0.8, 0.5, 0.6, 0.3, 0.7, 0.15, 0.95, 0.4, 0.45]])
    # Prim from cell 0: 0-3 (.3), 3-4 (.2), 4-7 (.4), 7-6 (.5), 7-8 (.6), 8-5 (.45), 5-2 (.15) and 2-1 (.1).
    tree = carved(weights, 0, 3)[0]
    first, second = passages(3)
    cells = {(int(a), int(b)) for a, b in zip(first[tree], second[tree], strict=True)}
    assert cells == {(0, 3), (3, 4), (4, 7), (6, 7), (7, 8), (5, 8), (2, 5), (1, 2)}
    # The lightest of the others are 1-4 (.7) and 4-5 (.8).
    more = carved(weights, 2, 3)[0] & ~tree
    assert set(zip(first[more].tolist(), second[more].tolist(), strict=True)) == {(1, 4), (4, 5)}
    assert np.array_equal(walls_of(tree[None], 3)[0], drawn(". .-.\n|   |\n.-. .\n  | |\n.-.-."))


@pytest.mark.parametrize("size", [3, 4, 5, 8])
@pytest.mark.parametrize("split", SPLITS)
def test_mazes_are_connected_and_their_passages_counted(size, split):
    tasks = Maze(size=size).sample_tasks(60, rng(1), split)
    more = 0 if split == "ood" else (size - 1) ** 2 // 2
    for walls, goal in zip(tasks["walls"], tasks["goal"].astype(int), strict=True):
        assert len(walked(walls, (0, 0))) == size**2 and goal.any()
        assert (walls[:, :, [RIGHT, DOWN]] == 0.0).sum() == size**2 - 1 + more


def test_no_maze_of_training_is_out_of_distribution():
    """They differ in the number of walls, whatever is drawn: by at least one from the smallest size on."""
    for size in (3, 5):
        family = Maze(size=size)
        counts = {split: family.sample_tasks(500, rng(2), split)["walls"].sum((1, 2, 3)) for split in SPLITS}
        trained = np.concatenate([counts[split] for split in SPLITS[:3]])
        assert trained.max() < counts["ood"].min() and np.ptp(trained) == 0


def test_goals_and_walls_are_spread_over_the_grid():
    tasks = Maze().sample_tasks(6000, rng(3))
    cells, counts = np.unique(tasks["goal"], axis=0, return_counts=True)
    assert len(cells) == 24 and np.abs(counts - 250).max() < Z * np.sqrt(250)
    share = tasks["walls"][:, :, :-1, RIGHT].mean(axis=0)  # 8 of 40 possible passages are shut
    assert share.min() > 0.05 and share.max() < 0.4
    assert len(np.unique(tasks["walls"][:40].reshape(40, -1), axis=0)) == 40


def test_an_oracle_sees_goal_and_walls_and_a_picture_shows_cells():
    family = Maze(size=3)
    tasks = {"walls": [drawn(SNAKE)], "goal": [[1, 2]]}
    (features,) = family.task_features(tasks)
    assert features.dtype == np.float32 and features[:9].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert features[9:].tolist() == [0, 0, 0, 1, 1, 0, 1, 1, 0, 0, 1, 0]
    assert family.marks(tasks).tolist() == [[2.0, -1.0]]
    env = family.make_vec(1)
    obs = [env.reset(options={"task": tasks})[0]] + [env.step(np.array([RIGHT]))[0] for _ in range(2)]
    assert family.plane(np.array(obs)).tolist() == [[[0.0, 0.0]], [[1.0, 0.0]], [[2.0, 0.0]]]


def test_distances_are_those_of_a_search_through_each_maze():
    for split in ("train", "ood"):
        family = Maze(size=6)
        tasks = family.sample_tasks(40, rng(5), split)
        found = family.distances(tasks)
        for row, goal in enumerate(tasks["goal"].astype(int).tolist()):
            search = walked(tasks["walls"][row], tuple(goal))
            assert all(found[row, r, c] == moves for (r, c), moves in search.items())
    one_way = np.zeros((1, 3, 3, 4))  # a search forwards, where walls differ by the side: nothing is assumed
    one_way[0, :, :, LEFT] = one_way[0, :, :, UP] = one_way[0, 2, :, DOWN] = one_way[0, :, 2, RIGHT] = 1.0
    assert distances(one_way, np.array([[1, 1]]))[0, [0, 1, 0, 2], [0, 0, 1, 2]].tolist() == [2, 1, 1, np.inf]


def test_the_best_return_is_one_from_the_shortest_path_on():
    family = Maze()
    tasks = family.sample_tasks(50, rng(6), "test")
    mdp, fewest = family.mdp(tasks), family.distances(tasks)[:, 0, 0]
    assert (mdp.transition.sum(-1) == 1.0).all()
    for horizon in (1, 3, 8):
        assert np.array_equal(optimal_return(mdp, horizon), (fewest <= horizon).astype(float))
    assert optimal_return(mdp, 24).tolist() == [1.0] * 50
    standing = np.zeros((1, 26, 4))
    standing[..., UP] = 1.0
    assert not policy_return(mdp, standing, 30).any()  # [0, 0] has nothing above it


def test_random_moves_earn_what_dynamic_programming_says():
    family = Maze(size=3, horizon=12)
    tasks = family.sample_tasks(2, rng(7))
    many = {key: np.repeat(value, 4000, axis=0) for key, value in tasks.items()}
    earned = MAZE_PLAYERS["random"](family, many, 1, rng(8))
    assert earned.shape == (8000, 12) and earned.sum(axis=1).max() == 1.0
    expected = random_return(family.mdp(tasks), 12)
    assert earned.sum(axis=1).reshape(2, -1).mean(axis=1) == pytest.approx(expected, abs=Z * 0.5 / 4000**0.5)


def test_the_optimum_is_there_after_the_shortest_path_in_every_episode():
    family = Maze()
    tasks = family.sample_tasks(30, rng(9), "ood")
    earned = MAZE_PLAYERS["optimum"](family, tasks, 2, rng()).reshape(30, 2, 30)
    fewest = family.distances(tasks)[:, 0, 0]
    assert np.array_equal(earned[:, 0], earned[:, 1]) and (earned.sum(axis=2) == 1.0).all()
    assert np.array_equal(earned[:, 0].argmax(axis=1) + 1, fewest)
    with refused("maze/tree: number of episodes is 0", "from 1"):
        MAZE_PLAYERS["random"](family, tasks, 0, rng())


@pytest.mark.parametrize(
    ("cell", "move", "value", "shown"),
    [
        ((0, 1), UP, 0.0, [0.0, 0.0, 1.0, 0.0]),
        ((2, 1), DOWN, 0.0, [1.0, 0.0, 0.0, 1.0]),
        ((1, 0), LEFT, 0.0, [1.0, 0.0, 0.0, 0.0]),
        ((1, 2), RIGHT, 0.0, [0.0, 0.0, 0.0, 1.0]),
        ((0, 0), RIGHT, 1.0, [1.0, 1.0, 1.0, 1.0]),  # [0, 1] goes on leading to [0, 0]
        ((1, 1), DOWN, 0.0, [1.0, 1.0, 0.0, 0.0]),
        ((1, 1), UP, 0.5, ""),
    ],
)
def test_walls_that_are_no_maze_are_refused_in_one_line(cell, move, value, shown):
    walls = np.stack([drawn(SNAKE)] * 2)
    walls[1, cell[0], cell[1], move] = value
    words = [f"entry {list(cell)} is {shown};"] if shown else []
    for call in (Maze(size=3).distances, Maze(size=3).task_features):
        with refused("maze/tree: task 'walls' of row 1", *words, "0 or 1", "up, right, down, left", "border"):
            call({"walls": walls, "goal": [[2, 2]] * 2})


@pytest.mark.parametrize("goal", [[0, 0], [0, 3], [-1, 2], [0.5, 1]])
def test_goals_that_are_no_cell_or_the_start_are_refused_in_one_line(goal):
    with refused(f"maze/tree: task 'goal' of row 1 is {[float(x) for x in goal]}", "up to [2, 2] but [0, 0]"):
        Maze(size=3).task_features({"walls": [drawn(SNAKE)] * 2, "goal": [[1, 2], goal]})
