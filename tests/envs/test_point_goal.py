"""point-goal: hand-worked steps of both specs, splits, frozen rows, seeds, bad actions."""

import math

import numpy as np
import pytest

from metarl_envs import PointGoal
from row_by_row import refused, rng, same

SPECS = list(PointGoal.specs)
CORNERS = {(-2.0, -2.0), (2.0, -2.0), (-2.0, 2.0), (2.0, 2.0)}


def test_navigation_by_hand():
    env = PointGoal("finn2017").make()
    obs, info = env.reset(seed=3, options={"task": {"goal": [0.3, -0.2]}})
    assert obs.dtype == np.float32 and obs.tolist() == [0.0, 0.0]
    assert info["task"]["goal"].tolist() == [0.3, -0.2]
    # (7, -0.5) is clipped to (1, -0.5) and scaled: (0.1, -0.05). The reward is that of the new position.
    obs, reward, terminated, truncated, _ = env.step(np.array([7.0, -0.5], np.float32))
    assert obs == pytest.approx([0.1, -0.05], abs=1e-7)
    assert type(reward) is float and reward == pytest.approx(-math.hypot(0.2, 0.15), abs=1e-12)
    assert (terminated, truncated) == (False, False)
    env.step(np.array([1.0, -1.0]))
    obs, reward, terminated, truncated, _ = env.step(np.array([0.95, -0.45]))  # to (0.295, -0.195)
    assert obs == pytest.approx([0.295, -0.195], abs=1e-7)
    assert reward == pytest.approx(-0.005 * math.sqrt(2), abs=1e-12)
    assert (terminated, truncated) == (True, False)


@pytest.mark.parametrize(
    ("action", "near"), [((0.0, 0.099), True), ((0.0, 0.101), False), ((-0.101, 0.0), False)]
)
def test_navigation_ends_when_both_coordinates_are_within_a_hundredth(action, near):
    env = PointGoal("finn2017").make()
    env.reset(options={"task": {"goal": [0.0, 0.0]}})
    assert env.step(np.array(action))[2] is near


def corner_env(goal, start=(0.0, 0.0)):
    """A corner environment put at a start: its own lies in [−0.2, 0.2]², reached back by actions."""
    env = PointGoal("promp").make()
    obs, _ = env.reset(seed=0, options={"task": {"goal": goal}})
    assert np.abs(obs).max() <= 0.2
    env.step((np.array(start) - env._row._state[0]) * 50)
    assert env._row._state[0] == pytest.approx(start, abs=1e-12)
    return env


def test_corner_reward_by_hand():
    env = corner_env((2.0, 2.0))
    # Action 10 is a displacement of 0.2, 25 is clipped to it: (0.2, 0.2), L1 distance 0.4 < 0.5, no reward.
    obs, reward, *_ = env.step(np.array([10.0, 25.0], np.float32))
    assert obs == pytest.approx([0.2, 0.2]) and reward == 0.0
    # To (0.3, 0.2): L1 distance 0.5 of the NEW position is not under 0.5, so the progress counts.
    obs, reward, *_ = env.step(np.array([5.1, 0.0]))
    assert obs == pytest.approx([0.302, 0.2])
    assert reward == pytest.approx(math.hypot(1.8, 1.8) - math.hypot(1.698, 1.8), abs=1e-12)
    # Away again, still outside: progress may be negative.
    _, reward, *_ = env.step(np.array([10.0, 0.0]))
    _, reward, *_ = env.step(np.array([-5.0, 0.0]))
    assert reward == pytest.approx(math.hypot(1.498, 1.8) - math.hypot(1.598, 1.8), abs=1e-12) and reward < 0
    # Back inside: the new position decides, nothing is taken away for it.
    assert env.step(np.array([-10.0, -10.0]))[1] == 0.0


