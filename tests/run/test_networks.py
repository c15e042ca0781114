"""The network that a configuration names for a family, and which of its parameters are the last layer's."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, Space
from torch import nn

from metarl.core.conv import Conv4
from metarl.core.errors import RequestError
from metarl.core.models import MLP, GaussianMLP
from metarl.run.networks import head, network
from metarl.run.resolve import resolved
from metarl_envs import PointGoal
from metarl_envs.sinusoid import Sinusoid
from tiny_families import Blobs, Patches
from tiny_runs import IMAGES, pupil, taught

IMAGE = Box(0, 1, (1, 28, 28), np.float32)


def made(model: str, family: Any) -> nn.Module:
    return network(resolved(taught(model=model)), family)


def with_spaces(family: Any, observations: Space[Any], actions: Space[Any]) -> Any:
    family.observation_space, family.action_space = observations, actions
    return family


@pytest.mark.parametrize(
    ("family", "kind", "inputs", "outputs"),
    [
        (Sinusoid(), MLP, 1, 1),
        (Blobs(), MLP, 2, 3),
        (Blobs(ways=2), MLP, 2, 2),
        (Blobs(ways="all"), MLP, 2, 6),
        (with_spaces(Sinusoid(), Box(-1, 1, (3,), np.float32), Box(-1, 1, (4,), np.float32)), MLP, 3, 4),
        (PointGoal(), GaussianMLP, 2, 2),
        (with_spaces(PointGoal(), Box(-1, 1, (3,), np.float32), Discrete(5)), MLP, 3, 5),
    ],
)
def test_the_spaces_decide_what_an_mlp_reads_and_says(
    family: Any, kind: type, inputs: int, outputs: int
) -> None:
    """No standard deviation where there is no policy."""
    module = made("mlp", family)
    assert type(module) is kind
    out = module(torch.zeros(7, inputs))
    assert (out[0] if kind is GaussianMLP else out).shape == (7, outputs)


def test_conv4_reads_images_and_has_the_filters_asked_for() -> None:
    module = network(resolved(taught(model="conv4", filters=3)), Patches(ways=2))
    assert isinstance(module, Conv4)
    assert module(torch.rand(5, 1, 28, 28)).shape == (5, 2)
    assert [p.shape[:2] for _, p in module.named_parameters() if p.ndim == 4] == [
        (3, 1),
        (3, 3),
        (3, 3),
        (3, 3),
    ]
    policy = made("conv4", with_spaces(PointGoal(), IMAGE, Discrete(4)))
    assert policy(torch.rand(5, 1, 28, 28)).shape == (5, 4)


@pytest.mark.parametrize(
    ("model", "family", "told"),
    [
        ("conv4", Sinusoid(), "model 'conv4' reads an image, a Box of shape (channels, height, width)"),
        ("conv4", Blobs(), "model 'conv4' reads an image"),
        ("mlp", Patches(ways=2), "model 'mlp' reads a one-dimensional Box"),
        ("conv4", with_spaces(PointGoal(), IMAGE, PointGoal().action_space), "'conv4' has no standard dev"),
        (
            "mlp",
            with_spaces(Sinusoid(), Box(0, 1, (2,), np.float32), Box(0, 1, (2, 2), np.float32)),
            "has labels in",
        ),
        (
            "mlp",
            with_spaces(Blobs(), Box(0, 1, (2,), np.float32), MultiBinary(2)),
            "has labels in MultiBinary(2)",
        ),
        ("mlp", with_spaces(PointGoal(), Box(0, 1, (2,), np.float32), MultiBinary(2)), "has actions in"),
        (
            "conv4",
            with_spaces(Patches(ways=2), Box(0, 1, (1, 8, 8), np.float32), Discrete(2)),
            "images of 8×8",
        ),
    ],
)
def test_a_network_that_does_not_fit_is_refused_in_one_line(model: str, family: Any, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        made(model, family)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


# The last layer ----------------------------------------------------------------------------------


class Nested(nn.Module):
    """A body with a vector and a scalar of its own, and a head behind two modules."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))
        self.body = nn.Sequential(nn.Linear(2, 4), nn.Tanh())
        self.out = nn.ModuleDict({"value": nn.Linear(4, 1), "policy": nn.Linear(4, 3, bias=False)})
        self.offset = nn.Parameter(torch.zeros(3))


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (MLP(2, (4, 4), 3), ["4.weight", "4.bias"]),
        (MLP(2, (), 3), ["0.weight", "0.bias"]),
        (GaussianMLP(2, 2, (4,)), ["net.2.weight", "net.2.bias"]),  # not log_std
        (Conv4((1, 16, 16), 3, 2), ["head.weight", "head.bias"]),
        (Nested(), ["out.policy.weight"]),
        (nn.Linear(2, 3), ["weight", "bias"]),
    ],
    ids=lambda x: type(x).__name__,
)
def test_the_head_is_the_last_layer_with_its_bias(module: nn.Module, names: list[str]) -> None:
    assert head(module) == names


def test_a_network_without_a_layer_has_no_head() -> None:
    with pytest.raises(
        RequestError, match="BatchNorm1d has no layer with weights; adapts must not be 'head'"
    ):
        head(nn.BatchNorm1d(3))


@pytest.mark.parametrize(
    ("adapts", "names"),
    [
        ("all", ("0.weight", "0.bias", "2.weight", "2.bias")),
        ("head", ("2.weight", "2.bias")),
        ("*.bias", ("0.bias", "2.bias")),
        ("0.*", ("0.weight", "0.bias")),
        ("2.weight", ("2.weight",)),
    ],
)
def test_what_adapts_is_named_by_a_word_or_a_pattern(adapts: str, names: tuple[str, ...]) -> None:
    built = pupil(adapts=adapts)
    assert built.adapting == names
    params = built.initial_meta().model
    rule = built.rule(0.1)
    grads = {name: torch.ones_like(p) for name, p in params.items()}
    moved, _ = rule.step({}, rule.begin({}, params), params, grads, torch.zeros(()))
    for name, p in params.items():
        torch.testing.assert_close(moved[name], p - 0.1 * (name in names))


def test_a_pattern_that_matches_nothing_is_refused_with_the_names() -> None:
    with pytest.raises(RequestError) as caught:
        pupil(adapts="last*")
    assert str(caught.value) == (
        "adapts 'last*' matches no parameter; allowed: all, head, 0.weight, 0.bias, 2.weight, 2.bias"
    )


# Chunks ------------------------------------------------------------------------------------------


def test_on_a_cpu_what_is_large_takes_few_tasks_at_a_time() -> None:
    """And what is small takes all; a chunk of one task, with bits of its own, is for one task alone."""
    blobs: dict[str, Any] = {"family": "tiny_families:Blobs", "chunk": None}
    wide = {"algorithm": "lstm", "hidden": (200, 200), "inner_lr": None}
    for tasks in (1, 2, 13):
        assert pupil(**blobs, tasks=tasks).chunking.size == tasks
        assert pupil(**blobs | wide | {"hidden": (8,)}, tasks=tasks).chunking.size == tasks
        assert pupil(**blobs | wide, tasks=tasks).chunking.size == min(2, tasks)
        assert pupil(**IMAGES, chunk=None, tasks=tasks).chunking.size == min(2, tasks)
    assert pupil(**IMAGES, chunk=3, tasks=13).chunking.size == 3
