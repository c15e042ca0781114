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
    """Sum discounted rewards to the end of each episode: Gₜ = rₜ + γ Gₜ₊₁.

    Args:
        reward: of each step.
        mask: above 0 where a step happened.
        gamma: discount of a step.
        final_return: what follows the last step of each episode; None is 0.

    Returns:
        The return to go of each step; 0 where none happened.

    Example:
        >>> import torch
        >>> from metarl.core.returns import discounted_returns
        >>> discounted_returns(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 0.0]), gamma=0.5)
        tensor([1.5000, 1.0000, 0.0000])
    """
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
    """Estimate advantages (GAE, Schulman et al. 2016, eq. 16): Âₜ = Σₖ (γλ)ᵏ δₜ₊ₖ, δₜ = rₜ + γ Vₜ₊₁ − Vₜ.

    Args:
        reward: of each step.
        value: of each step's observation, in the unit of returns.
        final_value: of the observation after each episode's last step, unless it terminated: zeros where the
            horizon belongs to the objective.
        terminated: steps that ended the task, which are worth their reward alone.
        mask: above 0 where a step happened.
        gamma: discount of a step.
        lam: decay of later errors: 0 trusts the values, 1 the returns.

    Returns:
        The advantage of each step, in the unit of returns; 0 where none happened.

    Example:
        >>> import torch
        >>> from metarl.core.returns import gae
        >>> ones, zeros = torch.ones(3), torch.zeros(3)
        >>> gae(ones, zeros, torch.tensor(4.0), zeros.bool(), ones, gamma=0.5, lam=1.0)
        tensor([2.2500, 2.5000, 3.0000])
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
    """Return the standard deviation over each task's valid steps."""
    return _std(_centred(x, mask), mask).squeeze((-2, -1))


def normalise(
    x: Float[Tensor, "*task episode time"], mask: Float[Tensor, "*task episode time"]
) -> Float[Tensor, "*task episode time"]:
    """Shift and scale to mean 0 and standard deviation 1 over each task's valid steps.

    Args:
        x: numbers of each step.
        mask: 1 where a step happened, else 0.

    Returns:
        The normalised numbers; 0 where no step happened, and all 0 where they do not vary.

    Example:
        >>> import torch
        >>> from metarl.core.returns import normalise
        >>> normalise(torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([[1.0, 1.0, 0.0]]))
        tensor([[-1.,  1.,  0.]])
    """
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
    """Measure each task's return against the mean of the other tasks', about as normalised advantages do.

    Per step, and in the tasks' root mean square standard deviation of advantages. (A task's own is 0 where
    its adapted policy always earns the same, and its credit would be infinite.)

    Args:
        start_return: mean discounted return of an episode of each task; of two tasks at least.
        std: standard deviation of each task's advantages before they were normalised.
        mask: 1 where a step happened, else 0.
    """
    n = len(start_return)
    unit = std.square().mean().sqrt() + 1e-8
    others = (start_return.sum() - start_return) / max(n - 1, 1)
    steps = mask.sum((-2, -1)) / mask.shape[-2]
    return (start_return - others) / (steps.clamp(min=1.0) * unit)
