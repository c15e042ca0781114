"""A policy as Stable-Baselines3's users know it."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from metarl.core.errors import RequestError
from metarl.core.models import MLP, Choices, GaussianMLP, initial_params, policy
from metarl.run.use.policy import Policy

OBS = Box(-np.inf, np.inf, (3,), np.float32)
ACTIONS = Box(np.array([-0.4, -1.0], np.float32), np.array([0.4, 1.0], np.float32))
BATCH = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


def gaussian(seed: int = 0) -> tuple[GaussianMLP, Policy]:
    torch.manual_seed(0)
    module = GaussianMLP(3, 2, (4,), init_std=0.5)
    return module, Policy(policy(module), initial_params(module), OBS, ACTIONS, seed)


def categorical(start: int = 0, seed: int = 0) -> tuple[MLP, Policy]:
    torch.manual_seed(0)
    module = MLP(3, (4,), 3)
    return module, Policy(policy(module), initial_params(module), OBS, Discrete(3, start=start), seed)


def test_one_observation_gives_one_action_and_a_batch_gives_a_batch() -> None:
    _, made = gaussian()
    for observation, shape in ((BATCH[0], (2,)), (BATCH, (50, 2)), (BATCH[:1], (1, 2))):
        state = object()
        action, after = made.predict(observation, state, episode_start=np.ones(1))
        assert action.shape == shape and after is state
    assert made.predict(BATCH[0].tolist())[0].dtype == np.float32
    _, made = categorical()
    assert made.predict(BATCH[0])[0].shape == ()
    assert made.predict(BATCH)[0].shape == (50,)
    assert made.predict(BATCH)[0].dtype == np.int64


def test_deterministic_is_the_most_likely_action_inside_the_space() -> None:
    module, made = gaussian()
    mean = module(torch.from_numpy(BATCH))[0].detach().numpy()
    assert (np.abs(mean[:, 0]) > 0.4).any()
    action, _ = made.predict(BATCH, deterministic=True)
    np.testing.assert_allclose(action, mean.clip(ACTIONS.low, ACTIONS.high), rtol=1e-6)
    np.testing.assert_array_equal(made.predict(BATCH, deterministic=True)[0], action)
    for i in (0, 7):
        np.testing.assert_allclose(made.predict(BATCH[i], deterministic=True)[0], action[i], rtol=1e-5)
    module, made = categorical()
    expected = module(torch.from_numpy(BATCH)).argmax(-1).numpy()
    np.testing.assert_array_equal(made.predict(BATCH, deterministic=True)[0], expected)


def test_random_actions_have_the_policy_s_distribution() -> None:
    module, made = gaussian()
    obs = np.zeros((20_000, 3), np.float32)  # biases are zero: so is the mean
    action, _ = made.predict(obs)
    assert ACTIONS.contains(action[0])
    assert np.abs(action[:, 0]).max() == np.float32(0.4)
    inner = action[:, 1]
    assert np.abs(inner.mean()) < 0.02
    assert (np.abs(inner) < 0.5).mean() == pytest.approx(0.6827, abs=0.015)
    module, made = categorical()
    chosen, _ = made.predict(np.tile(BATCH[:1], (20_000, 1)))
    p = torch.softmax(module(torch.from_numpy(BATCH[:1])), -1)[0].detach().numpy()
    np.testing.assert_allclose(np.bincount(chosen, minlength=3) / 20_000, p, atol=0.015)


def test_policies_made_alike_act_alike_and_go_on() -> None:
    (_, a), (_, b), (_, c) = gaussian(1), gaussian(1), gaussian(2)
    first = a.predict(BATCH[0])[0]
    np.testing.assert_array_equal(first, b.predict(BATCH[0])[0])
    assert (first != c.predict(BATCH[0])[0]).any()
    assert (first != a.predict(BATCH[0])[0]).any()


def test_discrete_actions_are_numbered_as_the_space_numbers_them() -> None:
    module, made = categorical(start=5)
    expected = module(torch.from_numpy(BATCH)).argmax(-1).numpy() + 5
    np.testing.assert_array_equal(made.predict(BATCH, deterministic=True)[0], expected)
    assert set(made.predict(BATCH)[0].tolist()) == {5, 6, 7}
    assert Discrete(3, start=5).contains(made.predict(BATCH[0])[0])


def test_several_choices_at_once() -> None:
    torch.manual_seed(0)
    module, space = Choices(MLP(3, (4,), 5), [3, 2]), MultiDiscrete([3, 2], start=[5, 1])
    made = Policy(policy(module), initial_params(module), OBS, space)
    logits = module(torch.from_numpy(BATCH)).logits
    expected = torch.stack([x.argmax(-1) for x in logits], -1).numpy() + np.array([5, 1])
    np.testing.assert_array_equal(made.predict(BATCH, deterministic=True)[0], expected)
    one, _ = made.predict(BATCH[0])
    assert one.shape == (2,) and one.dtype == np.int64 and space.contains(one)
    chosen, _ = made.predict(np.tile(BATCH[:1], (20_000, 1)))
    assert chosen.shape == (20_000, 2)
    pairs = np.bincount(2 * (chosen[:, 0] - 5) + chosen[:, 1] - 1, minlength=6) / 20_000
    p, q = (torch.softmax(x[0], -1).detach().numpy() for x in logits)
    np.testing.assert_allclose(pairs, np.outer(p, q).flatten(), atol=0.015)


def test_observations_in_double_precision_are_read_in_single() -> None:
    module, made = gaussian()
    double = Policy(policy(module), made.params, Box(-9.0, 9.0, (3,), np.float64), ACTIONS)
    expected, _ = made.predict(BATCH, deterministic=True)
    np.testing.assert_array_equal(double.predict(BATCH.astype(float), deterministic=True)[0], expected)


@pytest.mark.parametrize("shape", [(), (2,), (4,), (5, 4), (2, 5, 3)])
def test_observations_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    _, made = gaussian()
    with pytest.raises(RequestError, match=r"observation has shape .*; allowed: \(3,\) or ") as caught:
        made.predict(np.zeros(shape))
    assert str(shape) in str(caught.value)


def test_saving_writes_plain_safetensors(tmp_path: Path) -> None:
    module, made = gaussian()
    path = made.save(tmp_path / "policy.safetensors")
    found = safetensors.torch.load_file(path)
    assert found.keys() == dict(module.named_parameters()).keys()
    assert all(torch.equal(found[name], value) for name, value in module.named_parameters())
