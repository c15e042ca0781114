"""Distributions against torch.distributions, and the Fisher product against the Hessian of the KL."""

import math
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent, Normal, kl_divergence

from metarl.core.distributions import Categorical, DiagGaussian, Distribution, MultiCategorical
from metarl.core.params import leaves, tree_map
from tiny import close, randn

KINDS = ["gaussian", "categorical", "choices"]
DIMENSIONS = 6  # a mean over dimensions instead of a sum is off by this factor


def gaussian(seed: int) -> DiagGaussian:
    return DiagGaussian(randn(seed, 5, DIMENSIONS), 0.5 * randn(seed + 1, 5, DIMENSIONS))


def as_torch(dist: DiagGaussian) -> Independent:
    return Independent(Normal(dist.mean, dist.log_std.exp()), 1)


def choices(seed: int) -> MultiCategorical:
    """Of 4, of 2 and of 7 possibilities."""
    return MultiCategorical(tuple(randn(seed + i, 5, n) for i, n in enumerate((4, 2, 7))))


def pair(kind: str) -> tuple[Distribution, Distribution]:
    if kind == "gaussian":
        return gaussian(1), gaussian(11)
    if kind == "choices":
        return choices(1), choices(11)
    return Categorical(randn(1, 5, 4)), Categorical(randn(11, 5, 4))


def test_log_prob_is_the_sum_over_action_dimensions() -> None:
    dist, action = gaussian(1), randn(3, 5, DIMENSIONS)
    close(dist.log_prob(action), as_torch(dist).log_prob(action))


def test_gaussian_entropy_and_kl_equal_torch() -> None:
    p, q = gaussian(1), gaussian(11)
    close(p.entropy(), as_torch(p).entropy())
    close(p.kl(q), kl_divergence(as_torch(p), as_torch(q)))


def test_categorical_equals_torch() -> None:
    p, q, action = Categorical(randn(1, 5, 4)), Categorical(randn(2, 5, 4)), torch.tensor([0, 3, 1, 2, 2])
    close(p.log_prob(action), TorchCategorical(logits=p.logits).log_prob(action))
    close(p.entropy(), TorchCategorical(logits=p.logits).entropy())
    close(p.kl(q), kl_divergence(TorchCategorical(logits=p.logits), TorchCategorical(logits=q.logits)))


def test_several_choices_equal_the_sum_over_torch_s() -> None:
    p, q = choices(1), choices(11)
    action = torch.tensor([[0, 1, 6], [3, 0, 0], [1, 1, 2], [2, 0, 5], [2, 1, 3]])
    ours, others = ([TorchCategorical(logits=x) for x in dist.logits] for dist in (p, q))
    close(p.log_prob(action), sum_of(one.log_prob(action[:, i]) for i, one in enumerate(ours)))
    close(p.entropy(), sum_of(one.entropy() for one in ours))
    close(p.kl(q), sum_of(kl_divergence(one, other) for one, other in zip(ours, others, strict=True)))


