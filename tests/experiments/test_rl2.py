"""RL² through sb3-contrib: what it reads, what a trial is, and that it lands in the table."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from metarl.rollout import seeding
from metarl.rollout.seeding import Address
from metarl.run.evaluate.protocol import Protocol
from metarl.run.experience.gather import USES
from metarl.run.report.page import write_report
from metarl.run.sb3.vec_env import TaskVecEnv
from metarl.run.use.runs import train
from tiny_families import Corridor, Field
from tiny_runs import tiny

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def rl2(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return __import__("rl2")


def test_a_trial_is_one_task_and_ends_as_one_episode(rl2: Any) -> None:
    env = rl2.Trials(TaskVecEnv(Field(horizon=2), 2, per_task=3, seed=1), 3)
    obs, tasks = env.reset(), [info["task"]["goal"].copy() for info in env.venv.reset_infos]
    assert obs.shape == (2, 6) and obs.dtype == np.float32 and not obs[:, 2:].any()
    action = np.array([[0.1, -0.2], [0.3, 0.4]], np.float32)
    for t in range(1, 13):
        before = [info["task"]["goal"] for info in env.venv.reset_infos]
        obs, reward, done, infos = env.step(action)
        np.testing.assert_array_equal(before, tasks)
        assert done.tolist() == [t % 6 == 0] * 2
        if done.all():
            assert not obs[:, 2:].any()  # a new trial, which knows of nothing
            last = np.stack([info["terminal_observation"] for info in infos])
            np.testing.assert_array_equal(last[:, 2:4], action)
            np.testing.assert_array_equal(last[:, 4:], np.stack([reward, [1, 1]], 1))
            assert not any(info.get("TimeLimit.truncated") for info in infos)
            tasks = [info["task"]["goal"].copy() for info in env.venv.reset_infos]
        else:
            assert infos == [{}, {}]
            np.testing.assert_array_equal(obs[:, 2:4], action)
            np.testing.assert_array_equal(obs[:, 4:], np.stack([reward, [t % 2 == 0] * 2], 1))


def test_choices_are_read_one_hot_and_what_cannot_be_read_is_refused(rl2: Any) -> None:
    before = rl2.Before(Box(-1, 1, (1,)), Discrete(3))
    seen = before.after(np.array([[0.5]]), np.array([2]), np.array([1.5]), np.array([True]))
    assert seen.tolist() == [[0.5, 0, 0, 1, 1.5, 1]] and before.space.shape == (6,)
    with pytest.raises(ValueError, match="rl2 reads vectors"):
        rl2.Before(Box(0, 255, (3, 8, 8), np.uint8), Discrete(2))


class Counts:
    """A policy whose memory counts the steps of each row, and whose first choice is to go right."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []
        self.starts: list[bool] = []

    def predict(self, obs: np.ndarray, state: Any, episode_start: Any, deterministic: bool) -> Any:
        self.seen.append(obs)
        self.starts.append(bool(episode_start.any()))
        state = (np.zeros((1, len(obs), 1)),) * 2 if state is None else state
        self.memory = tuple(part + 1 for part in state)
        return np.full(len(obs), 2), self.memory


def test_measuring_keeps_the_memory_of_rows_that_wait_for_others(rl2: Any) -> None:
    """From the middle the wall is four steps of about a quarter away; a row's memory counts its own steps."""
    model, family = Counts(), Corridor("random", horizon=9)
    tasks = {"side": np.array([1.0, -1.0, 1.0])}
    protocol = Protocol("test", 3, 1, 2, 1, False)
    returns, lengths = rl2.measure(model, family, tasks, protocol)
    assert returns.shape == lengths.shape == (3, 4)
    assert len({*lengths.sum(1)}) > 1 and lengths.max() < 9  # all reach the wall, some sooner
    assert (returns[1] < returns[0]).all()  # the right pays where the side is 1
    assert model.starts == [True] + [False] * (len(model.starts) - 1)
    waited = model.memory[0][0, :, 0]  # of the last step: rows that had ended by then count one more
    assert (waited >= lengths.sum(1)).all() and (waited <= lengths.sum(1) + 1).all()
    assert not model.seen[0][:, 1:].any()
    second = int(lengths[:, 0].max())  # the first step of the second episode sees the first one's end
    np.testing.assert_array_equal(model.seen[second][:, -1], 1)
    np.testing.assert_array_equal(model.seen[second][:, 1:4], [[0, 0, 1]] * 3)


def test_starts_are_those_of_the_other_agents(rl2: Any) -> None:
    protocol = Protocol("ood", 3, 2, 4, 7, False)
    found = rl2._starts(protocol, 3, 4 * 2 + 3)  # step 2, episode 3
    address = Address(7, USES["ood"], inner_step=2)
    assert found == [int(seeding.seeds(7, "starts", *address.of(t), n=4)[3]) for t in range(3)]


def test_what_it_reads_is_normalised_as_in_training_and_measuring_changes_nothing(
    rl2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rl2, "ROWS", 3)
    monkeypatch.setattr(rl2, "UNITS", 4)
    family = Field(horizon=4)
    trained = rl2.train(family, 24, trial=2, seed=1, gamma=0.9)
    assert trained.model.num_timesteps == 24
    seen = trained.scale.obs_rms
    mean, std, count = seen.mean.copy(), np.sqrt(seen.var + 1e-8), seen.count
    assert count > 24  # those of the rollouts, and the first
    obs = np.arange(12, dtype=np.float32).reshape(2, 6)
    rest = None, np.array([True, True])
    expected, _ = trained.model.predict(np.clip((obs - mean) / std, -10, 10), *rest, deterministic=True)
    found, _ = trained.predict(obs, *rest, deterministic=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found - trained.model.predict(obs, *rest, deterministic=True)[0]).max() > 1e-4
    rl2.measure(trained, family, {"goal": np.zeros((2, 2))}, Protocol("test", 2, 1, 2, 1, False))
    assert trained.scale.obs_rms.count == count and (trained.scale.obs_rms.mean == mean).all()


def test_it_stands_in_the_run_s_table(rl2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(tiny(iterations=1), tmp_path / "run")
    run.evaluate(tasks=3, steps=1, episodes=2).save(run.path / "evaluation.json")
    monkeypatch.setattr(rl2, "ROWS", 3)
    monkeypatch.setattr(rl2, "UNITS", 4)
    rl2.main([str(run.path), "--env-steps", "60", "--trial", "2"])
    agents = json.loads((run.path / "evaluation.json").read_text())["agents"]
    found = agents["rl2"]
    assert list(agents) == ["meta", "rl2"] and found["env_steps"] == 60
    assert np.shape(found["per_task"]) == (3, 2) and np.shape(found["ci95"]) == (2, 2)
    assert (found["episodes"], found["episode_env_steps"]) == ([0, 2], [0.0, 20.0])
    episodes = found["mean_of_each_episode"]
    assert found["mean"] == pytest.approx([np.mean(episodes[:2]), np.mean(episodes[2:])])
    assert found["mean"] == pytest.approx(np.mean(found["per_task"], 0).tolist())
    write_report([run.path], None)
    assert "rl2" in (run.path / "report.html").read_text()
