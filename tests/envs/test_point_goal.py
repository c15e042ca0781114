"""point-goal: hand-worked steps of both specs, splits, one against many, freezing, isolation, bad input."""

import math
import pickle
import re

import numpy as np
import pytest

from metarl_envs import PointGoal

SPECS = list(PointGoal.specs)
CORNERS = {(-2.0, -2.0), (2.0, -2.0), (-2.0, 2.0), (2.0, 2.0)}


def line(message: str) -> str:
    """A pattern that only this message matches."""
    return f"^{re.escape(message)}$"


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def same(one, two) -> bool:
    """Equal types of number and equal bits."""
    one, two = np.asarray(one), np.asarray(two)
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


# --- hand-worked steps ---


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


@pytest.mark.parametrize("spec", SPECS)
def test_truncation_at_the_horizon_and_never_with_termination(spec):
    family = PointGoal(spec, horizon=3)
    env = family.make_vec(2)
    env.reset(seed=0, options={"task": {"goal": np.array([[2.0, 2.0], [2.0, -2.0]])}})
    flags = [env.step(np.zeros((2, 2)))[2:4] for _ in range(4)]
    assert [terminated.any() for terminated, _ in flags] == [False] * 4
    assert [truncated.tolist() for _, truncated in flags] == [[False] * 2] * 2 + [[True] * 2] * 2
    if spec == "finn2017":
        env.reset(options={"task": {"goal": np.array([[0.3, 0.0], [2.0, 2.0]])}})
        for _ in range(3):
            _, _, terminated, truncated, _ = env.step(np.array([[1.0, 0.0], [0.0, 0.0]]))
        assert terminated.tolist() == [True, False] and truncated.tolist() == [False, True]


# --- tasks ---


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
    assert np.abs(goals.mean(axis=0)).max() < 0.02 and goals.var(axis=0) == pytest.approx(
        [1 / 12] * 2, rel=0.05
    )
    assert not np.isin(goals, family.sample_tasks(400, rng(2), "test")["goal"]).any()
    assert same(family.sample_tasks(7, rng(2), split)["goal"], goals[:7])
    assert not np.isin(goals, family.sample_tasks(4000, rng(3), split)["goal"]).any()


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


# --- one against many ---


def test_a_finished_row_is_frozen_and_the_others_go_on():
    env = PointGoal(horizon=5).make_vec(3)
    env.reset(seed=0, options={"task": {"goal": np.array([[0.1, 0.0], [0.5, 0.5], [0.4, 0.0]])}})
    right = np.array([[1.0, 0.0]] * 3)
    seen = [env.step(right) for _ in range(7)]
    assert [s[2].tolist() for s in seen] == [[True, False, False]] * 3 + [[True, False, True]] * 4
    assert [s[3].tolist() for s in seen] == [[False] * 3] * 4 + [[False, True, False]] * 3
    assert all(same(s[0][0], seen[0][0][0]) for s in seen) and all(
        same(s[0][2], seen[3][0][2]) for s in seen[3:]
    )
    assert [s[1][0] for s in seen[1:]] == [0.0] * 6 and [s[1][2] for s in seen[4:]] == [0.0] * 3
    assert seen[0][1][0] == pytest.approx(0.0, abs=1e-12) and seen[4][1][1] < -0.4 and seen[5][1][1] == 0.0
    assert same(seen[6][0][1], seen[4][0][1])


def test_the_action_of_a_frozen_row_is_ignored_even_nan():
    env = PointGoal().make_vec(2)
    env.reset(options={"task": {"goal": np.array([[0.1, 0.0], [0.5, 0.5]])}})
    env.step(np.array([[1.0, 0.0], [0.0, 0.0]]))
    obs, reward, terminated, _, _ = env.step(np.array([[np.nan, np.inf], [1.0, 1.0]]))
    assert obs == pytest.approx(np.array([[0.1, 0.0], [0.1, 0.1]])) and terminated.tolist() == [True, False]
    assert reward == pytest.approx([0.0, -math.hypot(0.4, 0.4)])


# --- seeds ---


@pytest.mark.parametrize("spec", SPECS)
def test_without_a_task_a_training_task_is_drawn_from_each_rows_seed(spec):
    family = PointGoal(spec)
    env = family.make_vec(64)
    _, info = env.reset(seed=10)
    goals = info["task"]["goal"]
    if spec == "promp":
        assert {tuple(goal) for goal in goals.tolist()} == CORNERS
    else:
        assert np.abs(goals).max() <= 0.5 and np.unique(goals).size == 128 and goals.std() > 0.2
    obs, info = family.make_vec(2).reset(seed=[73, 10])
    assert same(info["task"]["goal"], goals[[63, 0]])
    named = env.reset(seed=10, options={"task": {"goal": goals[::-1]}})  # a task handed over moves no start
    assert same(named[0][[63, 0]], obs) and same(named[1]["task"]["goal"], goals[::-1])


