"""Promises of every family beside ``check_family``'s: checkers, ids, pickling, own arrays, refusals."""

import math
import pickle
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import metarl_envs
from metarl.rollout.registry import families
from metarl_envs import (
    AnalyticFamily,
    Bandit,
    CheetahVel,
    HopperParams,
    Maze,
    PointGoal,
    Sinusoid,
    TabularMDP,
)
from metarl_envs.base import row_draws
from row_by_row import (
    check_a_row_is_the_same_among_many,
    check_arrays_are_nobody_elses,
    refused,
    rng,
    same,
)

SUPERVISED = ("Glyphs", "Omniglot", "Sinusoid")
# Meta-World is tested where it is installed, Omniglot beside its small archives, and what is no family.
ELSEWHERE = ("MetaWorldML1", "MetaWorldML10", "MetaWorldML45", "Omniglot", "GymFamily", "AnalyticFamily")
FAMILIES = {
    name: getattr(metarl_envs, name)
    for name in metarl_envs.__all__
    if hasattr(getattr(metarl_envs, name), "specs") and name not in ELSEWHERE  # a base has none
}
CASES = [(cls, spec) for cls in FAMILIES.values() for spec in cls.specs]
EPISODIC = [case for case in CASES if case[0].__name__ not in SUPERVISED]
# What the checkers advise against and Gymnasium's own environments, or a published lineage, have.
ADVICE = ".*(symmetric and normalized|Box observation space (min|max)imum value is).*"


@pytest.mark.parametrize(("cls", "spec"), EPISODIC)
def test_checkers_of_gymnasium_and_stable_baselines_accept_it(cls: Any, spec: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ADVICE, UserWarning)
        check_env(cls(spec, horizon=20).make(), skip_render_check=True)
        check_env_sb3(cls(spec, horizon=20).make())


@pytest.mark.parametrize(("cls", "spec"), EPISODIC)
def test_it_has_an_id_of_gymnasiums(cls: Any, spec: str) -> None:
    name = f"metarl/{cls.__name__}-{spec}-v0"
    env = gymnasium.make(f"metarl_envs:{name}", horizon=2)
    env.action_space.seed(0)
    env.reset(seed=0)
    assert [env.step(0 * env.action_space.sample())[3] for _ in range(2)] == [False, True]
    vector = gymnasium.make_vec(name, num_envs=3, horizon=2)
    assert vector.reset(seed=0)[0].shape == (3, *env.observation_space.shape)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    with refused(cls.name, "unknown argument 'colour'", "horizon"):
        gymnasium.make(name, colour=2)


def test_registering_again_is_silent_and_each_is_found_by_name() -> None:
    metarl_envs._register()
    assert all(families[cls.name] is cls for cls in FAMILIES.values())


@pytest.mark.parametrize(("cls", "spec"), CASES)
def test_it_travels_to_worker_processes(cls: Any, spec: str) -> None:
    arguments: dict[str, Any] = {"shots": 3} if cls.__name__ in SUPERVISED else {"horizon": 9}
    family = pickle.loads(pickle.dumps(cls(spec, **arguments)))
    assert family.spec == spec and all(getattr(family, key) == x for key, x in arguments.items())
    tasks, ours = (one.sample_tasks(2, rng(1)) for one in (family, cls(spec)))
    assert tasks.keys() == ours.keys() and all(same(tasks[key], ours[key]) for key in ours)
    if "horizon" in arguments:
        assert same(family.make_vec(2).reset(seed=4)[0], cls(spec).make_vec(2).reset(seed=4)[0])


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [(Bandit, {"arms": 3}), (TabularMDP, {"states": 3, "actions": 4}), (Maze, {"size": 4})],
)
def test_so_do_its_other_arguments(cls: Any, arguments: dict[str, int]) -> None:
    family = pickle.loads(pickle.dumps(cls(**arguments)))
    assert {key: getattr(family, key) for key in arguments} == arguments


