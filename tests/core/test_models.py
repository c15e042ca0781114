"""Networks called with their parameters as an argument."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import reference
from metarl.core.distributions import Categorical, DiagGaussian, MultiCategorical
from metarl.core.errors import RequestError
from metarl.core.models import MLP, Choices, GaussianMLP, functional, initial_params, policy, policy_of_tasks
from metarl.core.params import leaves
from tiny import close, model, network, randn


@pytest.mark.parametrize("kind", ["gaussian", "categorical"])
def test_a_policy_equals_the_network_written_out(kind: str) -> None:
    apply, params = model(kind)
    obs = randn(1, 5, 2)
    for fast, slow in zip(apply(params, obs), reference.policy(params, obs), strict=True):
        close(fast, slow)


def test_a_module_that_returns_a_pair_is_gaussian_and_one_that_returns_logits_is_categorical() -> None:
    for kind, expected in (("gaussian", DiagGaussian), ("categorical", Categorical)):
        apply, params = model(kind)
        assert isinstance(apply(params, randn(1, 5, 2)), expected)


def test_a_module_that_returns_a_distribution_is_taken_at_its_word() -> None:
    """Two choices are no mean with its standard deviation, though they are a pair of tensors."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(2, 3), nn.Linear(2, 3)

        def forward(self, x: torch.Tensor) -> MultiCategorical:
            return MultiCategorical((self.left(x), self.right(x)))

    module, obs = Pair().double(), randn(1, 5, 2)
    params = initial_params(module)
    found = policy(module)(params, obs)
    assert isinstance(found, MultiCategorical)
    close(found.logits[1], module.right(obs))
    each = {name: torch.stack([p, p + 1]) for name, p in params.items()}
    of_tasks = policy_of_tasks(module)(each, torch.stack([obs, obs]))
    assert isinstance(of_tasks, MultiCategorical)
    close(of_tasks.logits[0][0], module.left(obs))


def test_the_outputs_of_choices_are_each_component_s_logits_in_turn() -> None:
    module = Choices(MLP(2, (4,), 7), [4, 1, 2]).double()
    obs = randn(1, 5, 2)
    found, outputs = module(obs), module.net(obs)
    assert [x.shape[-1] for x in found.logits] == [4, 1, 2]
    close(torch.cat(found.logits, -1), outputs)


def test_the_parameters_given_are_used_and_the_module_s_own_are_left_alone() -> None:
    module = network("categorical")
    call, own = functional(module), initial_params(module)
    other = {name: p + 1 for name, p in own.items()}
    x = randn(1, 5, 2)
    assert not torch.allclose(call(other, x), module(x))
    close(call(own, x), module(x))


def test_initial_params_are_values() -> None:
    module = network()
    params = initial_params(module)
    assert set(params) == {name for name, _ in module.named_parameters()}
    with torch.no_grad():
        for p in module.parameters():
            p += 1
    assert all(not p.requires_grad for p in params.values())
    assert all(torch.equal(p + 1, dict(module.named_parameters())[name]) for name, p in params.items())


@pytest.mark.parametrize(
    ("kind", "shortcut"),
    [("gaussian", True), ("categorical", True), ("choices", True), ("categorical", False)],
)
def test_a_policy_of_tasks_gives_each_task_its_own_parameters(kind: str, shortcut: bool) -> None:
    apply, params = model(kind)
    module = network(kind) if shortcut else nn.Sequential(*network("categorical"))
    tasks = {name: torch.stack([p, 2 * p, p - 1]) for name, p in params.items()}
    assert hasattr(module, "forward_tasks") is shortcut
    obs = randn(1, 3, 5, 2)
    together = policy_of_tasks(module)(tasks, obs)
    for i in range(3):
        alone = apply({name: p[i] for name, p in tasks.items()}, obs[i])
        assert type(together) is type(alone)
        for fast, slow in zip(leaves(together), leaves(alone), strict=True):
            close(fast[i], slow)


def test_threads_do_not_see_each_other_s_parameters() -> None:
    apply, params = model("categorical")
    x = randn(1, 64, 2)
    sets = [{name: p + 0.1 * i for name, p in params.items()} for i in range(8)]
    alone = [apply(p, x).logits for p in sets]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda p: [apply(p, x).logits for _ in range(25)], sets))
    for expected, found in zip(alone, together, strict=True):
        assert all(torch.equal(expected, one) for one in found)


def test_the_standard_deviation_starts_as_asked_and_never_reaches_zero() -> None:
    module = GaussianMLP(2, 3, hidden=(4,), init_std=0.5)
    apply, params = policy(module), initial_params(module)
    obs = torch.zeros(5, 2)
    assert apply(params, obs).log_std.exp().tolist() == [pytest.approx([0.5] * 3)] * 5
    params["log_std"] = torch.full((3,), -100.0)
    assert apply(params, obs).log_std.exp().tolist() == [pytest.approx([1e-6] * 3)] * 5


def test_the_initial_standard_deviation_is_one() -> None:
    assert initial_params(GaussianMLP(2, 3))["log_std"].tolist() == [0.0] * 3


def test_mlp_starts_with_xavier_weights_and_no_bias() -> None:
    torch.manual_seed(0)
    layers = [layer for layer in MLP(30, (50, 40), 20) if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(30, 50), (50, 40), (40, 20)]
    for layer in layers:
        bound = math.sqrt(6 / (layer.in_features + layer.out_features))
        assert 0.98 * bound < float(layer.weight.detach().abs().max()) <= bound
        assert not bool(layer.bias.any())


def test_activation_is_a_choice() -> None:
    names = [type(layer).__name__ for layer in MLP(2, (4, 4), 1, "relu")]
    assert names == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]


def test_a_network_with_running_statistics_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match="running_mean"):
        initial_params(nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4)))


def test_an_output_that_is_no_policy_is_refused() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": x}

    with pytest.raises(RequestError, match="Odd returned dict"):
        policy(Odd())({}, torch.zeros(1, 2))
