"""Networks of one's own, and what is refused in place of one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space

from metarl.core.errors import RequestError
from metarl.core.params import expand
from metarl.run.agent.networks import network
from metarl_envs import PointGoal
from tiny_runs import agent, same, tiny

OWN = """
import torch
from torch import nn

class Tilted(nn.Module):
    def __init__(self, inputs, actions):
        super().__init__()
        self.out = nn.Linear(inputs, actions)
        self.spread = nn.Parameter(torch.zeros(()))

    def forward(self, obs):
        mean = self.out(obs)
        return mean, self.spread.expand_as(mean)

def policy(observation_space, action_space):
    return Tilted(observation_space.shape[0], action_space.shape[0])

def nothing(observation_space, action_space):
    return "a network"

def broken(observation_space, action_space):
    raise KeyError("first line\\nsecond line")

def stateful(observation_space, action_space):
    return nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the working directory."""
    name = f"own_networks_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_network_of_ones_own_is_taken_and_drawn_from_the_seed(own: str) -> None:
    built = agent(model=f"{own}:policy")
    params = built.initial_meta().model
    assert {name: tuple(x.shape) for name, x in params.items()} == {
        "spread": (),
        "out.weight": (2, 2),
        "out.bias": (2,),
    }
    assert same(params, agent(model=f"{own}:policy").initial_meta().model)
    policy = built.apply_tasks(expand(params, 3), torch.ones(3, 4, 2))
    torch.testing.assert_close(policy.mean[0, 0], params["out.weight"].sum(1) + params["out.bias"])


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("nothing", "returned str; allowed: a torch.nn.Module"),
        ("broken", "cannot be made: KeyError: 'first line"),
        ("absent", "cannot be imported: AttributeError: "),
        ("stateful", "keeps state outside its parameters (0.running_mean"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(own: str, factory: str, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        agent(model=f"{own}:{factory}").initial_meta()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_does_not_exist_is_named() -> None:
    with pytest.raises(
        RequestError, match="model 'no_such_package:net' cannot be imported: ModuleNotFoundError"
    ):
        agent(model="no_such_package:net")


def serving(observations: Space[Any], actions: Space[Any]) -> PointGoal:
    """A family with these spaces."""
    family = PointGoal()
    family.observation_space, family.action_space = observations, actions
    return family


@pytest.mark.parametrize(
    ("observations", "actions", "told"),
    [
        (Box(0, 1, (3, 3), np.float32), Discrete(2), "model 'mlp' reads a one-dimensional Box"),
        (Box(0, 1, (3,), np.float32), MultiBinary(2), "allowed: Discrete, a one-dimensional Box or"),
        (
            Box(0, 1, (3,), np.float32),
            Box(0, 1, (2, 2), np.float32),
            "allowed: Discrete, a one-dimensional Box",
        ),
        (
            Box(0, 1, (3,), np.float32),
            MultiDiscrete([[2, 2], [3, 3]]),
            "a one-dimensional Box or MultiDiscrete",
        ),
    ],
)
def test_spaces_that_no_network_serves_are_refused_by_name(
    observations: Space[Any], actions: Space[Any], told: str
) -> None:
    with pytest.raises(RequestError, match="family 'point-goal'") as caught:
        network(tiny(), serving(observations, actions))
    assert told in str(caught.value)
