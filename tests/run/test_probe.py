"""Networks tried out before a run directory is made."""

from pathlib import Path

import pytest

from metarl.core.errors import RequestError
from metarl.run.runs import train
from tiny_runs import rows, tiny

NETWORKS = """
import torch
from torch import nn
from metarl.core.models import GaussianMLP

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