def sum_of(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum(0)


@pytest.mark.parametrize("kind", KINDS)
def test_kl_of_itself_has_no_value_and_no_gradient(kind: str) -> None:
    p, _ = pair(kind)
    q = tree_map(lambda x: x.clone().requires_grad_(), p)
    divergence = p.kl(q)
    close(divergence, torch.zeros(5, dtype=torch.float64), 1e-12)
    for g in torch.autograd.grad(divergence.sum(), leaves(q)):
        close(g, torch.zeros_like(g), 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_fisher_is_the_hessian_of_the_kl_where_both_agree(kind: str) -> None:
    p, v = pair(kind)
    q = tree_map(lambda x: x.clone().requires_grad_(), p)
    first = torch.autograd.grad(p.kl(q).sum(), leaves(q), create_graph=True)
    dot = sum(((g * t).sum() for g, t in zip(first, leaves(v), strict=True)), torch.zeros(()))
    for product, exact in zip(leaves(p.fisher(v)), torch.autograd.grad(dot, leaves(q)), strict=True):
        close(product, exact)


def test_gaussian_sample_turns_noise_into_its_own_quantiles() -> None:
    # The density at the drawn action is the noise's density, divided by the volume exp(sum log_std).
    dist, noise = gaussian(1), randn(7, 5, DIMENSIONS)
    standard = Normal(0.0, 1.0).log_prob(noise).sum(-1)
    close(dist.log_prob(dist.sample(noise)), standard - dist.log_std.sum(-1))
    close(dist.sample(torch.zeros_like(noise)), dist.mode())
    assert bool((dist.sample(noise + 1) > dist.sample(noise)).all())


def test_gaussian_sample_moments() -> None:
    n = 40_000
    dist = DiagGaussian(
        torch.tensor([1.0, -2.0]).expand(n, 2), torch.tensor([0.0, math.log(3.0)]).expand(n, 2)
    )
    drawn = dist.sample(torch.randn(n, 2, generator=torch.Generator().manual_seed(0)))
    # Standard error of a mean sigma/200, of a standard deviation sigma/283: five of them.
    assert drawn.mean(0).tolist() == pytest.approx([1.0, -2.0], abs=5 * 3 / 200)
    assert drawn.std(0).tolist() == pytest.approx([1.0, 3.0], rel=5 / 283)


def test_categorical_sample_hits_exact_frequencies() -> None:
    p = torch.tensor([0.125, 0.5, 0.25, 0.125], dtype=torch.float64)
    noise = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000  # evenly over [0, 1)
    drawn = Categorical(p.log().expand(1000, 4)).sample(noise)
    assert drawn.dtype == torch.int64
    assert torch.bincount(drawn, minlength=4).tolist() == [125, 500, 250, 125]


def test_categorical_sample_at_the_ends_of_the_interval() -> None:
    below_one = math.nextafter(1.0, 0.0)
    logits = randn(3, 200, 7).float()  # sums of float32 probabilities end on either side of 1
    assert bool((Categorical(logits).sample(torch.full((200,), 1 - 2**-24)) == 6).all())
    # An impossible action is not drawn by noise 0 or just under 1 either, whatever the others sum to.
    barred = torch.cat([logits, torch.full_like(logits[..., :1], -math.inf)], -1)
    assert bool((Categorical(barred).sample(torch.full((3, 200), 1 - 2**-24)) == 6).all())
    sides = torch.tensor([[-math.inf, 0.0, 0.0], [0.0, 0.0, -math.inf]], dtype=torch.float64)
    noise = torch.tensor([0.0, below_one], dtype=torch.float64)
    assert Categorical(sides).sample(noise).tolist() == [1, 1]
    huge = torch.tensor([[1000.0, 1000.0], [-1000.0, -1000.0]])  # neither overflows nor vanishes
    assert Categorical(huge).sample(torch.tensor([0.25, 0.75])).tolist() == [0, 1]


def test_each_of_several_choices_is_drawn_by_a_number_of_its_own() -> None:
    """Each pair as often as its probability says, on an even grid over the square."""
    p, q = torch.tensor([0.25, 0.75]), torch.tensor([0.125, 0.5, 0.375])
    u = (torch.arange(40.0) + 0.5) / 40
    noise = torch.stack(torch.meshgrid(u, u, indexing="ij"), -1)
    dist = MultiCategorical((p.log().expand(40, 40, 2), q.log().expand(40, 40, 3)))
    drawn = dist.sample(noise)
    assert drawn.dtype == torch.int64 and drawn.shape == (40, 40, 2)
    counts = torch.bincount((3 * drawn[..., 0] + drawn[..., 1]).flatten(), minlength=6)
    assert counts.tolist() == [10 * 5, 10 * 20, 10 * 15, 30 * 5, 30 * 20, 30 * 15]


@pytest.mark.parametrize("kind", KINDS)
def test_mode_is_the_most_likely_action(kind: str) -> None:
    p, _ = pair(kind)
    others: Tensor = randn(5, 5, DIMENSIONS) if kind == "gaussian" else torch.tensor([0, 1, 2, 3, 0])
    if kind == "choices":
        others = torch.tensor([[0, 1, 6], [3, 0, 0], [1, 1, 2], [2, 0, 5], [2, 1, 3]])
    assert bool((p.log_prob(p.mode()) >= p.log_prob(others)).all())


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_trees_that_pass_through_vmap(kind: str) -> None:
    p, q = pair(kind)
    close(torch.vmap(lambda a, b: a.kl(b))(p, q), p.kl(q))
