"""Promises of every family beside ``check_family``'s: checkers, Gymnasium ids, pickling, own arrays."""

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
from metarl_envs import AnalyticFamily
from row_by_row import check_arrays_are_nobody_elses, same

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
    with pytest.raises(ValueError, match="unknown argument 'colour'"):
        gymnasium.make(name, colour=2)


@pytest.mark.parametrize(("cls", "spec"), CASES)
def test_it_travels_to_worker_processes(cls: Any, spec: str) -> None:
    arguments: dict[str, Any] = {} if cls.__name__ in SUPERVISED else {"horizon": 9}
    family = pickle.loads(pickle.dumps(cls(spec, **arguments)))
    assert family.spec == spec and getattr(family, "horizon", 9) == 9
    tasks, ours = (one.sample_tasks(2, np.random.default_rng(1)) for one in (family, cls(spec)))
    assert tasks.keys() == ours.keys() and all(same(tasks[key], ours[key]) for key in ours)
    if arguments:
        assert same(family.make_vec(2).reset(seed=4)[0], cls(spec).make_vec(2).reset(seed=4)[0])


@pytest.mark.parametrize(("cls", "spec"), [case for case in EPISODIC if issubclass(case[0], AnalyticFamily)])
def test_nobody_writes_into_its_arrays(cls: Any, spec: str) -> None:
    check_arrays_are_nobody_elses(cls(spec, horizon=12))


def test_registering_again_is_silent() -> None:
    metarl_envs._register()
