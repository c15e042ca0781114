"""The MuJoCo environments beside what all keep to: threads, frozen rows, restarts, starts, dynamics."""

from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from metarl_envs import AntDir, AntGoal, CheetahDir, CheetahVel, HopperParams, WalkerVel
from row_by_row import same


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
    positions, velocities = many.engine.positions, many.engine.velocities  # Gymnasium's starts
    assert np.abs(positions).max() <= 0.1 and positions.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)
    assert np.abs(positions.mean(axis=0)).max() < 0.005
    assert velocities.std(axis=0) == pytest.approx([0.1] * 9, rel=0.06) and np.abs(velocities).max() > 0.3
    assert np.abs(np.corrcoef(np.hstack([positions, velocities]).T) - np.eye(18)).max() < 0.08
    walkers = WalkerVel().make_vec(2000)
    walkers.reset(seed=0)
    off = np.hstack([walkers.engine.positions - [0, 1.25, *[0] * 7], walkers.engine.velocities])
    assert np.abs(off).max() <= 0.005 and off.std() == pytest.approx(0.005 / np.sqrt(3), rel=0.02)


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


def test_pictures_of_goals_show_where_the_ant_is() -> None:
    family = AntGoal()
    env = family.make_vec(2)
    obs, info = env.reset(seed=0)
    assert same(family.plane(obs), env.engine.positions[:, :2].astype(np.float32))
    assert same(family.marks(info["task"]), info["task"]["goal"].astype(np.float32))
