"""A family's vector environment as Stable-Baselines3 sees it."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete, MultiDiscrete
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from metarl.core.batch import undiscounted_returns
from metarl.core.errors import RequestError
from metarl.core.params import expand
from metarl.rollout import seeding
from metarl.rollout.collector import collect
from metarl.rollout.family import TaskFamily
from metarl.rollout.observed import observe_task
from metarl.rollout.registry import make
from metarl.rollout.seeding import Address
from metarl.run.experience.gather import USES
from metarl.run.sb3.vec_env import TaskVecEnv
from tiny_families import Corridor, Crane, Field
from tiny_runs import agent, meta_of

SEED, ROWS = 5, 4


def start_seed(row: int, episode: int) -> int:
    """Of an episode's start, by the address that the class promises."""
    address = Address(SEED, USES["sb3"], iteration=episode, first_task=row)
    return int(seeding.seeds(SEED, "starts", *address.of(0), n=1)[0])


def drawn_tasks(family: TaskFamily, episode: int, rows: int = ROWS) -> dict[str, Any]:
    rng = seeding.generator(SEED, "tasks", USES["sb3"], episode)
    return family.sample_tasks(rows, rng, "train")


def actions_of(family: TaskFamily, time: int, rows: int = ROWS) -> Any:
    rng = np.random.default_rng(time)
    if isinstance(family.action_space, Discrete):
        return rng.integers(0, 3, rows)
    if isinstance(family.action_space, MultiDiscrete):
        return rng.integers(0, family.action_space.nvec, (rows, 2))
    return rng.uniform(-0.5, 0.5, (rows, 2)).astype(np.float32)


ENDING = [Corridor(horizon=7), Corridor(horizon=7, first=2), Crane(horizon=2, first=2), Field(horizon=7)]


@pytest.mark.parametrize("family", ENDING)
def test_rows_are_single_environments_one_episode_after_another(family: TaskFamily) -> None:
    """Episodes end early in some rows and are cut short in others; the twin steps each row by itself."""
    env = TaskVecEnv(family, ROWS, seed=SEED)
    obs, singles, episodes = env.reset(), [family.make() for _ in range(ROWS)], [0] * ROWS
    begin = [begun(family, singles[row], row, 0) for row in range(ROWS)]
    np.testing.assert_array_equal(obs, begin)
    ends = {"terminated": 0, "truncated": 0}
    first = getattr(family.action_space, "start", 0)
    for t in range(60):
        action = actions_of(family, t)
        obs, reward, done, infos = env.step(action)
        assert (reward.dtype, done.dtype) == (np.dtype(np.float32), np.dtype(bool))
        for row, single in enumerate(singles):
            seen, gain, terminated, truncated, _ = single.step(action[row] + first)
            assert reward[row] == pytest.approx(gain, abs=1e-6)
            assert done[row] == (terminated or truncated)
            assert infos[row]["TimeLimit.truncated"] is (truncated and not terminated)
            if done[row]:
                np.testing.assert_array_equal(infos[row]["terminal_observation"], seen)
                ends["terminated" if terminated else "truncated"] += 1
                episodes[row] += 1
                seen = begun(family, single, row, episodes[row])
            else:
                assert "terminal_observation" not in infos[row]
            np.testing.assert_array_equal(obs[row], seen)
    assert ends["truncated"] and (ends["terminated"] or isinstance(family, Field))
    assert len(set(episodes)) > 1 or isinstance(family, Field)  # rows do not keep step


def begun(family: TaskFamily, single: gymnasium.Env[Any, Any], row: int, episode: int) -> Any:
    task = {key: value[row] for key, value in drawn_tasks(family, episode).items()}
    return single.reset(seed=start_seed(row, episode), options={"task": task})[0]


