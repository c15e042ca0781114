"""What the MuJoCo environments refuse, and what they say where the physics fails."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from metarl_envs import CheetahVel, HopperParams
from metarl_envs.robots.envs import MujocoVectorEnv
from row_by_row import refused, same


def test_bad_actions_are_refused_in_one_line_and_change_nothing() -> None:
    env, twin = CheetahVel().make_vec(2), CheetahVel().make_vec(2)
    with pytest.raises(ResetNeeded, match="cheetah-vel/finn2017: step before the first reset"):
        env.step(np.zeros((2, 6)))
    env.reset(seed=0)
    twin.reset(seed=0)
    bad = np.zeros((2, 6))
    bad[1, 4] = np.nan
    shown = "[0.0, 0.0, 0.0, 0.0, nan, 0.0]"
    for given, message in [
        (bad, f"action at step 1 of row 1 is {shown}; allowed: finite numbers"),
        (np.zeros((2, 5)), "actions are float64 (2, 5); allowed: numbers (2, 6)"),
        (np.zeros(6), "actions are float64 (6,); allowed: numbers (2, 6)"),
        (np.zeros((2, 6), bool), "actions are bool (2, 6); allowed: numbers (2, 6)"),
    ]:
        with refused(f"cheetah-vel/finn2017: {message}") as raised:
            env.step(given)
        where = {"row": 1, "step": 1} if "of row 1" in message else {}
        assert vars(raised.value) == where
    after, expected = env.step(np.ones((2, 6)))[:4], twin.step(np.ones((2, 6)))[:4]
    assert all(same(one, two) for one, two in zip(after, expected, strict=True))


def test_physics_that_falls_apart_names_family_row_step_and_task(tmp_path: Path) -> None:
    env = CheetahVel(threads=2).make_vec(4)
    env.reset(seed=0, options={"task": {"velocity": [0.0, 1.0, 0.25, 1.0]}})
    env.step(np.zeros((4, 6)))
    env.engine.velocities[2, 3] = 1e12
    why = "Nan, Inf or huge value in QVEL at DOF 3. The simulation is unstable"
    message = f"cheetah-vel/finn2017: MuJoCo gives up ({why}) at step 2 of row 2, whose task is velocity 0.25"
    with refused(message, error=RuntimeError) as raised:
        env.step(np.zeros((4, 6)))
    assert vars(raised.value) == {"row": 2, "step": 2}
    assert Path.cwd() == tmp_path and not list(tmp_path.iterdir())  # no MUJOCO_LOG.TXT
    obs, _ = env.reset(seed=0)  # and all is well again
    assert same(obs, CheetahVel().make_vec(4).reset(seed=0)[0])
    env.step(np.zeros((4, 6)))


def test_an_engine_error_names_its_row() -> None:
    env = HopperParams().make_vec(2)
    env.reset(seed=0)
    env.engine._batch.expand("opt.integrator")[1] = 99
    with refused("hopper-params/promp: MuJoCo fails (", ") at step 1 of row 1, whose", error=RuntimeError):
        env.step(np.zeros((2, 3)))


def test_a_reward_that_is_not_finite_names_its_row() -> None:
    family = CheetahVel()
    aim = dataclasses.replace(family.model.spec.aim, pay=lambda v, p, t: np.array([0.0, np.inf]))
    spec = dataclasses.replace(family.model.spec, aim=aim)
    env = MujocoVectorEnv(dataclasses.replace(family.model, spec=spec), 2)
    env.reset(seed=0, options={"task": {"velocity": [1.0, 0.5]}})
    with refused("the reward is not finite", "step 1 of row 1", "velocity 0.5", error=RuntimeError):
        env.step(np.zeros((2, 6)))


def test_an_observation_that_is_not_finite_names_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    env = CheetahVel().make_vec(2)
    obs, _ = env.reset(seed=0, options={"task": {"velocity": [1.0, 0.5]}})
    obs[1, 3] = np.nan
    monkeypatch.setattr(env.engine, "observe", lambda hidden: obs)
    with refused("the observation is not finite", "step 1 of row 1", "velocity 0.5", error=RuntimeError):
        env.step(np.zeros((2, 6)))


def test_long_tasks_are_cut_short_in_messages() -> None:
    env = HopperParams().make_vec(1)
    env.reset(seed=0)
    env.engine.positions[0, 1] = 1e12
    with pytest.raises(RuntimeError, match=r"whose task is mass \[[^…]{114}…$"):
        env.step(np.zeros((1, 3)))
