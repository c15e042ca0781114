"""Networks as rollouts call them: the same numbers, sooner."""

import pytest
import torch
from torch import nn

from metarl.core.cnn import CNN
from metarl.core.models import MLP, GaussianMLP, initial_params, policy_of_tasks
from metarl.core.params import Params, leaves
from metarl.rollout.acting import acting, for_rollouts
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


class Owned(nn.Module):
    """A network of a user's: convolutions where it reads images, and no ``forward_tasks``."""

    def __init__(self, image: bool) -> None:
        super().__init__()
        front = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(-3)] if image else []
        self.net = nn.Sequential(*front, nn.Linear(200 if image else 17, 64), nn.Tanh(), nn.Linear(64, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (GaussianMLP(17, 6), (17,)),
        (Owned(False), (17,)),
        (Owned(True), (3, 7, 7)),
        (CNN((3, 7, 7), 4), (3, 7, 7)),
    ],
    ids=["mlp", "own", "own images", "cnn"],
)
def test_a_task_is_served_alike_whichever_tasks_are_beside_it(
    module: nn.Module, shape: tuple[int, ...], rows: int
) -> None:
    """Networks of usual sizes: small ones never reach the kernels that differ."""
    tasks, act = 12, acting(module)
    torch.manual_seed(0)
    params = {name: p + 0.1 * torch.randn(tasks, *p.shape) for name, p in initial_params(module).items()}
    obs = torch.randn(tasks, rows, *shape)
    with torch.no_grad():
        whole = act(params, obs)
        assert leaves(whole)[0].shape[:2] == (tasks, rows)
        for share in (slice(a, b) for a in range(tasks) for b in range(a + 2, tasks + 1)):
            alone = act({name: p[share].clone() for name, p in params.items()}, obs[share].clone())
            for found, expected in zip(leaves(alone), leaves(whole), strict=True):
                assert torch.equal(found, expected[share])


def test_rows_that_are_added_for_the_kernels_are_not_seen() -> None:
    module = GaussianMLP(3, 2)
    params, obs = of_three_tasks(module), randn(1, 3, 2, 3).float()
    found, plain = acting(module)(params, obs), policy_of_tasks(module)(params, obs)
    for one, other in zip(leaves(found), leaves(plain), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_network_of_one_s_own_and_the_given_one_stay_as_they_are() -> None:
    own = nn.Sequential(
        nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)
    )  # runs under vmap, which NumPy would break
    assert for_rollouts(own) is own
    module = MLP(2, (4,), 2)
    for_rollouts(module)
    assert type(module[1]) is nn.Tanh
