"""The oracle's view: observations that end with the row's task, through resets, masks and freezing."""

import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AutoresetMode, VectorWrapper

from metarl.core.errors import RequestError
from metarl.rollout.observed import observe_task
from metarl_envs import PointGoal

SPECS = list(PointGoal.specs)


class Grid(PointGoal):
    """A family whose observations are of a kind of one's choice."""

    def __init__(self, space):
        super().__init__()
        self.name, self.observation_space = "grid", space


class Terse(PointGoal):
    """A family whose resets name the restarted rows' tasks alone, and whose plane is all it is given."""

    class _Env(VectorWrapper):
        def reset(self, *, seed=None, options=None):
            obs, info = self.env.reset(seed=seed, options=options)
            info["task"]["goal"][~options["reset_mask"]] = 0.0
            return obs, info

    def make_vec(self, num_envs):
        return self._Env(super().make_vec(num_envs))

    def plane(self, obs):
        return obs


class Silent(PointGoal):
    """A family whose resets do not name the task."""

    class _Env(gymnasium.Wrapper):
        def reset(self, **kwargs):
            return self.env.reset(**kwargs)[0], {}

    def make(self):
        return self._Env(super().make())


@pytest.mark.parametrize("spec", SPECS)
def test_observations_are_the_inner_ones_with_the_goal_behind(spec):
    inner = PointGoal(spec)
    family, tasks = observe_task(inner), inner.sample_tasks(5, np.random.default_rng(0))
    env, plain = family.make_vec(5), inner.make_vec(5)
    single, goals = family.make(), tasks["goal"].astype(np.float32)
    obs, info = env.reset(seed=3, options={"task": tasks})
    assert np.array_equal(obs, np.hstack([plain.reset(seed=3, options={"task": tasks})[0], goals]))
    one, _ = single.reset(seed=5, options={"task": {"goal": tasks["goal"][2]}})
    assert np.array_equal(one, obs[2]) and np.array_equal(info["task"]["goal"], tasks["goal"])
    for action in np.random.default_rng(1).normal(size=(6, 5, 2)):
        got, expected, alone = env.step(action), plain.step(action), single.step(action[2])
        assert got[0].dtype == np.float32 and np.array_equal(got[0], np.hstack([expected[0], goals]))
        assert all(np.array_equal(a, b) for a, b in zip(got[1:4], expected[1:4], strict=True))
        assert np.array_equal(alone[0], got[0][2]) and alone[1] == got[1][2]
        assert got[0] in env.observation_space and alone[0] in single.observation_space


def test_a_task_that_the_environment_drew_is_observed_too():
    family = observe_task(PointGoal())
    obs, info = family.make_vec(3).reset(seed=1)
    assert (
        np.array_equal(obs[:, 2:], info["task"]["goal"].astype(np.float32))
        and np.unique(obs[:, 2:]).size == 6
    )
    one, info = family.make().reset(seed=2)
    assert np.array_equal(one, obs[1]) and np.array_equal(one[2:], info["task"]["goal"].astype(np.float32))


def test_only_restarted_rows_change_their_task_and_frozen_rows_stay():
    env = observe_task(PointGoal()).make_vec(3)
    goals = np.array([[0.1, 0.0], [0.4, 0.4], [0.3, 0.1]])
    env.reset(options={"task": {"goal": goals}})
    right = np.array([[1.0, 0.0]] * 3)
    first = env.step(right)
    second = env.step(right)
    assert first[2].tolist() == [True, False, False] and np.array_equal(first[0][0], second[0][0])
    assert second[0][0].tolist() == pytest.approx([0.1, 0.0, 0.1, 0.0]) and second[1][0] == 0.0
    mask = np.array([False, True, False])
    obs, _ = env.reset(options={"task": {"goal": -goals}, "reset_mask": mask})
    assert obs == pytest.approx(
        np.array([[0.1, 0.0, 0.1, 0.0], [0.0, 0.0, -0.4, -0.4], [0.2, 0.0, 0.3, 0.1]]), abs=1e-7
    )
    after = env.step(right)[0]
    assert np.array_equal(after[:, 2:], obs[:, 2:]) and np.array_equal(after[0], obs[0])


