"""State-value baselines, fitted per task on the batch they serve, outside every loss."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from metarl.core.batch import Episodes
from metarl.core.returns import discounted_returns, gae, normalise


def linear_features(obs: Float[Tensor, "*b obs"], time: Float[Tensor, "*#b"]) -> Float[Tensor, "*b feature"]:
    """Observation clipped to ±10, its square, t/100 with its square and cube, and 1 (Duan et al. 2016).

    Float64, since the normal equations square the condition number.
    """
    obs = obs.double().clamp(-10, 10)
    t = time.double().unsqueeze(-1) / 100
    clock = torch.cat([t, t**2, t**3, torch.ones_like(t)], -1)
    return torch.cat([obs, obs**2, clock.expand(*obs.shape[:-1], 4)], -1)


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


def with_advantage(batch: Episodes, gamma: float, lam: float) -> tuple[Episodes, Float[Tensor, "*task"]]:
    """The batch with normalised advantages, and the share of the returns' variance the baseline explains.

    The linear baseline is fitted on this very batch, per task. An episode that time cut short is worth
    nothing afterwards: the horizon belongs to the objective, as in the published runs. (This baseline could
    not value what follows: it is fitted to returns that end at the horizon, and sees the time.)
    """
    mask = batch.mask.double()
    lead = mask.ndim
    time = torch.arange(mask.shape[-1], device=mask.device).double()
    obs = batch.obs.unsqueeze(-1) if batch.obs.ndim == lead else batch.obs.flatten(lead)
    features = linear_features(obs, time)
    returns = discounted_returns(batch.reward.double(), mask, gamma)
    weights = fit_linear(features, mask, returns)
    value = torch.einsum("...etf,...f->...et", features, weights)
    final_value = torch.zeros_like(value[..., 0])
    advantage = gae(batch.reward.double(), value, final_value, batch.terminated, mask, gamma, lam)
    advantage = normalise(advantage, mask).to(batch.reward.dtype)
    return dataclasses.replace(batch, advantage=advantage), explained_variance(value, returns, mask)


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
