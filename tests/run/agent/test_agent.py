"""What a configuration stands for: network, initial weights, chunks and the parts of an algorithm."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from metarl.core.distributions import Categorical, DiagGaussian
from metarl.core.errors import RequestError
from metarl.core.params import expand, ravel, tree_map
from metarl.learn.adapt import Adaptation, unroll
from metarl.learn.learners import learners
from metarl.learn.maml import maml
from metarl.learn.trust_region import TrustRegion
from metarl.run.agent.agent import build_agent
from metarl.run.config.devices import usable_cores
from metarl.run.use.policy import Policy
from tiny_runs import agent, gathered, meta_of, same, starting_meta, tiny

# Initial weights ---------------------------------------------------------------------------------


def test_weights_are_xavier_uniform_biases_zero_and_the_deviation_as_asked() -> None:
    params = starting_meta(agent(hidden=(64, 32), init_std=0.5)).model
    for name, (fan_in, fan_out) in {"net.0": (2, 64), "net.2": (64, 32), "net.4": (32, 2)}.items():
        weight, bound = params[f"{name}.weight"], math.sqrt(6 / (fan_in + fan_out))
        assert weight.shape == (fan_out, fan_in)
        assert 0.9 * bound < weight.abs().max() <= bound
        assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.15)
        assert not params[f"{name}.bias"].any()
    torch.testing.assert_close(params["log_std"], torch.tensor([0.5, 0.5]).log())


def test_weights_depend_on_the_seed_and_on_nothing_else() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = starting_meta(agent())
    assert torch.equal(torch.get_rng_state(), before)  # the user's own draws go on as they were
    torch.manual_seed(2)
    assert same(first, starting_meta(agent(tasks=7, chunk=3, inner_lr=0.7)))
    assert not same(first, starting_meta(agent(seed=4)))


def test_weights_come_back_from_a_saved_policy(tmp_path: Path) -> None:
    built = agent()
    meta = tree_map(lambda x: x + 1, starting_meta(built))
    family = built.family
    policy = Policy(built.apply, meta.model, family.observation_space, family.action_space)
    path = policy.save(tmp_path / "policy.safetensors")
    assert same(starting_meta(agent(init_from=str(path), seed=9)), meta)


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({}, "has nothing for log_std, the network has [2]"),
        (
            {"log_std": torch.zeros(2), "net.0.bias": torch.zeros(9)},
            "has [9] for net.0.bias, the network has [8]",
        ),
        ({"another": torch.zeros(3)}, "has [3] for another, the network has nothing"),
    ],
)
def test_weights_of_another_network_are_refused_and_both_sides_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor], told: str
) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(RequestError) as caught:
        starting_meta(agent(init_from=str(path)))
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


def test_a_file_that_is_absent_or_no_safetensors_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no weights")
    for name, told in {"absent": "does not exist", "text": "is not a safetensors file"}.items():
        with pytest.raises(RequestError, match=told) as caught:
            starting_meta(agent(init_from=str(tmp_path / name)))
        assert "\n" not in str(caught.value)


# Networks ----------------------------------------------------------------------------------------


def test_the_action_space_decides_the_policy() -> None:
    obs = torch.zeros(5, 2)
    built = agent()
    gaussian = built.apply(starting_meta(built).model, obs)
    assert isinstance(gaussian, DiagGaussian)
    assert gaussian.mean.shape == (5, 2)
    built = agent(family="tiny_families:Corridor")
    categorical = built.apply(starting_meta(built).model, obs[:, :1])
    assert isinstance(categorical, Categorical)
    assert categorical.logits.shape == (5, 3)


def test_hidden_layers_and_activation_are_those_asked_for() -> None:
    built = agent(hidden=(5, 6), activation="relu")
    params = starting_meta(built).model
    torch.manual_seed(0)
    params = tree_map(lambda x: x + torch.randn_like(x), params)
    x, layer = torch.randn(7, 2), nn.functional.linear
    h = layer(x, params["net.0.weight"], params["net.0.bias"]).relu()
    h = layer(h, params["net.2.weight"], params["net.2.bias"]).relu()
    mean = layer(h, params["net.4.weight"], params["net.4.bias"])
    torch.testing.assert_close(built.apply(params, x).mean, mean)
    acted = built.apply_tasks(expand(params, 3), x.expand(3, 7, 2))
    torch.testing.assert_close(acted.mean, mean.expand(3, 7, 2))


# Parts -------------------------------------------------------------------------------------------


def test_first_order_cuts_the_derivative_of_the_inner_gradient_and_nothing_else() -> None:
    found = {}
    for algorithm in ("maml", "fomaml"):
        built = agent(algorithm=algorithm)
        data = gathered(built, [0.5]).data
        meta = tree_map(lambda x: x.requires_grad_(), expand(meta_of(built), 4))
        adapted = unroll(built.adaptations([0.5], 1)[0], meta, data.support).params
        total = sum(x.sum() for x in adapted.values())
        found[algorithm] = adapted, torch.autograd.grad(total, list(meta.model.values()))
    assert same(found["maml"][0], found["fomaml"][0])
    for first, second in zip(found["fomaml"][1], found["maml"][1], strict=True):
        assert torch.equal(first, torch.ones_like(first))
        assert not torch.equal(first, second)


def test_each_inner_step_has_its_step_size_and_the_last_serves_the_rest() -> None:
    built = agent()
    meta, batch = meta_of(built), tree_map(lambda x: x[0], gathered(built, [0.1]).data.query)

    def length(adaptation: Adaptation) -> float:
        inner, _ = adaptation.step(meta, adaptation.begin(meta), batch)
        return float(ravel(inner.params).sub(ravel(meta.model)).norm())

    lengths = [length(adaptation) for adaptation in built.adaptations([0.1, 0.2], 4)]
    one = length(built.adaptations([1.0], 1)[0])
    assert lengths == pytest.approx([one * lr for lr in (0.1, 0.2, 0.2, 0.2)], 1e-4)
    assert built.adaptations([0.1], 0) == []


def test_what_is_measured_is_what_the_family_says() -> None:
    assert agent().metrics == ("return",)
    bells = agent(family="tiny_families:Bells")
    assert (bells.metric, bells.metrics) == ("success", ("success", "return"))
    assert agent(family="tiny_families:Bells", observe_task=True).metric == "success"
    with pytest.raises(RequestError, match="family 'bells' has the metric 'mse'; allowed: success, return"):
        agent(family="tiny_families:Bells", family_arg={"metric": "mse"})


def test_an_oracle_observes_the_task() -> None:
    built = agent(observe_task=True)
    assert built.family.observation_space.shape == (4,)
    assert starting_meta(built).model["net.0.weight"].shape == (8, 4)
    env = built.family.make_vec(2)
    goals = np.array([[0.1, 0.2], [0.3, -0.4]])
    obs, _ = env.reset(seed=0, options={"task": {"goal": goals}})
    np.testing.assert_allclose(obs[:, 2:], goals, rtol=1e-6)
    assert agent().family.observation_space.shape == (2,)


def test_configuration_holds_what_was_chosen() -> None:
    config = build_agent(tiny(chunk=None, threads=None, device="auto")).config
    assert config.device in ("cpu", "cuda")
    assert config.chunk >= 2
    assert config.threads >= 1
    assert (config.executor, config.workers) == ("inline", usable_cores())


@pytest.mark.parametrize("observe_task", [False, True])
def test_environments_stepped_in_python_get_workers(observe_task: bool) -> None:
    many = agent(family="python_stepped:Stroll", workers=2, observe_task=observe_task)
    assert many.config.executor == "processes"
    assert many.where == (
        "device cpu (asked for), 1 threads, chunks of 2 tasks, "
        "executor processes with 2 workers (auto: environments stepped in Python)"
    )
    one = agent(family="python_stepped:Stroll", workers=1, observe_task=observe_task)
    assert one.where.endswith(", executor inline (auto: one core)")


@pytest.mark.parametrize(("horizon", "stride"), [(100, 4), (30, 3), (19, 1), (2, 1)])
def test_short_episodes_are_not_thinned_to_their_first_steps(
    horizon: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two steps every fourth is the first alone, where the curvature may see a single state."""
    found: list[Any] = []

    def spy(*arguments: Any, trust_region: TrustRegion) -> Any:
        found.append(trust_region)
        return maml(*arguments, trust_region=trust_region)

    monkeypatch.setitem(learners._parts, "maml", spy)
    for strides in ({"support_stride": 2}, {}, {"curvature_stride": 4}):
        assert agent(family_arg={"horizon": horizon}, **strides).learner
    kept = [(region.stride, region.support_stride) for region in found]
    assert kept == [(stride, 2), (stride, stride), (4, 4)]  # what is asked for is done


@pytest.mark.parametrize("units", [10**15, 10**30])
def test_a_network_that_nothing_can_hold_is_refused_in_one_line(units: int) -> None:
    with pytest.raises(RequestError, match=r"^model 'mlp' cannot be made: \w+Error: ") as caught:
        agent(hidden=(units,))
    assert "\n" not in str(caught.value)
