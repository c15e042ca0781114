"""Returns and advantages of masked episodes. Time is the last axis; leading axes are arbitrary.

A valid step has mask 1; the valid steps of an episode are its first ones.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def discounted_returns(
    reward: Float[Tensor, "*b time"],
    mask: Float[Tensor, "*b time"],
    gamma: float,
    final_return: Float[Tensor, "*b"] | None = None,
) -> Float[Tensor, "*b time"]:
    """Gₜ = rₜ + γ Gₜ₊₁ within an episode, ``final_return`` (0) after its last step; 0 where none happened."""
    last = torch.zeros_like(reward[..., 0]) if final_return is None else final_return
    running, out = last, []
    for r, happened in zip(reversed(reward.unbind(-1)), reversed(mask.unbind(-1)), strict=True):
        running = torch.where(happened > 0, r + gamma * running, last)
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


def spread(
    x: Float[Tensor, "*task episode time"], mask: Float[Tensor, "*task episode time"]
) -> Float[Tensor, "*task"]:
    """Standard deviation over each task's valid steps."""
    return _std(_centred(x, mask), mask).squeeze((-2, -1))


def normalise(
    x: Float[Tensor, "*task episode time"], mask: Float[Tensor, "*task episode time"]
) -> Float[Tensor, "*task episode time"]:
    """Mean 0 and standard deviation 1 over each task's valid steps; 0 where no step happened."""
    centred = _centred(x, mask)
    return centred / (_std(centred, mask) + 1e-8)


def _steps(mask: Tensor) -> Tensor:
    return mask.sum((-2, -1), keepdim=True).clamp(min=1.0)


def _centred(x: Tensor, mask: Tensor) -> Tensor:
    return (x - (x * mask).sum((-2, -1), keepdim=True) / _steps(mask)) * mask


def _std(centred: Tensor, mask: Tensor) -> Tensor:
    return ((centred * centred).sum((-2, -1), keepdim=True) / _steps(mask)).sqrt()


def credit(
    start_return: Float[Tensor, " task"],
    std: Float[Tensor, " task"],
    mask: Float[Tensor, "task episode time"],
) -> Float[Tensor, " task"]:
    """How much better each task's return is than the mean of the other tasks', about as normalised advantages
    measure it: per step, and in the tasks' root mean square standard deviation of advantages. (A task's own
    is 0 where its adapted policy always earns the same, and its credit would be infinite.) A task alone has
    none to be compared with.
    """
    n = len(start_return)
    unit = std.square().mean().sqrt() + 1e-8
    others = (start_return.sum() - start_return) / max(n - 1, 1)
    steps = mask.sum((-2, -1)) / mask.shape[-2]
    return (start_return - others) / (steps.clamp(min=1.0) * unit)
