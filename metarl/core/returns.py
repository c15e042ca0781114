"""Returns and advantages of masked episodes. Time is the last axis; leading axes are arbitrary.

A valid step has mask 1; the valid steps of an episode are its first ones.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def discounted_returns(
    reward: Float[Tensor, "*b time"], mask: Float[Tensor, "*b time"], gamma: float
) -> Float[Tensor, "*b time"]:
    """Gₜ = rₜ + γ Gₜ₊₁ within an episode; 0 where no step happened."""
    rewards = (reward * mask).unbind(-1)
    running, out = torch.zeros_like(rewards[0]), []
    for r in reversed(rewards):
        running = r + gamma * running
        out.append(running)
    return torch.stack(out[::-1], -1) * mask


def gae(
    reward: Float[Tensor, "*b time"],
    value: Float[Tensor, "*b time"],
    final_value: Float[Tensor, "*b"],
    terminated: Bool[Tensor, "*b time"],
    mask: Float[Tensor, "*b time"],
    gamma: float,
    lam: float,
) -> Float[Tensor, "*b time"]:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16); 0 where no step happened.

    A terminated step is worth its reward alone. After the last step of an episode that did not terminate
    comes ``final_value``, the value of the observation there: pass zeros where the horizon belongs to the
    objective.
    """
    following = torch.cat([mask[..., 1:], torch.zeros_like(mask[..., :1])], -1)
    next_value = torch.cat([value[..., 1:], torch.zeros_like(value[..., :1])], -1)
    next_value = torch.where(following > 0, next_value, final_value.unsqueeze(-1))
    next_value = torch.where(terminated, torch.zeros_like(next_value), next_value)
    deltas = ((reward + gamma * next_value - value) * mask).unbind(-1)
    running, out = torch.zeros_like(final_value), []
    for delta in reversed(deltas):
        running = delta + gamma * lam * running
        out.append(running)
    return torch.stack(out[::-1], -1) * mask


def normalise(
    x: Float[Tensor, "*task episode time"], mask: Float[Tensor, "*task episode time"]
) -> Float[Tensor, "*task episode time"]:
    """Mean 0 and standard deviation 1 over each task's valid steps; 0 where no step happened."""
    n = mask.sum((-2, -1), keepdim=True).clamp(min=1.0)
    centred = (x - (x * mask).sum((-2, -1), keepdim=True) / n) * mask
    std = ((centred * centred).sum((-2, -1), keepdim=True) / n).sqrt()
    return centred / (std + 1e-8)
