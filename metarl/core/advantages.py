"""State-value baselines, fitted per task on the batch they serve, outside every loss."""

import dataclasses
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from metarl.core.batch import Episodes
from metarl.core.returns import discounted_returns, gae, normalise, spread

GRID = 3  # regions a side whose means stand for an image
IMAGES_AT_ONCE = 256  # bounds memory, not results


def linear_features(obs: Float[Tensor, "*b obs"], time: Float[Tensor, "*#b"]) -> Float[Tensor, "*b feature"]:
    """Observation clipped to ±10, its square, t/100 with its square and cube, and 1 (Duan et al. 2016).

    Float64, since the normal equations square the condition number.
    """
    obs = obs.double().clamp(-10, 10)
    return torch.cat([obs, obs**2, _clock(time).expand(*obs.shape[:-1], 4)], -1)


def image_features(
    obs: Shaped[Tensor, "*b channel height width"], time: Float[Tensor, "*#b"]
) -> Float[Tensor, "*b feature"]:
    """Means of each channel over a grid of 3×3 (bytes divided by 255), t/100 with its square and cube, and 1.

    All pixels of an 84×84 image would be more features than a task has steps. On a moving spot of 7×7 or
    84×84 pixels, with 20 episodes of 12 or 50 steps, means over 3×3 explained most of the returns of fresh
    episodes (of 12 steps at 7×7 pixels 0.30 of their variance; over 4×4 0.26, over 2×2 0.21, all pixels 0.28,
    the clock alone less than nothing); squares of the means added nothing.
    """
    pieces = obs.reshape(-1, *obs.shape[-3:]).split(IMAGES_AT_ONCE)
    means = torch.cat([_means(piece) for piece in pieces]).reshape(*obs.shape[:-3], -1)
    return torch.cat([means, _clock(time).expand(*means.shape[:-1], 4)], -1)


def _means(images: Shaped[Tensor, "image channel height width"]) -> Float[Tensor, "image mean"]:
    x = images.float() / 255 if images.dtype == torch.uint8 else images
    return F.adaptive_avg_pool2d(x, GRID).flatten(1).double().clamp(-10, 10)


def _clock(time: Float[Tensor, "*b"]) -> Float[Tensor, "*b 4"]:
    t = time.double().unsqueeze(-1) / 100
    return torch.cat([t, t**2, t**3, torch.ones_like(t)], -1)


def fit_linear(
    features: Float[Tensor, "*task episode time feature"],
    mask: Float[Tensor, "*task episode time"],
    returns: Float[Tensor, "*task episode time"],
    ridge: float = 1e-5,
) -> Float[Tensor, "*task feature"]:
    """Ridge regression of returns on features over each task's valid steps, all tasks in one solve."""
    x = (features * mask.unsqueeze(-1)).flatten(-3, -2)
    y = (returns * mask).flatten(-2, -1).unsqueeze(-1)
    gram = x.mT @ x + ridge * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    weights: Tensor = torch.linalg.solve(gram, x.mT @ y)
    return weights.squeeze(-1)


class Estimate(NamedTuple):
    """What the estimation of advantages found out about each task.

    Attributes:
        explained: the share of the returns' variance that the baseline explains. Where a value network goes
            on from a cut episode's end, its own value of the end is a part of these returns.
        start_return: mean discounted return of an episode, of what happened alone.
        std: standard deviation of the advantages before they were normalised.
    """

    explained: Float[Tensor, "*task"]
    start_return: Float[Tensor, "*task"]
    std: Float[Tensor, "*task"]