ROWS = [case for case in EPISODIC if issubclass(case[0], AnalyticFamily)] + [(HopperParams, "promp")]


@pytest.mark.parametrize(("cls", "spec"), ROWS)
def test_its_arrays_are_nobody_elses_and_its_rows_are_the_same_alone(cls: Any, spec: str) -> None:
    check_arrays_are_nobody_elses(cls(spec, horizon=12))
    check_a_row_is_the_same_among_many(cls(spec, horizon=12))


@pytest.mark.parametrize(("cls", "spec"), EPISODIC)
def test_without_a_task_each_rows_seed_stands_for_one_of_training(cls: Any, spec: str) -> None:
    family = cls(spec)
    uniforms = row_draws.uniform(row_draws.row_seeds(10, 5), family.model.task_draws, row_draws.TASK)
    wanted, (_, info) = family.model.task(uniforms), family.make_vec(5).reset(seed=10)
    assert all(same(info["task"][key], x) for key, x in wanted.items())


@pytest.mark.parametrize(("cls", "spec"), [(PointGoal, "promp"), (CheetahVel, "finn2017")])
def test_a_start_tells_nothing_about_the_task_and_no_task_moves_it(cls: Any, spec: str) -> None:
    family = cls(spec)
    env = family.make_vec(3000)
    obs, info = env.reset(seed=0)
    both = np.hstack([obs, family.task_features(info["task"])])
    k = obs.shape[1]
    assert np.abs(np.corrcoef(both.T)[:k, k:]).max() < 4 / math.sqrt(3000)
    assert same(env.reset(seed=0, options={"task": family.sample_tasks(3000, rng())})[0], obs)


@pytest.mark.parametrize("cls", FAMILIES.values())
def test_what_no_family_takes_is_refused(cls: Any) -> None:
    bad: list[Any] = [{"spec": "new"}, {"shots": 0} if cls.__name__ in SUPERVISED else {"horizon": 0}]
    bad += [{key: True} for key in bad[1]]
    for arguments in bad:
        ((key, value),) = arguments.items()
        words = [f"unknown spec {value!r}", *cls.specs] if key == "spec" else [f"{key} is {value}", "from 1"]
        with refused(f"{cls.name}: ", *words):
            cls(**arguments)
    with refused(cls.name, "no split 'dev'; allowed: train, validation, test"):
        cls().sample_tasks(3, rng(), "dev")
    with refused(cls.name, "number of tasks is 0", "from 1"):
        cls().sample_tasks(0, rng())
    with refused(cls.name, "unknown argument 'colour'"):
        cls(colour=2)
    if cls.__name__ not in SUPERVISED:
        with refused(f"{cls.name}/{cls().spec}: num_envs is 0", "from 1"):
            cls().make_vec(0)


@pytest.mark.parametrize(
    ("cls", "arguments", "least"),
    [
        (Bandit, {"arms": 0}, 1),
        (TabularMDP, {"states": 0}, 1),
        (TabularMDP, {"actions": -1}, 1),
        (Maze, {"size": 2}, 3),
        (Maze, {"size": True}, 3),
        (Sinusoid, {"queries": -1}, 1),
        (CheetahVel, {"threads": 0}, 1),
    ],
)
def test_numbers_of_its_own_have_a_least_one(cls: Any, arguments: dict[str, Any], least: int) -> None:
    ((key, value),) = arguments.items()
    with refused(f"{cls.name}: {key} is {value};", f"integers from {least}"):
        cls(**arguments)


def mdp(row: list[float]) -> dict[str, Any]:
    """Tasks of two states and two actions; action 1 in state 0 of the second one is given."""
    transition = np.full((2, 2, 2, 2), 0.5)
    transition[1, 0, 1] = row
    return {"transition": transition, "reward": np.zeros((2, 2, 2))}


CONSTANTS = {"g": [10.0, 10.0], "m": [1.0, 1.0], "l": [1.0, 1.0]}
SLIP = {"slip": [0.1], "reward": np.zeros((1, 2, 2))}


