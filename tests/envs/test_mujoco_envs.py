"""The contract of the MuJoCo environments: one against many, threads, freezing, seeds, checks of others."""

from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_sb3

from metarl_envs import AntDir, AntGoal, CheetahDir, CheetahVel, HopperParams, WalkerVel
from metarl_envs.robots.family import MujocoFamily
from row_by_row import same

ALL = [(cls, spec) for cls in MujocoFamily.__subclasses__() for spec in cls.specs]
ALL_IDS = [f"{cls.name}-{spec}" for cls, spec in ALL]


def actions(family: Any, steps: int, n: int, size: float = 0.5) -> np.ndarray:
    bound = float(family.action_space.high[0])
    return np.random.default_rng(4).normal(size=(steps, n, *family.action_space.shape)) * bound * size


@pytest.mark.parametrize("cls", [CheetahVel, AntDir, HopperParams])
def test_threads_change_no_bit(cls: Any) -> None:
    def run(threads: int | None) -> list[np.ndarray]:
        family = cls(threads=threads)
        env = family.make_vec(9)
        seen = [env.reset(seed=5)[0]]
        for action in actions(family, 40, 9):
            seen += env.step(action)[:4]
        return seen

    one = run(1)
    for threads in (2, 3, None):
        assert all(same(a, b) for a, b in zip(one, run(threads), strict=True))


def test_a_finished_row_is_frozen_and_simulated_no_more() -> None:
    family = WalkerVel(horizon=300)
    env = family.make_vec(3)
    env.reset(seed=0)
    action, seen = actions(family, 200, 3, size=2.0), []
    action[:, 2] = 0.0  # one that stands for longer
    for t in range(200):
        seen.append(env.step(action[t]))
        if seen[-1][2].sum() == 2:
            break
    obs, _, terminated, truncated, _ = seen[-1]
    assert terminated.tolist() == [True, True, False] and not truncated.any()
    before = env.engine.positions.copy()
    for t in range(5):
        action[t, :2] = np.nan  # counts for nothing
        later, reward, ended, cut, _ = env.step(action[t])
        assert same(later[:2], obs[:2]) and not same(later[2], obs[2])
        assert reward[:2].tolist() == [0.0, 0.0] and reward[2] != 0.0
        assert ended.tolist() == [True, True, False] and not cut.any()
    assert same(env.engine.positions[:2], before[:2]) and not same(env.engine.positions[2], before[2])


def test_truncation_at_the_horizon_and_only_there() -> None:
    env = CheetahVel("promp", horizon=3).make_vec(2)
    env.reset(seed=0)
    flags = [env.step(np.zeros((2, 6)))[2:4] for _ in range(4)]
    assert not any(terminated.any() for terminated, _ in flags)
    assert [truncated.tolist() for _, truncated in flags] == [[False] * 2] * 2 + [[True] * 2] * 2
    assert (CheetahVel().horizon, CheetahVel("promp").horizon) == (200, 100)


def test_reset_mask_restarts_its_rows_alone() -> None:
    family = CheetahVel()
    env = family.make_vec(3)
    env.reset(seed=1, options={"task": {"velocity": np.array([0.5, 1.0, 1.5])}})
    moved = env.step(np.ones((3, 6)))[0]
    mask = np.array([False, True, False])
    obs, info = env.reset(seed=50, options={"task": {"velocity": np.zeros(3)}, "reset_mask": mask})
    assert same(obs[[0, 2]], moved[[0, 2]]) and info["task"]["velocity"].tolist() == [0.5, 0.0, 1.5]
    assert same(obs[1], family.make().reset(seed=51)[0])


def test_the_way_of_a_step_starts_where_the_row_stands_after_a_restart() -> None:
    """A restarted row's first velocity is not that of a jump back to the start."""
    for cls in (CheetahDir, AntDir):
        family = cls()
        env, single = family.make_vec(2), family.make()
        env.reset(seed=0)
        for action in actions(family, 10, 2):
            env.step(action)
        task = {"direction": np.array([[1.0, 0.0]] * 2) if cls is AntDir else np.ones(2)}
        env.reset(seed=[7, 8], options={"reset_mask": np.array([False, True]), "task": task})
        single.reset(seed=8, options={"task": {"direction": task["direction"][0]}})
        zeros = np.zeros((2, *family.action_space.shape))
        assert env.step(zeros)[1][1] == single.step(zeros[0])[1]