def with_advantage(batch: Episodes, gamma: float, lam: float) -> tuple[Episodes, Estimate]:
    """The batch with normalised advantages from the linear baseline, and what was found out.

    The baseline is fitted on this very batch, per task. An episode that time cut short is worth nothing
    afterwards: the horizon belongs to the objective, as in the published runs. (This baseline could not value
    what follows: it is fitted to returns that end at the horizon, and sees the time.)
    """
    mask = batch.mask.double()
    lead = mask.ndim
    time = torch.arange(mask.shape[-1], device=mask.device).double()
    if batch.obs.ndim == lead + 3:
        features = image_features(batch.obs, time)
    else:
        obs = batch.obs.unsqueeze(-1) if batch.obs.ndim == lead else batch.obs.flatten(lead)
        features = linear_features(obs, time)
    returns = discounted_returns(batch.reward.double(), mask, gamma)
    weights = fit_linear(features, mask, returns)
    value = torch.einsum("...etf,...f->...et", features, weights)
    return _judged(batch, value, torch.zeros_like(value[..., 0]), returns, gamma, lam)


def with_critic_advantage(
    batch: Episodes,
    value: Float[Tensor, "*task episode time"],
    final_value: Float[Tensor, "*task episode"],
    gamma: float,
    lam: float,
) -> tuple[Episodes, Estimate]:
    """The batch with normalised advantages from a value network, and with ``target``, what that network has
    to learn: the λ-returns, Âₜ + V(sₜ) (Schulman et al. 2016), in ``value_unit``.

    Args:
        value: the network's, of each observation.
        final_value: its value of ``final_obs``. An episode that time cut short goes on being worth that
            (bootstrapping): the network sees no time, and a task does not end where an episode is cut.
    """
    unit, mask = value_unit(gamma, batch.mask.shape[-1]), batch.mask.double()
    value, final_value = value.double() / unit, final_value.double() / unit
    follows = torch.where(batch.terminated.any(-1), 0.0, final_value)
    returns = discounted_returns(batch.reward.double(), mask, gamma, follows)
    return _judged(batch, value, final_value, returns, gamma, lam)


def value_unit(gamma: float, horizon: int) -> float:
    """What a value network's outputs are multiples of: values times 1 − γ, or, without discounting, divided
    by the horizon. They are then about as large as a reward, whatever the length of the episodes, so that one
    step size serves policy and values.
    """
    return 1 - gamma if gamma < 1 else 1 / horizon


def _judged(
    batch: Episodes,
    value: Float[Tensor, "*task episode time"],
    final_value: Float[Tensor, "*task episode"],
    returns: Float[Tensor, "*task episode time"],
    gamma: float,
    lam: float,
) -> tuple[Episodes, Estimate]:
    mask = batch.mask.double()
    advantage = gae(batch.reward.double(), value, final_value, batch.terminated, mask, gamma, lam)
    happened = discounted_returns(batch.reward.double(), mask, gamma)[..., 0]
    found = Estimate(explained_variance(value, returns, mask), happened.mean(-1), spread(advantage, mask))
    target = (advantage + value) * mask * value_unit(gamma, mask.shape[-1])
    estimated = {"advantage": normalise(advantage, mask), "target": target}
    single = {name: x.to(batch.reward.dtype) for name, x in estimated.items()}
    return dataclasses.replace(batch, **single), found


def explained_variance(
    value: Float[Tensor, "*task episode time"],
    returns: Float[Tensor, "*task episode time"],
    mask: Float[Tensor, "*task episode time"],
) -> Float[Tensor, "*task"]:
    """1 − Var(G − V) / Var(G) over each task's valid steps; 0 where the returns do not vary."""
    n = mask.sum((-2, -1), keepdim=True).clamp(min=1.0)

    def sum_of_squares(x: Tensor) -> Tensor:
        centred = (x - (x * mask).sum((-2, -1), keepdim=True) / n) * mask
        return (centred**2).sum((-2, -1))

    total, unexplained = sum_of_squares(returns), sum_of_squares(returns - value)
    rounding = 1e-12 * (returns**2 * mask).sum((-2, -1))
    varies = total > rounding
    return torch.where(varies, 1 - unexplained / torch.where(varies, total, 1.0), 0.0)
