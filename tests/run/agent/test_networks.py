"""The network that a configuration names for a family, and which of its parameters are the last layer's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from safetensors.torch import save_file
from torch import nn

from metarl.core.cnn import CNN
from metarl.core.conv import Conv4
from metarl.core.critic import values
from metarl.core.errors import RequestError
from metarl.core.models import MLP, Choices, Gaussian, GaussianMLP
from metarl.run.agent.networks import head, network
from metarl.run.config.train_config import TrainConfig
from metarl_envs import PointGoal
from metarl_envs.few_shot.sinusoid import Sinusoid
from tiny_families import Blobs, Patches
from tiny_runs import IMAGES, agent, pupil, same, starting_meta, taught

IMAGE = Box(0, 1, (1, 28, 28), np.float32)


def made(model: str, family: Any) -> nn.Module:
    return network(taught(model=model), family)


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
        (PointGoal(), Gaussian, 2, 2),
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
    assert (out[0] if kind is Gaussian else out).shape == (7, outputs)


def test_a_multi_discrete_space_has_logits_for_each_component() -> None:
    module = made("mlp", with_spaces(PointGoal(), Box(-1, 1, (3,), np.float32), MultiDiscrete([5, 2])))
    assert isinstance(module, Choices)
    assert [x.shape for x in module(torch.zeros(7, 3)).logits] == [(7, 5), (7, 2)]
    assert head(module) == ["net.2.weight", "net.2.bias"]


@pytest.mark.parametrize(
    ("actions", "kind"),
    [(Discrete(4), CNN), (MultiDiscrete([2, 3]), Choices), (PointGoal().action_space, Gaussian)],
    ids=["one choice", "choices", "amounts"],
)
def test_policies_that_observe_images_have_a_cnn_unless_told(actions: Space[Any], kind: type) -> None:
    config = TrainConfig(algorithm="maml", family="tiny_families:Spot", hidden=(7,))
    module = network(config, with_spaces(PointGoal(), IMAGE, actions))
    assert type(module) is kind
    trunk = module if isinstance(module, CNN) else module.net
    assert isinstance(trunk, CNN)
    assert next(x.out_features for x in trunk.dense if isinstance(x, nn.Linear)) == 7
    prefix = "" if trunk is module else "net."
    assert head(module) == [f"{prefix}dense.2.weight", f"{prefix}dense.2.bias"]


@pytest.mark.parametrize(
    ("options", "model", "hidden"),
    [
        ({"family": "tiny_families:Spot"}, "cnn", (64,)),
        ({"family": "tiny_families:Spot", "family_arg": {"size": 40}}, "cnn", (512,)),
        ({"family": "tiny_families:Spot", "model": "conv4"}, "conv4", (64, 64)),
        ({"family": "tiny_families:Spot", "hidden": (5, 6)}, "cnn", (5, 6)),
        ({"family": "tiny_families:Spot", "hidden": ()}, "cnn", ()),
        ({"family": "point-goal"}, "mlp", (64, 64)),
        ({"family": "point-goal", "model": "auto"}, "mlp", (64, 64)),
        (IMAGES, "conv4", (64, 64)),
        (IMAGES | {"model": "cnn"}, "cnn", (64,)),
        ({"family": "sinusoid"}, "mlp", (40, 40)),
    ],
)
def test_the_model_and_its_size_are_settled_by_what_is_observed(
    options: dict[str, Any], model: str, hidden: tuple[int, ...]
) -> None:
    found = TrainConfig(algorithm="maml", **options)
    assert (found.model, found.hidden) == (model, hidden)
    assert found == found


def test_a_value_network_reads_images_as_the_policy_does() -> None:
    built = agent(family="tiny_families:Spot", family_arg={}, hidden=(8,), objective="a2c")
    assert isinstance(built.critic, CNN)
    meta, seen = built.initial_meta(), torch.randint(256, (5, 1, 7, 7), dtype=torch.uint8)
    assert values(built.critic)(meta.model, seen).shape == (5,)
    assert not values(built.critic)(meta.model, seen).any()
    assert meta.model["critic.dense.0.weight"].any()


def test_conv4_reads_images_and_has_the_filters_asked_for() -> None:
    module = network(taught(model="conv4", filters=3), Patches(ways=2))
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
        ("cnn", Sinusoid(), "model 'cnn' reads an image"),
        ("mlp", Patches(ways=2), "model 'mlp' reads a one-dimensional Box"),
        ("mlp", with_spaces(PointGoal(), IMAGE, Discrete(2)), "; use cnn"),
        ("cnn", PointGoal(), "; use mlp"),
        (
            "mlp",
            with_spaces(PointGoal(), Box(0, 1, (3, 3), np.float32), Discrete(2)),
            "; give a network of your own by --model module:factory",
        ),
        (
            "cnn",
            with_spaces(PointGoal(), Box(0, 1, (7, 7, 3), np.float32), Discrete(2)),
            "channels come first",
        ),
        (
            "conv4",
            with_spaces(PointGoal(), IMAGE, PointGoal().action_space),
            "'conv4' gives logits of one choice",
        ),
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
        (
            "mlp",
            with_spaces(Blobs(), Box(0, 1, (2,), np.float32), MultiDiscrete([2, 2])),
            "has labels in MultiDiscrete([2 2]); allowed: Discrete, a one-dimensional Box",
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
    built = pupil(adapts=adapts, inner_lr=0.1)
    assert built.adapting == names
    params = built.initial_meta().model
    rule = built.rule
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


# A value network beside the policy ---------------------------------------------------------------


def test_a_value_network_begins_with_nothing_to_say() -> None:
    """Drawn like a policy's it would begin with values of tenths of the largest return, and drown rewards."""
    built = agent(objective="a2c")
    assert built.critic is not None
    meta = built.initial_meta()
    assert not values(built.critic)(meta.model, torch.randn(5, 2)).any()
    assert meta.model["critic.0.weight"].any()
    assert agent(objective="a2c", adapts="head").adapting == (
        *("net.2.weight", "net.2.bias"),
        *("critic.2.weight", "critic.2.bias"),
    )


def test_weights_are_read_whether_or_not_they_have_a_value_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = {name: torch.full_like(p, 0.5) for name, p in agent(objective="a2c").initial_meta().model.items()}
    policy = {name: p for name, p in drawn.items() if not name.startswith("critic.")}
    save_file(drawn, tmp_path / "both")
    save_file(policy, tmp_path / "policy")
    both, alone = str(tmp_path / "both"), str(tmp_path / "policy")
    assert same(starting_meta(agent(objective="a2c", init_from=both)).model, drawn)
    assert capsys.readouterr().err == ""
    assert same(starting_meta(agent(init_from=both)).model, policy)
    assert "has a value network, which is left out" in capsys.readouterr().err
    built = agent(objective="a2c", init_from=alone)
    assert same(starting_meta(built).model, built.initial_meta().model | policy)
    assert "has no value network; it starts anew" in capsys.readouterr().err


class Taken(GaussianMLP):
    """A policy with a part that is called as the value network is; ``taken`` makes one."""

    def __init__(self) -> None:
        super().__init__(2, 2, (8,))
        self.critic = nn.Linear(2, 2)


def taken(observation_space: Any, action_space: Any) -> nn.Module:
    return Taken()


def test_a_policy_with_a_part_of_that_name_is_refused() -> None:
    with pytest.raises(RequestError, match=r"parameter critic.weight has a name that .* baseline linear"):
        agent(objective="a2c", model=f"{__name__}:taken")
    assert "critic.weight" in agent(model=f"{__name__}:taken").initial_meta().model
