"""Environments that nobody here wrote, meta-trained as a user would (``make test-thirdparty``)."""

import importlib
import json
import math
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.wrappers import FilterObservation

import metarl
from metarl.cli import main
from metarl.core.params import leaves
from metarl.testing import check_family
from metarl_envs import Choice, GymFamily, Uniform

pytestmark = pytest.mark.thirdparty


def traffic(density: float) -> gymnasium.Env[Any, Any]:
    config = {"vehicles_density": density, "vehicles_count": 5, "simulation_frequency": 5}
    return gymnasium.make("highway_env:highway-fast-v0", config=config)


class Traffic(GymFamily):
    """Discrete actions (highway-env): keep going where the traffic is of unknown density."""

    env = traffic
    arguments = {"density": Uniform(0.5, 2.0, ood=(2.0, 3.0))}
    horizon = 6


class Balls(GymFamily):
    """Continuous actions (Gymnasium-Robotics): roll to a cell that is not observed."""

    env = "gymnasium_robotics:PointMaze_OpenDense-v3"
    options = {"goal_cell": Choice([(row, column) for row in (1, 2, 3) for column in (1, 2, 3, 4)])}
    wrappers = [lambda env: FilterObservation(env, ["observation"])]
    horizon = 10


def image_alone(env: Any) -> Any:
    return importlib.import_module("minigrid.wrappers").ImgObsWrapper(env)


class Grids(GymFamily):
    """Images (Minigrid): rooms of several sizes with moving balls to keep clear of."""

    env = "minigrid:MiniGrid-Dynamic-Obstacles-5x5-v0"
    arguments = {"size": Choice([5, 6, 8], ood=[10]), "n_obstacles": Choice([1, 2, 3])}
    wrappers = [image_alone]
    horizon = 12


FAMILIES: dict[str, tuple[Any, str, Any, Any]] = {
    "Traffic": (Traffic, "highway_env", Box(-np.inf, np.inf, (25,), np.float32), Discrete(5)),
    "Balls": (Balls, "gymnasium_robotics", Box(-np.inf, np.inf, (4,), np.float32), Box(-1.0, 1.0, (2,))),
    "Grids": (Grids, "minigrid", Box(0, 255, (3, 7, 7), np.uint8), Discrete(3)),
}


@pytest.fixture(params=list(FAMILIES))
def named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A family whose package is installed; this module is found by name, as a user's own file would be."""
    pytest.importorskip(FAMILIES[request.param][1])
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return str(request.param)


def test_the_contract_is_kept(named: str) -> None:
    cls, _, observations, actions = FAMILIES[named]
    family = cls(horizon=4)
    assert family.observation_space == observations and family.action_space == actions
    check_family(family)


def test_tasks_differ_in_what_is_seen_or_earned(named: str) -> None:
    family = FAMILIES[named][0]()
    tasks = family.sample_tasks(6, np.random.default_rng(0))
    env = family.make_vec(6)
    seen = [env.reset(seed=[7] * 6, options={"task": tasks})[0].reshape(6, -1)]
    action = np.broadcast_to(family.action_space.sample(), (6, *family.action_space.shape))
    for _ in range(5):
        obs, reward, *_ = env.step(action)
        seen += [obs.reshape(6, -1), reward[:, None]]
    env.close()
    everything = np.concatenate(seen, axis=1)
    for i in range(6):
        for j in range(i):
            same_task = all(x[i] == x[j] for x in tasks.values())
            assert np.array_equal(everything[i], everything[j]) == same_task


def test_it_is_meta_trained_from_the_command_line(named: str) -> None:
    sizes = "--iterations 2 --tasks 2 --episodes 3 --validation-tasks 2 --threads 1".split()  # noqa: SIM905
    assert main(["train", "maml", "--family", f"{__name__}:{named}", *sizes, "--out", "run"]) == 0
    rows = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [1, 2]
    for row in rows:
        assert all(math.isfinite(row[key]) for key in ("loss", "grad_norm", "return/step_0", "return/step_1"))
        assert row["grad_norm"] > 0
    run = metarl.load("run", "last", trust=True)
    before, after = leaves(run.agent.initial_meta()), leaves(run.meta)
    assert all(bool(torch.isfinite(x).all()) for x in after)
    assert any(not torch.equal(x, y) for x, y in zip(before, after, strict=True))
    assert main(["evaluate", "run", "--tasks", "2", "--episodes", "2", "--steps", "1", "--trust"]) == 0