@pytest.mark.parametrize("per_task", [1, 3])
def test_so_many_episodes_in_a_row_share_a_task_which_the_reset_names(per_task: int) -> None:
    env, goals = TaskVecEnv(Field(horizon=2), ROWS, per_task=per_task, seed=SEED), []
    starts = [env.reset()]
    for _ in range(6):
        goals.append(np.stack([info["task"]["goal"] for info in env.reset_infos]))
        env.step(np.zeros((ROWS, 2), np.float32))
        starts.append(env.step(np.zeros((ROWS, 2), np.float32))[0])
    np.testing.assert_array_equal(goals, [drawn_tasks(Field(), e // per_task)["goal"] for e in range(6)])
    assert len({tuple(row) for start in starts for row in start.tolist()}) == 7 * ROWS


def test_the_one_task_that_is_given_is_that_of_all_episodes() -> None:
    env = TaskVecEnv(Field(horizon=2), 2, {"goal": [0.5, -0.25]})
    env.reset()
    for _ in range(5):
        _, reward, _, _ = env.step(np.zeros((2, 2), np.float32))
        assert [info["task"]["goal"].tolist() for info in env.reset_infos] == [[0.5, -0.25]] * 2
    position = env.step(np.zeros((2, 2), np.float32))[3][0]["terminal_observation"]
    assert reward.shape == (2,) and position.shape == (2,)


@pytest.mark.parametrize("episode", [0, 2])
def test_episodes_are_those_of_the_collector_at_the_same_address(episode: int) -> None:
    built = agent(family="tiny_families:Field", family_arg={"horizon": 6}, spec="random")
    params, family = meta_of(built).model, built.episodic
    address = Address(SEED, USES["sb3"], iteration=episode)
    expected = collect(
        family.make_vec(ROWS), built.apply_tasks, expand(params, ROWS), drawn_tasks(family, episode),
        episodes=1, horizon=6, address=address, deterministic=True,
    )  # fmt: skip
    env = TaskVecEnv(family, ROWS, seed=SEED)
    obs = env.reset()
    for _ in range(6 * episode):  # nobody reaches x = 1 by standing still
        obs, *_ = env.step(np.zeros((ROWS, 2), np.float32))
    gained, going = np.zeros(ROWS), np.ones(ROWS, bool)
    for _ in range(6):
        with torch.no_grad():
            action = built.apply(params, torch.from_numpy(obs)).mode().numpy()
        obs, reward, done, _ = env.step(action)
        gained += reward * going
        going &= ~done
    np.testing.assert_allclose(gained, undiscounted_returns(expected).numpy(), rtol=1e-5)


def test_an_oracle_sees_the_task_of_each_episode() -> None:
    family = observe_task(Field(horizon=2))
    env = TaskVecEnv(family, ROWS, seed=SEED)  # type: ignore[arg-type]
    obs = env.reset()
    for episode in range(3):
        features = drawn_tasks(Field(), episode)["goal"].astype(np.float32)
        np.testing.assert_array_equal(obs[:, 2:], features)
        obs, *_ = env.step(np.zeros((ROWS, 2), np.float32))
        np.testing.assert_array_equal(obs[:, 2:], features)
        obs, _, _, infos = env.step(np.zeros((ROWS, 2), np.float32))
        np.testing.assert_array_equal(infos[1]["terminal_observation"][2:], features[1])


def test_a_seed_begins_anew_and_none_keeps_the_root() -> None:
    env, other = TaskVecEnv(Field(), ROWS, seed=SEED), TaskVecEnv(Field(), ROWS, seed=8)
    first, second = env.reset(), env.reset()
    assert not np.array_equal(first, second)
    assert list(env.seed(None)) == [SEED] * ROWS
    np.testing.assert_array_equal(env.reset(), first)
    assert list(env.seed(8)) == [8] * ROWS
    np.testing.assert_array_equal(env.reset(), other.reset())


def test_what_stable_baselines3_asks_of_an_environment() -> None:
    env = TaskVecEnv(Field(horizon=3), ROWS)
    assert env.get_attr("render_mode") == [None] * ROWS
    assert env.get_attr("num_envs", 1) == [ROWS]
    assert not env.has_attr("nonsense")
    assert env.env_is_wrapped(gymnasium.Wrapper, [0, 2]) == [False, False]
    wrapped = VecNormalize(VecMonitor(env))
    wrapped.reset()
    for _ in range(3):
        obs, _, done, infos = wrapped.step(np.zeros((ROWS, 2), np.float32))
    assert done.all() and obs.shape == (ROWS, 2)
    assert all(info["episode"]["l"] == 3 for info in infos)
    assert TaskVecEnv(Corridor(first=2), 1).action_space == Discrete(3)
    assert TaskVecEnv(Crane(first=2), 1).action_space == MultiDiscrete([3, 4])
    wrapped.close()


def test_what_shared_rows_cannot_do_is_refused() -> None:
    env = TaskVecEnv(Field(), 2)
    env.set_options(None)
    for refused in (
        lambda: env.set_options({"task": {"goal": [0, 0]}}),
        lambda: env.set_attr("horizon", 3),
        lambda: env.env_method("render"),
    ):
        with pytest.raises(RequestError, match=r"TaskVecEnv"):
            refused()


@pytest.mark.parametrize(("rows", "per_task"), [(0, 1), (2, 0)])
def test_no_rows_and_no_episodes_are_refused(rows: int, per_task: int) -> None:
    with pytest.raises(RequestError, match=f"got {rows} and {per_task}"):
        TaskVecEnv(Field(), rows, per_task=per_task)


def test_ppo_learns_through_it() -> None:
    family: Any = make("point-goal", horizon=10)
    env = TaskVecEnv(family, 32, {"goal": [0.4, -0.3]})
    model = PPO(
        "MlpPolicy", env, 0.01, n_steps=10, batch_size=80, gamma=0.9, seed=1, device="cpu",
        policy_kwargs={"net_arch": [8], "log_std_init": -2.0},
    )  # fmt: skip

    def mean_return() -> float:
        obs, total = env.reset(), 0.0
        for _ in range(10):
            obs, reward, _, _ = env.step(model.predict(obs, deterministic=True)[0])
            total += float(reward.mean())
        return total

    before = mean_return()
    model.learn(32 * 10 * 12)
    assert mean_return() > before + 2  # standing still gives about −5, walking straight there about −1.5