def test_rows_that_go_on_keep_their_task_where_the_reset_does_not_name_it():
    env, goals = observe_task(Terse()).make_vec(2), np.array([[0.1, 0.2], [0.3, 0.4]])
    env.reset(options={"task": {"goal": goals}, "reset_mask": np.array([True, True])})
    obs, _ = env.reset(options={"task": {"goal": -goals}, "reset_mask": np.array([True, False])})
    assert obs[:, 2:] == pytest.approx(np.array([[-0.1, -0.2], [0.3, 0.4]]))


def test_pictures_are_drawn_from_the_inner_observation():
    assert observe_task(Terse()).plane(np.zeros((5, 4))).shape == (5, 2)


def test_observations_handed_out_are_not_written_again():
    env = observe_task(PointGoal()).make_vec(2)
    obs, _ = env.reset(seed=0)
    kept = obs.copy()
    step = env.step(np.ones((2, 2)))[0]
    step[:], copy = 5.0, env.step(np.ones((2, 2)))[0].copy()
    env.reset(seed=9)
    assert np.array_equal(obs, kept) and np.array_equal(copy[:, 2:], kept[:, 2:])


@pytest.mark.parametrize("spec", SPECS)
def test_the_rest_of_the_family_is_unchanged(spec):
    inner = PointGoal(spec, horizon=9)
    family = observe_task(inner)
    for member in ("name", "spec", "horizon", "num_tasks", "action_space"):
        assert getattr(family, member) == getattr(inner, member)
    assert family.observation_space.shape == (4,) and family.observation_space.dtype == np.float32
    assert np.array_equal(family.observation_space.low[:2], inner.observation_space.low)
    assert np.isinf(family.observation_space.high[2:]).all()
    env = family.make_vec(6)
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED and env.num_envs == 6
    assert env.single_observation_space == family.observation_space == family.make().observation_space
    assert env.observation_space.shape == (6, 4) and env.single_action_space == inner.action_space
    tasks = family.sample_tasks(4, np.random.default_rng(0), "test")
    assert np.array_equal(tasks["goal"], inner.sample_tasks(4, np.random.default_rng(0), "test")["goal"])
    assert np.array_equal(family.task_features(tasks), inner.task_features(tasks))
    obs = np.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(family.plane(obs), obs[..., :2]) and np.array_equal(
        family.marks(tasks), tasks["goal"].astype("f4")
    )


def test_what_counts_and_how_it_is_stepped_stay_known():
    inner = PointGoal()
    assert not hasattr(observe_task(inner), "metric") and not hasattr(observe_task(inner), "stepped")
    inner.metric, inner.stepped = "success", "python"
    assert (observe_task(inner).metric, observe_task(inner).stepped) == ("success", "python")


def test_pictures_are_offered_only_where_the_family_draws_them(monkeypatch):
    monkeypatch.delattr(PointGoal, "plane")
    monkeypatch.delattr(PointGoal, "marks")
    family = observe_task(PointGoal())
    assert not hasattr(family, "plane") and not hasattr(family, "marks")


def test_an_observed_family_travels_to_worker_processes():
    family = pickle.loads(pickle.dumps(observe_task(PointGoal("promp"))))
    assert np.array_equal(
        family.make_vec(2).reset(seed=1)[0], observe_task(PointGoal("promp")).make_vec(2).reset(seed=1)[0]
    )


@pytest.mark.parametrize(
    "space",
    [
        Discrete(5),
        Box(0.0, 1.0, (3, 3)),
        Box(0, 255, (3,), np.uint8),
        Box(0.0, 1.0, ()),
        Dict({"x": Discrete(2)}),
    ],
    ids=["Discrete", "2-D", "integers", "0-D", "Dict"],
)
def test_other_observation_spaces_are_refused_by_name(space):
    with pytest.raises(RequestError) as error:
        observe_task(Grid(space))
    assert (
        str(error.value) == f"family 'grid' observes {space}; an oracle needs a one-dimensional Box of floats"
    )


def test_a_family_that_names_no_task_is_refused():
    with pytest.raises(
        RequestError, match=r"^family 'point-goal' names no info\['task'\] on reset; an oracle needs it$"
    ):
        observe_task(Silent()).make().reset(seed=0)