@pytest.mark.parametrize(
    ("family", "tasks", "words"),
    [
        ("Bandit", {"mean": [[0.5, 0.5], [0.5, 1.2]]}, ["'mean' of row 1 is [0.5, 1.2]", "0 to 1"]),
        ("Bandit", {"mean": [[-0.1, 0.5]]}, ["'mean' of row 0 is [-0.1, 0.5]", "0 to 1"]),
        ("Chain", SLIP | {"slip": [1.5]}, ["'slip' of row 0 is 1.5", "0 to 1"]),
        ("Chain", SLIP | {"slip": [-0.1]}, ["'slip' of row 0 is -0.1", "0 to 1"]),
        ("Chain", SLIP | {"reward": [[[0, 1], [np.inf, 2]]]}, ["'reward' of row 0, entry [1]", "finite"]),
        ("TabularMDP", mdp([0.5, 0.6]), ["row 1, entry [0, 1] is [0.5, 0.6]", "sum to 1"]),
        ("TabularMDP", mdp([1.5, -0.5]), ["row 1, entry [0, 1] is [1.5, -0.5]", "sum to 1"]),
        ("PointGoal", {"goal": [[2, 2], [2, 1]]}, ["'goal' of row 1 is [2.0, 1.0]", "(±2, ±2)"]),
        ("PendulumParams", CONSTANTS | {"m": [1, 0]}, ["'m' of row 1 is 0.0", "0.444444 to 2.25", "is 1)"]),
        ("PendulumParams", CONSTANTS | {"g": [-9.8, 9.8]}, ["'g' of row 0 is -9.8", "4.44444 to 22.5"]),
        ("PendulumParams", CONSTANTS | {"l": [1, 2.26]}, ["'l' of row 1 is 2.26", "0.444444 to 2.25"]),
        ("PendulumParams", CONSTANTS | {"b": [1.0, 1.0]}, ["['b', 'g', 'l', 'm']", "['g', 'l', 'm']"]),
        ("CheetahVel", {"speed": [1.0]}, ["task has ['speed']", "['velocity']"]),
        ("CheetahVel", {"velocity": [np.nan]}, ["'velocity' of row 0 is nan", "finite"]),
        ("CheetahDir", {"direction": [0.5]}, ["'direction' of row 0 is 0.5", "-1 or 1"]),
        ("AntDir", {"direction": [[0.0, 1.0]]}, ["'direction' of row 0 is [0.0, 1.0]", "(±1, 0)"]),
    ],
)
def test_tasks_that_it_cannot_serve_are_refused(family: str, tasks: Any, words: list[str]) -> None:
    arguments = {
        "Bandit": {"arms": 2},
        "TabularMDP": {"states": 2, "actions": 2},
        "PointGoal": {"spec": "promp"},
    }
    made = FAMILIES[family](**arguments.get(family, {}))
    env = made.make_vec(len(next(iter(tasks.values()))))
    reads = [made.task_features, lambda tasks: env.reset(options={"task": tasks})]
    for call in (*reads, *([made.mdp] if hasattr(made, "mdp") else [])):
        with refused(f"{made.model.title}: task ", *words):
            call(tasks)


def test_what_was_rounded_to_float32_is_served() -> None:
    family = TabularMDP()
    tasks = family.sample_tasks(50, rng())
    tasks["transition"] = tasks["transition"].astype(np.float32)
    assert (tasks["transition"].astype(np.float64).sum(axis=-1) != 1.0).any()
    family.make_vec(50).reset(options={"task": tasks})
    ants = FAMILIES["AntDir"]("promp-2d")
    ants.make().reset(options={"task": {"direction": np.float32([0.6, 0.8])}})
    with refused("ant-dir/promp-2d: task 'direction' of row 0 is [1.0, 1.0]", "length 1"):
        ants.make().reset(options={"task": {"direction": [1.0, 1.0]}})