@pytest.mark.parametrize(
    ("goal", "paid"), [((2.0, 2.0), False), ((-2.0, 2.0), True), ((-2.0, -2.0), False), ((2.0, -2.0), False)]
)
def test_only_the_nearest_corner_pays(goal, paid):
    env = corner_env(goal, start=(-0.15, 0.15))
    env.step(np.array([-10.0, 10.0]))
    _, reward, terminated, _, _ = env.step(np.array([-10.0, 10.0]))  # (-0.35, 0.35) to (-0.55, 0.55)
    assert reward == pytest.approx(0.2 * math.sqrt(2) if paid else 0.0, abs=1e-12)
    assert not terminated


def test_corner_rewards_are_those_of_the_literal_definition():
    """500 random positions against distances to all four corners, which is how the definition is worded."""
    env, random = PointGoal("promp").make_vec(500), rng(1)
    goals = np.array(sorted(CORNERS))[random.integers(0, 4, 500)]
    env.reset(seed=1, options={"task": {"goal": goals}})
    for _ in range(30):
        before = env._state.copy()
        _, reward, *_ = env.step(random.uniform(-15, 15, (500, 2)) + goals * 2)
        for row in range(0, 500, 7):
            new, goal = env._state[row], goals[row]
            distances = [np.linalg.norm(new - corner) for corner in sorted(CORNERS)]
            pays = np.abs(new).sum() >= 0.5 and np.linalg.norm(new - goal) == min(distances)
            progress = np.linalg.norm(before[row] - goal) - np.linalg.norm(new - goal)
            assert reward[row] == pytest.approx(progress if pays else 0.0, abs=1e-12)


def test_test_goals_are_the_published_ones_whatever_the_rng():
    family = PointGoal()
    published = np.random.RandomState(1).uniform(-0.5, 0.5, (40, 2))
    assert same(family.sample_tasks(40, rng(5), "test")["goal"], published)
    assert same(family.sample_tasks(12, rng(6), "test")["goal"], published[:12])
    # Standing still at the origin for 100 steps is worth the −40.1 that was published for step 0.
    assert -100 * np.linalg.norm(published, axis=1).mean() == pytest.approx(-40.1, abs=0.05)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_navigation_goals_fill_the_square_and_share_none_with_the_test(split):
    family = PointGoal()
    goals = family.sample_tasks(4000, rng(2), split)["goal"]
    assert goals.dtype == np.float64 and np.abs(goals).max() <= 0.5
    assert np.abs(goals.mean(axis=0)).max() < 0.02
    assert goals.var(axis=0) == pytest.approx([1 / 12] * 2, rel=0.05)
    assert not np.isin(goals, family.sample_tasks(400, rng(2), "test")["goal"]).any()


def test_ood_goals_are_uniform_over_the_ring_around_the_square():
    goals = PointGoal().sample_tasks(20_000, rng(4), "ood")["goal"]
    size = np.abs(goals).max(axis=1)
    assert size.min() > 0.5 and size.max() <= 0.8 and (np.abs(goals) <= 0.5).all(axis=1).sum() == 0
    assert size.min() < 0.501 and size.max() > 0.799
    # Uniform over the area: the ring inside 0.65 has (0.65² − 0.25) / 0.39 of it, the right-hand strip
    # x > 0.5 has 0.3 · 1.6 of 1.56, and the corner piece x, y > 0.5 has 0.09 of 1.56.
    assert (size < 0.65).mean() == pytest.approx((0.65**2 - 0.25) / 0.39, abs=0.015)
    for axis in (0, 1):
        for sign in (-1, 1):
            assert (sign * goals[:, axis] > 0.5).mean() == pytest.approx(0.48 / 1.56, abs=0.015)
    assert (goals > 0.5).all(axis=1).mean() == pytest.approx(0.09 / 1.56, abs=0.01)


def test_corners_are_drawn_at_random_and_checked_evenly():
    family = PointGoal("promp")
    assert family.num_tasks == 4 and PointGoal().num_tasks is None
    drawn = family.sample_tasks(4000, rng(0))["goal"]
    corners, counts = np.unique(drawn, axis=0, return_counts=True)
    assert {tuple(corner) for corner in corners.tolist()} == CORNERS and np.abs(counts - 1000).max() < 130
    assert not np.array_equal(drawn[:40], np.tile(drawn[:4], (10, 1)))
    for split in ("validation", "test"):
        for n in (4, 6, 40):
            _, counts = np.unique(family.sample_tasks(n, rng(n), split)["goal"], axis=0, return_counts=True)
            assert counts.sum() == n and counts.max() - counts.min() <= 1 and len(counts) == 4


