"""Networks as rollouts call them: the same numbers, sooner."""

import torch
from torch import nn

from metarl.core.models import MLP, GaussianMLP, initial_params, policy_of_tasks
from metarl.core.params import Params
from metarl.rollout.acting import for_rollouts
from tiny import randn


def of_three_tasks(module: nn.Module) -> Params:
    return {name: torch.stack([p, 2 * p, p - 1]) for name, p in initial_params(module).items()}


def test_a_network_for_rollouts_gives_the_numbers_of_the_network() -> None:
    module = GaussianMLP(3, 2, hidden=(5, 7))
    params, obs = of_three_tasks(module), randn(1, 3, 11, 3).float()
    quick, plain = policy_of_tasks(for_rollouts(module)), policy_of_tasks(module)
    for found, expected in zip(quick(params, obs), plain(params, obs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_an_activation_is_the_same_to_the_bit_wherever_it_stands_in_a_batch() -> None:
    tanh = next(part for part in for_rollouts(MLP(1, (1,), 1)).modules() if isinstance(part, nn.Tanh))
    assert type(tanh) is not nn.Tanh
    x = randn(2, 1003).float()
    whole = tanh(x)
    torch.testing.assert_close(whole, torch.tanh(x), rtol=3e-7, atol=0)
    for n in (1, 2, 3, 7, 17, 501):
        assert torch.equal(tanh(x[:n].clone()), whole[:n])
        assert torch.equal(tanh(x[-n:].clone()), whole[-n:])


def test_a_network_of_one_s_own_and_the_given_one_stay_as_they_are() -> None:
    own = nn.Sequential(
        nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)
    )  # runs under vmap, which NumPy would break
    assert for_rollouts(own) is own
    module = MLP(2, (4,), 2)
    for_rollouts(module)
    assert type(module[1]) is nn.Tanh