def test_a_start_tells_nothing_about_the_task():
    obs, info = PointGoal("promp").make_vec(4000).reset(seed=0)
    correlation = np.corrcoef(np.hstack([obs, info["task"]["goal"]]).T) - np.eye(4)
    assert np.abs(correlation).max() < 4 / np.sqrt(4000)


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
    single = PointGoal("promp", horizon=7).make()
    single.reset(seed=0)
    for _ in range(7):
        assert single.step(np.array([10.0, 10.0]))[0] in single.observation_space


# --- arrays ---


@pytest.mark.parametrize("spec", SPECS)
def test_arrays_handed_out_and_in_are_nobody_elses(spec):
    family = PointGoal(spec, horizon=4)
    tasks, actions = family.sample_tasks(3, rng()), rng().normal(size=(6, 3, 2))
    env, twin = family.make_vec(3), family.make_vec(3)
    twin.reset(seed=0, options={"task": {"goal": tasks["goal"].copy()}})
    out = env.reset(seed=0, options={"task": tasks})
    tasks["goal"][:] = 99.0  # writing into what was handed over changes nothing
    kept = [(out, pickle.dumps(out))]
    for action in actions:
        given = action.copy()
        out = env.step(given)
        assert same(given, action)
        kept.append((out, pickle.dumps(out)))
    assert all(pickle.dumps(out) == bits for out, bits in kept)  # no later step wrote into an earlier array

    goals = kept[0][0][1]["task"]["goal"].copy()
    scribbled = family.make_vec(3)  # writing into what was handed out changes nothing
    obs, info = scribbled.reset(seed=0, options={"task": {"goal": goals}})
    obs[:], info["task"]["goal"][:] = 7.0, 7.0
    for action, (untouched, _) in zip(actions, kept[1:], strict=True):
        out, expected = scribbled.step(action), twin.step(action)
        assert all(
            same(a, b) and same(a, c) for a, b, c in zip(out[:4], expected[:4], untouched[:4], strict=True)
        )
        for array in out[:4]:
            array[:] = 1


# --- bad input ---


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"spec": "finn"}, "point-goal: unknown spec 'finn'; allowed: finn2017, promp"),
        ({"horizon": 0}, "point-goal: horizon is 0; allowed: integers from 1"),
        ({"horizon": True}, "point-goal: horizon is True; allowed: integers from 1"),
        ({"radius": 3}, "point-goal: unknown argument 'radius'; allowed: horizon"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(args, message):
    with pytest.raises(ValueError, match=line(message)):
        PointGoal(**args)


@pytest.mark.parametrize(
    ("spec", "n", "split", "message"),
    [
        ("promp", 4, "ood", "point-goal/promp: no split 'ood'; allowed: train, validation, test"),
        (None, 4, "dev", "point-goal/finn2017: no split 'dev'; allowed: train, validation, test, ood"),
        (None, 0, "train", "point-goal/finn2017: number of tasks is 0; allowed: integers from 1"),
    ],
)
def test_bad_draws_are_refused_in_one_line(spec, n, split, message):
    with pytest.raises(ValueError, match=line(message)):
        PointGoal(spec).sample_tasks(n, rng(), split)


def test_bad_tasks_and_actions_name_the_row_and_step():
    corners = PointGoal("promp")
    message = "point-goal/promp: task 'goal' of row 1 is [2.0, 1.0]; allowed: one of (±2, ±2)"
    with pytest.raises(ValueError, match=line(message)):
        corners.make_vec(2).reset(options={"task": {"goal": [[2.0, 2.0], [2.0, 1.0]]}})
    with pytest.raises(ValueError, match=r"task 'goal' has shape \(\); allowed: \(rows, 2\)$"):
        corners.task_features({"goal": 2.0})
    env = PointGoal().make_vec(3)
    env.reset(seed=0)
    env.step(np.zeros((3, 2)))
    before = env._state.copy()
    for actions, message in [
        (np.zeros((2, 2)), "actions are float64 (2, 2); allowed: numbers (3, 2)"),
        (np.zeros(3), "actions are float64 (3,); allowed: numbers (3, 2)"),
        (np.full((3, 2), "a"), "actions are <U1 (3, 2); allowed: numbers (3, 2)"),
        (
            np.array([[0, 0], [0, np.nan], [np.inf, 0]]),
            "action at step 2 of row 1 is [0.0, nan]; allowed: finite numbers",
        ),
        (
            np.array([[0, 0], [0, 0], [-np.inf, 0]]),
            "action at step 2 of row 2 is [-inf, 0.0]; allowed: finite numbers",
        ),
    ]:
        with pytest.raises(ValueError, match=line(f"point-goal/finn2017: {message}")):
            env.step(actions)
    assert same(env._state, before)
    env.step(np.full((3, 2), 1e300))  # huge is finite, and clipped
    assert env._state == pytest.approx(before + 0.1)