@pytest.mark.parametrize("spec", SPECS)
def test_features_marks_and_plane_are_goals_and_positions(spec):
    family = PointGoal(spec)
    tasks = family.sample_tasks(5, rng())
    features = family.task_features(tasks)
    assert features.dtype == np.float32 and np.array_equal(features, tasks["goal"].astype(np.float32))
    assert np.array_equal(family.marks(tasks), features)
    obs = rng().normal(size=(3, 4, 2)).astype(np.float32)
    assert np.array_equal(family.plane(obs), obs)


def test_the_action_of_a_frozen_row_is_ignored_even_nan():
    env = PointGoal().make_vec(2)
    env.reset(options={"task": {"goal": np.array([[0.1, 0.0], [0.5, 0.5]])}})
    env.step(np.array([[1.0, 0.0], [0.0, 0.0]]))
    obs, reward, terminated, _, _ = env.step(np.array([[np.nan, np.inf], [1.0, 1.0]]))
    assert obs == pytest.approx(np.array([[0.1, 0.0], [0.1, 0.1]])) and terminated.tolist() == [True, False]
    assert reward == pytest.approx([0.0, -math.hypot(0.4, 0.4)])


def test_resets_without_a_seed_follow_each_row_on():
    family = PointGoal("promp")
    env, single = family.make_vec(3), family.make()
    env.reset(seed=[7, 8, 9])
    env.reset(options={"reset_mask": np.array([True, False, False])})  # row 0 is one episode ahead
    obs, info = env.reset()
    for row, resets in [(0, 2), (1, 1), (2, 1)]:
        single.reset(seed=7 + row)
        for _ in range(resets):
            one, named = single.reset()
        assert same(one, obs[row]) and same(named["task"]["goal"], info["task"]["goal"][row])
    assert np.unique(obs).size == 6
    starts = [family.make_vec(1).reset()[0] for _ in range(2)]
    assert not same(*starts)  # no seed at all: fresh entropy


def test_starts_of_the_corners_fill_their_square_and_fit_the_observation_space():
    env = PointGoal("promp").make_vec(4000)
    obs, _ = env.reset(seed=0)
    assert np.abs(obs).max() <= 0.2 and obs.var(axis=0) == pytest.approx([0.16 / 12] * 2, rel=0.06)
    env = PointGoal("promp", horizon=7).make()
    env.reset(seed=0)
    assert all(env.step(np.array([10.0, 10.0]))[0] in env.observation_space for _ in range(7))


def test_bad_actions_name_the_row_and_step():
    with refused("'goal' has shape ()", "(rows, 2)"):
        PointGoal().task_features({"goal": 2.0})
    env = PointGoal().make_vec(3)
    env.reset(seed=0)
    env.step(np.zeros((3, 2)))
    before = env._state.copy()
    for actions, *words in [
        (np.zeros((2, 2)), "float64 (2, 2)", "numbers (3, 2)"),
        (np.zeros(3), "float64 (3,)", "numbers (3, 2)"),
        (np.full((3, 2), "a"), "<U1 (3, 2)", "numbers (3, 2)"),
        (np.array([[0, 0], [0, np.nan], [np.inf, 0]]), "at step 2 of row 1 is [0.0, nan]", "finite"),
        (np.array([[0, 0], [0, 0], [-np.inf, 0]]), "at step 2 of row 2 is [-inf, 0.0]", "finite"),
    ]:
        with refused("point-goal/finn2017: action", *words):
            env.step(actions)

    assert same(env._state, before)
    env.step(np.full((3, 2), 1e300))  # huge is finite, and clipped
    assert env._state == pytest.approx(before + 0.1)
