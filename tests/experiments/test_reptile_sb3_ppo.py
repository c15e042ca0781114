"""Reptile around PPO: the outer step, the inner loop's start, and a run from end to end."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from tiny_families import Corridor

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
FAMILY = Corridor("random", horizon=4)


@pytest.fixture
def reptile(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    module = __import__("reptile_sb3_ppo")
    monkeypatch.setattr(module, "EPISODES", 3)
    return module


def test_the_outer_step_goes_a_share_of_the_way_to_the_mean(reptile: Any) -> None:
    """From 1, towards the mean 4 of 2 and 6, half of the way: 2.5."""
    found = reptile.towards(
        {"w": torch.tensor([1.0])}, [{"w": torch.tensor([2.0])}, {"w": torch.tensor([6.0])}], 0.5
    )
    assert found["w"].item() == 2.5


def test_an_iteration_moves_the_weights_to_where_ppo_got(reptile: Any) -> None:
    """With one task, one iteration and the whole step, they are PPO's own after as many updates."""
    found = reptile.meta_train(FAMILY, iterations=1, tasks=1, updates=2, lr=0.01, step=1.0, seed=1)
    (task,) = reptile.tasks_of(FAMILY, 1, "train", 0, 1)
    model = reptile.ppo_on(FAMILY, task, 1, 0.01)
    start = reptile.weights_of(model)
    model.learn(2 * 3 * 4)
    for name, x in model.policy.state_dict().items():
        torch.testing.assert_close(found[name], x)
    assert not torch.equal(found["action_net.weight"], start["action_net.weight"])
    assert model.num_timesteps == 24 and model._n_updates == 20


def test_without_an_iteration_they_stay_and_the_curve_starts_from_them(reptile: Any) -> None:
    start = reptile.meta_train(FAMILY, iterations=0, tasks=1, updates=1, lr=0.01, step=1.0, seed=1)
    values = reptile.curve(FAMILY, start, tasks=2, updates=1, lr=0.01, seed=1)
    assert values.shape == (2, 2) and np.isfinite(values).all()
    right = {name: x.clone() for name, x in start.items()}
    right["action_net.bias"][:] = torch.tensor([-50.0, -50.0, 50.0])
    tasks = [task["side"] for task in reptile.tasks_of(FAMILY, 1, "test", 0, 4)]
    gained = reptile.curve(FAMILY, right, tasks=4, updates=0, lr=0.01, seed=1)[:, 0]
    assert len(set(map(float, tasks))) == 2 and (np.sign(gained) == np.sign(tasks)).all()


def test_from_end_to_end(reptile: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--family tiny_families:Corridor --iterations 1 --tasks 2 --updates 1 --test-tasks 2 --out r.zip"
    reptile.main(words.split())
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2 and "Reptile's weights: mean return by updates" in told[0]
    assert isinstance(PPO.load("r.zip", device="cpu"), PPO)
