"""Advantages of a batch against values that are fitted to it, or a network's; outside every loss."""

import dataclasses
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from metarl.core.batch import Episodes
from metarl.core.returns import discounted_returns, gae, normalise, spread

REGIONS_A_SIDE = 3  # whose means stand for an image
IMAGES_AT_ONCE = 256  # bounds memory, not results


def linear_features(obs: Float[Tensor, "*b obs"], time: Float[Tensor, "*#b"]) -> Float[Tensor, "*b feature"]:
    """Return the observation clipped to ±10, its square, t/100, t²/10⁴, t³/10⁶ and 1 (Duan et al. 2016).

    Float64, since the normal equations square the condition number.
    """
    obs = obs.double().clamp(-10, 10)
    return torch.cat([obs, obs**2, _clock(time).expand(*obs.shape[:-1], 4)], -1)


def image_features(
    obs: Shaped[Tensor, "*b channel height width"], time: Float[Tensor, "*#b"]
) -> Float[Tensor, "*b feature"]:
    """Return means of each channel over 3×3 regions (bytes count 1/255), t/100, t²/10⁴, t³/10⁶ and 1.

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
    return F.adaptive_avg_pool2d(x, REGIONS_A_SIDE).flatten(1).double().clamp(-10, 10)


def _clock(time: Float[Tensor, "*b"]) -> Float[Tensor, "*b 4"]:
    t = time.double().unsqueeze(-1) / 100
    return torch.cat([t, t**2, t**3, torch.ones_like(t)], -1)


def fit_linear(
    features: Float[Tensor, "*task episode time feature"],
    mask: Float[Tensor, "*task episode time"],
    returns: Float[Tensor, "*task episode time"],
    ridge: float = 1e-5,
) -> Float[Tensor, "*task feature"]:
    """Regress returns on features over each task's valid steps, all tasks in one solve.

    Args:
        features: of each step, float64.
        mask: 1 where a step happened, else 0.
        returns: what is to be predicted.
        ridge: what is added to the diagonal of the normal equations.

    Returns:
        The weight of each feature, for each task.

    Example:
        >>> import torch
        >>> from metarl.core.advantages import fit_linear
        >>> features = torch.tensor([[[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]]).double()  # time, and 1
        >>> returns = torch.tensor([[5.0, 3.0, 1.0]]).double()
        >>> weights = fit_linear(features, torch.ones(1, 3).double(), returns)
        >>> [round(float(weight), 3) for weight in weights]
        [-2.0, 5.0]
    """
    x = (features * mask.unsqueeze(-1)).flatten(-3, -2)
    y = (returns * mask).flatten(-2, -1).unsqueeze(-1)
    gram = x.mT @ x + ridge * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    weights: Tensor = torch.linalg.solve(gram, x.mT @ y)
    return weights.squeeze(-1)


class Estimate(NamedTuple):
    """Numbers of each task that the estimation of its advantages gives besides.

    Attributes:
        explained: the share of the returns' variance that the values explain. Where a value network goes on
            from a cut episode's end, its own value of the end is a part of these returns.
        start_return: mean discounted return of an episode, of what happened alone.
        std: standard deviation of the advantages before they were normalised.
    """

    explained: Float[Tensor, "*task"]
    start_return: Float[Tensor, "*task"]
    std: Float[Tensor, "*task"]


def with_advantage(batch: Episodes, gamma: float, lam: float) -> tuple[Episodes, Estimate]:
    """Estimate normalised advantages against values that are linear in features of observation and time.

    The values are fitted on this very batch, per task. An episode that time cut short is worth nothing
    afterwards: the horizon belongs to the objective, as in the published runs. (These values could not say
    what follows: they are fitted to returns that end at the horizon, and see the time.)

    Args:
        batch: episodes of one task, or of several with the task axis first.
        gamma: discount of a step.
        lam: decay of ``gae``.

    Returns:
        The batch with ``advantage`` and ``target``, and numbers of each task.

    Example:
        >>> import dataclasses, torch
        >>> from metarl.core.advantages import with_advantage
        >>> from metarl.core.batch import Episodes
        >>> ones, no = torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)  # 2 episodes of 3 steps
        >>> obs, reward = torch.zeros(2, 3, 1), torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
        >>> batch = Episodes(obs, ones, reward, no, no, ones, -ones, obs[:, 0], 0 * ones, 0 * ones)
        >>> batch, estimate = with_advantage(batch, gamma=1.0, lam=1.0)
        >>> bool((batch.advantage[0] > 0).all() and (batch.advantage[1] < 0).all())
        True
        >>> float(estimate.start_return)
        1.5
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
    return _estimate(batch, value, torch.zeros_like(value[..., 0]), returns, gamma, lam)


def with_critic_advantage(
    batch: Episodes,
    value: Float[Tensor, "*task episode time"],
    final_value: Float[Tensor, "*task episode"],
    gamma: float,
    lam: float,
) -> tuple[Episodes, Estimate]:
    """Estimate normalised advantages against a value network, and what that network has to learn: ``target``,
    the λ-returns Âₜ + V(sₜ) (Schulman et al. 2016).

    Args:
        batch: episodes of one task, or of several with the task axis first.
        value: the network's, of each observation, in ``value_unit``.
        final_value: its value of ``final_obs``. An episode that time cut short goes on being worth that
            (bootstrapping): the network sees no time, and a task does not end where an episode is cut.
        gamma: discount of a step.
        lam: decay of ``gae``.

    Returns:
        The batch with ``advantage`` and ``target`` (in ``value_unit``), and numbers of each task.
    """
    unit, mask = value_unit(gamma, batch.mask.shape[-1]), batch.mask.double()
    value, final_value = value.double() / unit, final_value.double() / unit
    follows = torch.where(batch.terminated.any(-1), 0.0, final_value)
    returns = discounted_returns(batch.reward.double(), mask, gamma, follows)
    return _estimate(batch, value, final_value, returns, gamma, lam)


def value_unit(gamma: float, horizon: int) -> float:
    """Return what values are multiplied by before a network learns them: 1 − γ, or without discounting 1 over
    the horizon. They are then about as large as a reward, whatever the length of the episodes, so that one
    step size serves policy and values.
    """
    return 1 - gamma if gamma < 1 else 1 / horizon


def _estimate(
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
    numbers = Estimate(explained_variance(value, returns, mask), happened.mean(-1), spread(advantage, mask))
    target = (advantage + value) * mask * value_unit(gamma, mask.shape[-1])
    estimated = {"advantage": normalise(advantage, mask), "target": target}
    single = {name: x.to(batch.reward.dtype) for name, x in estimated.items()}
    return dataclasses.replace(batch, **single), numbers


def explained_variance(
    value: Float[Tensor, "*task episode time"],
    returns: Float[Tensor, "*task episode time"],
    mask: Float[Tensor, "*task episode time"],
) -> Float[Tensor, "*task"]:
    """Return 1 − Var(G − V) / Var(G) over each task's valid steps; 0 where the returns do not vary."""
    n = mask.sum((-2, -1), keepdim=True).clamp(min=1.0)

    def sum_of_squares(x: Tensor) -> Tensor:
        centred = (x - (x * mask).sum((-2, -1), keepdim=True) / n) * mask
        return (centred**2).sum((-2, -1))

    total, unexplained = sum_of_squares(returns), sum_of_squares(returns - value)
    rounding = 1e-12 * (returns**2 * mask).sum((-2, -1))
    varies = total > rounding
    return torch.where(varies, 1 - unexplained / torch.where(varies, total, 1.0), 0.0)