def test_seeds_follow_on_and_starts_are_spread_as_gymnasiums_are() -> None:
    family = CheetahVel()
    env, single = family.make_vec(2), family.make()
    env.reset(seed=[7, 8])
    obs, info = env.reset()
    single.reset(seed=8)
    one, named = single.reset()
    assert same(one, obs[1]) and same(named["task"]["velocity"], info["task"]["velocity"][1])
    many = family.make_vec(3000)
    many.reset(seed=0)
    positions, velocities = many.engine.positions, many.engine.velocities
    assert np.abs(positions).max() <= 0.1 and positions.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)
    assert np.abs(positions.mean(axis=0)).max() < 0.005
    assert velocities.std(axis=0) == pytest.approx([0.1] * 9, rel=0.06) and np.abs(velocities).max() > 0.3
    assert np.abs(np.corrcoef(np.hstack([positions, velocities]).T) - np.eye(18)).max() < 0.08
    walkers = WalkerVel().make_vec(2000)
    walkers.reset(seed=0)
    off = np.hstack([walkers.engine.positions - [0, 1.25, *[0] * 7], walkers.engine.velocities])
    assert np.abs(off).max() <= 0.005 and off.std() == pytest.approx(0.005 / np.sqrt(3), rel=0.02)


def test_a_start_tells_nothing_about_the_task() -> None:
    env = CheetahVel().make_vec(3000)
    obs, info = env.reset(seed=0)
    both = np.hstack([obs, info["task"]["velocity"][:, None]])
    assert np.abs(np.corrcoef(both.T) - np.eye(18))[-1].max() < 0.08


def test_arrays_are_nobody_elses() -> None:
    family = HopperParams()
    tasks = family.sample_tasks(3, np.random.default_rng(1))
    env, twin = family.make_vec(3), family.make_vec(3)
    twin.reset(seed=0, options={"task": {key: value.copy() for key, value in tasks.items()}})
    obs, info = env.reset(seed=0, options={"task": tasks})
    for array in (obs, *tasks.values(), *info["task"].values()):
        array[...] = 0.25
    for action in actions(family, 12, 3):
        out, expected = env.step(action.copy())[:4], twin.step(action)[:4]
        assert all(same(one, two) for one, two in zip(out, expected, strict=True))
        for array in out:
            array[...] = 1


def test_dynamics_are_those_of_each_rows_task_even_after_a_restart() -> None:
    family = HopperParams()
    env, random = family.make_vec(3), np.random.default_rng(2)
    first, second = family.sample_tasks(3, random), family.sample_tasks(3, random)
    env.reset(seed=0, options={"task": first})
    env.step(np.zeros((3, 3)))
    env.reset(seed=3, options={"task": second, "reset_mask": np.array([False, True, False])})
    plain = mujoco.MjModel.from_xml_path(
        str(Path(gymnasium.__file__).parent / "envs/mujoco/assets/hopper.xml")
    )
    for row, tasks in enumerate((first, second, first)):
        model, _ = env.engine.data(row)
        assert model.body_mass[1:] == pytest.approx(plain.body_mass[1:] * 1.5 ** tasks["mass"][row])
        assert model.body_subtreemass[1] == pytest.approx(model.body_mass[1:].sum())  # constants follow
        assert model.geom_friction.ravel() == pytest.approx(
            plain.geom_friction.ravel() * 1.5 ** tasks["friction"][row]
        )
        assert model.dof_damping[3:] == pytest.approx(plain.dof_damping[3:] * 1.3 ** tasks["damping"][row])
        assert not model.dof_damping[:3].any()


@pytest.mark.parametrize(("cls", "spec"), ALL, ids=ALL_IDS)
@pytest.mark.filterwarnings(
    "ignore:.*:UserWarning"
)  # unbounded spaces, actions beyond ±1, no env.spec: meant
def test_single_environments_pass_the_checks_of_gymnasium_and_sb3(cls: Any, spec: str) -> None:
    env = cls(spec, horizon=10).make()
    check_env(env, skip_render_check=True)
    check_env_sb3(env, warn=False)


def test_registered_environments_and_spaces() -> None:
    env = gymnasium.make("metarl_envs:metarl/CheetahVel-promp-v0", horizon=7)
    obs, info = env.reset(seed=3, options={"task": {"velocity": 1.25}})
    assert obs.dtype == np.float32 and obs.shape == (17,) and info["task"]["velocity"] == 1.25
    assert env.action_space.high.tolist() == [10.0] * 6
    vec = gymnasium.make_vec("metarl_envs:metarl/AntGoal-finn2017-v0", num_envs=2, threads=1)
    assert vec.metadata["autoreset_mode"] is AutoresetMode.DISABLED and vec.num_envs == 2
    assert vec.reset(seed=0)[0].shape == (2, 29) and vec.reset(seed=0)[0] in vec.observation_space


def test_pictures_of_goals_show_where_the_ant_is() -> None:
    family = AntGoal()
    env = family.make_vec(2)
    obs, info = env.reset(seed=0)
    assert same(family.plane(obs), env.engine.positions[:, :2].astype(np.float32))
    assert same(family.marks(info["task"]), info["task"]["goal"].astype(np.float32))
