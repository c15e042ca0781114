"""Networks tried out before a run directory is made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box

from metarl.core.errors import RequestError
from metarl.run.use.runs import train
from metarl_envs.few_shot.sinusoid import Sinusoid
from tiny_families import Blobs
from tiny_runs import rows, taught, tiny

NETWORKS = """
import torch
from torch import nn
from metarl.core.models import MLP, Choices, GaussianMLP

class Fixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(2, 2)

    def forward(self, obs):
        mean = self.out(obs)
        return mean, torch.full_like(mean, -0.5)

class Doubled(GaussianMLP):
    def forward(self, obs):
        mean, log_std = super().forward(obs)
        return 2 * mean, log_std

def fixed(observation_space, action_space): return Fixed()
def doubled(observation_space, action_space): return Doubled(2, 2, (4,))
def logits(observation_space, action_space): return nn.Linear(2, 3)
def pairs(observation_space, action_space): return Choices(MLP(2, (), 6), (3, 3))
def narrow(observation_space, action_space): return GaussianMLP(3, 2, (4,))
def dropping(observation_space, action_space): return nn.Sequential(nn.Linear(2, 4), nn.Dropout())
"""


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"probed_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize("inner_steps", [0, 1])
def test_a_constant_standard_deviation_is_no_obstacle_to_trpo(
    networks: str, tmp_path: Path, inner_steps: int
) -> None:
    config = tiny(model=f"{networks}:fixed", meta_optimizer="trpo", inner_steps=inner_steps, iterations=1)
    run = train(config, tmp_path / "run")
    assert rows(run.path)[0]["line_search/accepted"] == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("doubled", "has a forward_tasks that differs from its forward"),
        ("logits", "acts by torch.int64"),
        ("narrow", "cannot be adapted by 'vpg': "),
        ("dropping", "acts by|cannot be adapted by 'vpg': "),
    ],
)
def test_one_that_cannot_serve_is_refused_before_anything_is_written(
    networks: str, tmp_path: Path, name: str, told: str
) -> None:
    with pytest.raises(RequestError, match=told) as caught:
        train(tiny(model=f"{networks}:{name}"), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pairs", r"acts by choices of 3 and 3, family 'crane' takes MultiDiscrete\(\[3 4\]\)"),
        ("logits", r"acts by torch.int64 of shape \[\], family 'crane' takes MultiDiscrete"),
        ("doubled", r"acts by torch.float32 of shape \[2\], family 'crane'"),
    ],
)
def test_a_network_of_other_choices_is_refused(networks: str, tmp_path: Path, name: str, told: str) -> None:
    config = tiny(model=f"{networks}:{name}", family="tiny_families:Crane")
    with pytest.raises(RequestError, match=told):
        train(config, tmp_path / "run")


# Labelled examples -------------------------------------------------------------------------------


class Unknown(Sinusoid):
    metric = "luck"


class Labelled(Sinusoid):
    metric = "accuracy"


class Regressed(Blobs):
    metric = "mse"


class Broken(Sinusoid):
    """Whose draws are refused by the family itself."""

    def sample_shots(self, tasks: Any, rng: Any) -> Any:
        raise ValueError("no points\nat all")


class NotANumber(Sinusoid):
    def sample_shots(self, tasks: Any, rng: Any) -> Any:
        drawn = super().sample_shots(tasks, rng)
        drawn["query_y"][0, 0] = float("nan")
        return drawn


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"family": f"{__name__}:Unknown"},
            "has the metric 'luck'; allowed: mse, accuracy",
        ),
        ({"family": f"{__name__}:Labelled"}, "has the metric 'accuracy' for labels in Box"),
        ({"family": f"{__name__}:Regressed"}, "'mse' for labels in Discrete(3); allowed: accuracy"),
        (
            {"family": f"{__name__}:Broken"},
            "family 'sinusoid' gives no examples: ValueError: no points at all",
        ),
        ({"family": f"{__name__}:NotANumber"}, "query_y has numbers that are not finite float32"),
        ({"objective": "vpg"}, "objective 'vpg' is of episodes, "),
    ],
)
def test_examples_that_cannot_be_learned_from_are_refused_before_anything_is_written(
    options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError) as caught:
        train(taught(**options), tmp_path / "run")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("logits", "gives numbers of shape [3] for each shot, family 'sinusoid' wants Box"),
        ("narrow", "cannot be adapted by 'mse': "),
        ("fixed", "model "),
    ],
)
def test_a_network_that_does_not_say_the_labels_is_refused(
    networks: str, name: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError) as caught:
        train(taught(model=f"{networks}:{name}", family=f"{__name__}:Wide"), tmp_path / "run")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


class Wide(Sinusoid):
    """Two inputs, so that the networks above can read them."""

    def __init__(self, spec: str | None = None) -> None:
        super().__init__(spec)
        self.observation_space = Box(-5.0, 5.0, (2,), np.float32)

    def sample_shots(self, tasks: Any, rng: Any) -> Any:
        drawn = super().sample_shots(tasks, rng)
        return {name: np.repeat(x, 2, -1) if name.endswith("_x") else x for name, x in drawn.items()}
