"""Objectives: ``objective(apply, params, batch)`` returns the loss of one task, to be minimised.

Tasks are batched outside. ``apply(params, x)`` is the model of one task, ``params`` its parameters, and
``batch`` the task's episodes, with advantages, or its labelled examples.

Example:
    An episode of two steps, in which a policy with equal chances of two actions chose the first and then the
    second, and what each objective says of a policy that prefers the first:

    >>> import torch
    >>> from metarl.core.batch import Episodes
    >>> from metarl.core.distributions import Categorical
    >>> from metarl.core.objectives import objectives
    >>> obs, ones, no = torch.zeros(1, 2, 1), torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool)
    >>> action, log_prob = torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]).log()
    >>> advantage = torch.tensor([[2.0, 1.0]])
    >>> batch = Episodes(obs, action, ones, no, no, ones, log_prob, obs[:, 0], advantage, ones)
    >>> apply = lambda params, obs: Categorical(params["logits"].expand(1, 2, 2))
    >>> params = {"logits": torch.tensor([1.0, 0.0])}
    >>> for name in ("vpg", "surrogate", "lvc", "dice", "ppo"):
    ...     print(name, round(float(objectives[name](apply, params, batch)), 3))
    vpg 0.97
    surrogate -1.731
    lvc -1.731
    dice -0.124
    ppo -1.469
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from metarl.core.batch import Episodes, Shots, masked_mean
from metarl.core.errors import RequestError
from metarl.core.models import Apply
from metarl.core.params import Params
from metarl.core.registry import Registry

Objective = Callable[[Apply, Params, Any], Float[Tensor, ""]]


@dataclasses.dataclass(frozen=True)
class ObjectiveFacts:
    """Facts about an objective that a configuration needs; the defaults suit one of which nothing is known.

    Attributes:
        of: the batches it reads, "episodes" or "examples"; None is either.
        needs_critic: its advantages are a value network's.
        averages_steps: a mean over time steps, each of which stands for itself, so that a part of them
            estimates it.
        second_order: at the policy that collected, it differs from ``vpg`` in second derivatives alone; they
            have the dependence of the sampling distribution on the parameters.
        on_policy: right for the policy that collected alone, hence for one update on a batch.
        inner_epochs: updates on a batch, unless a configuration says otherwise.
    """

    of: Literal["episodes", "examples"] | None = None
    needs_critic: bool = False
    averages_steps: bool = False
    second_order: bool = False
    on_policy: bool = False
    inner_epochs: int = 1


objectives: Registry[Objective, ObjectiveFacts] = Registry(
    "objective", "metarl.objectives", no_facts=ObjectiveFacts()
)


# Inner objectives of episodes. At the policy that collected, all have the same gradient, the policy gradient;
# they differ in their second derivatives, hence in the meta-gradient of order 2, and away from that policy
# (later epochs on a batch) in the first ones too. The table of what each estimates is in docs/estimators.md.


@objectives.register("vpg", ObjectiveFacts(of="episodes", averages_steps=True, on_policy=True))
def vpg(apply: Apply, params: Params, batch: Episodes) -> Float[Tensor, ""]:
    """Return the loss of vanilla policy gradients (Williams 1992): −E[log π(a|s) A] over the valid steps.

    Its gradient is the policy gradient on the batch that ``params`` collected. Its Hessian is not that of the
    expected return: as an inner objective it leaves the sampling distribution's own dependence on the
    parameters out, as Finn et al. 2017 do.
    """
    return -masked_mean(apply(params, batch.obs).log_prob(batch.action) * batch.advantage, batch.mask)


@objectives.register(
    "a2c", ObjectiveFacts(of="episodes", needs_critic=True, averages_steps=True, on_policy=True)
)
def a2c(apply: Apply, params: Params, batch: Episodes) -> Float[Tensor, ""]:
    """Return the policy's loss of advantage actor-critic (Mnih et al. 2016): that of ``vpg``, with advantages
    from a value network, whose squared error a run adds (``core.critic.with_critic``).
    """
    return vpg(apply, params, batch)


@objectives.register("surrogate", ObjectiveFacts(of="episodes", averages_steps=True, second_order=True))
def surrogate(apply: Apply, params: Params, batch: Episodes) -> Float[Tensor, ""]:
    """Return the importance-weighted loss (Schulman et al. 2015, eq. 14): −E[π(a|s) / π_behaviour(a|s) · A].

    At the behaviour policy every ratio is 1 and the gradient is that of ``vpg``.
    """
    return -masked_mean(_log_ratio(apply, params, batch).exp() * batch.advantage, batch.mask)


@objectives.register("lvc", ObjectiveFacts(of="episodes", averages_steps=True, second_order=True))
def lvc(apply: Apply, params: Params, batch: Episodes) -> Float[Tensor, ""]:
    """Return the loss of low-variance curvature (Rothfuss et al. 2019, section 5): that of ``surrogate``.

    As an inner objective, its Hessian has the terms of each time step with itself and lacks those between
    time steps.
    """
    return surrogate(apply, params, batch)


@objectives.register("dice", ObjectiveFacts(of="episodes", second_order=True))
def dice(apply: Apply, params: Params, batch: Episodes) -> Float[Tensor, ""]:
    """Return the loss of the infinitely differentiable estimator (DiCE, Foerster et al. 2018), with
    advantages of any order (loaded DiCE, Farquhar et al. 2019): −E[(wₜ − wₜ₋₁) Aₜ], with wₜ the importance
    weight of the actions up to t and w₋₁ = 1.

    Every derivative at the behaviour policy is one of the expected return, without bias where the advantages
    have none; the Hessian's variance grows with the episode's length. Its value there is 0. Departure: the
    papers stop gradients ("magic box") where here the behaviour policy's recorded log-probability stands.
    That is the same at the behaviour policy, and makes this a function elsewhere, which a line search needs.
    """
    log_ratio = _log_ratio(apply, params, batch)
    up_to = log_ratio.cumsum(-1)
    return -masked_mean((up_to.exp() - (up_to - log_ratio).exp()) * batch.advantage, batch.mask)


def clipped(clip: float) -> Objective:
    """Make PPO's objective (Schulman et al. 2017, eq. 7): −E[min(r A, clamp(r, 1 − clip, 1 + clip) A)].

    Args:
        clip: how far the ratio r of ``surrogate`` may go from 1. Once it has left that range to its
            advantage's good, its step has no gradient.
    """

    def objective(apply: Apply, params: Params, batch: Episodes) -> Float[Tensor, ""]:
        ratio = _log_ratio(apply, params, batch).exp()
        within = ratio.clamp(1 - clip, 1 + clip)
        return -masked_mean(torch.minimum(ratio * batch.advantage, within * batch.advantage), batch.mask)

    return objective


@objectives.register(
    "ppo", ObjectiveFacts(of="episodes", averages_steps=True, second_order=True, inner_epochs=3)
)
def ppo(apply: Apply, params: Params, batch: Episodes) -> Float[Tensor, ""]:
    """Return the loss of clipped probability ratios (Schulman et al. 2017, eq. 7), within the paper's 0.2.

    It differs from ``lvc`` from the second step on the same episodes (``inner_epochs``).
    """
    return clipped(0.2)(apply, params, batch)


def _log_ratio(apply: Apply, params: Params, batch: Episodes) -> Float[Tensor, "*episode time"]:
    """Return log π − log π_behaviour of each action; 0 where no step happened: nothing bounds it there."""
    log_ratio = apply(params, batch.obs).log_prob(batch.action) - batch.log_prob
    return torch.where(batch.mask > 0, log_ratio, 0.0)


@objectives.register("mse", ObjectiveFacts(of="examples"))
def mse(apply: Apply, params: Params, batch: Shots) -> Float[Tensor, ""]:
    """Return the mean squared error over shots and outputs.

    Raises:
        RequestError: outputs of another shape than the labels.

    Example:
        >>> import torch
        >>> from metarl.core.batch import Shots
        >>> from metarl.core.objectives import mse
        >>> batch = Shots(x=torch.tensor([[1.0], [2.0]]), y=torch.tensor([[2.0], [4.0]]))
        >>> mse(lambda params, x: params["slope"] * x, {"slope": torch.tensor(1.0)}, batch)
        tensor(2.5000)
    """
    outputs: Tensor = apply(params, batch.x)
    if outputs.shape != batch.y.shape:
        shapes = f"outputs {list(outputs.shape)} and labels {list(batch.y.shape)}"
        raise RequestError(
            f"objective 'mse' compares like with like, got {shapes}; for classes use cross-entropy"
        )
    return (outputs - batch.y).square().mean()


@objectives.register("cross-entropy", ObjectiveFacts(of="examples"))
def cross_entropy(apply: Apply, params: Params, batch: Shots) -> Float[Tensor, ""]:
    """Return the mean over shots of −log of the probability that the logits give the label, in nats.

    Raises:
        RequestError: labels that are no classes.

    Example:
        >>> import torch
        >>> from metarl.core.batch import Shots
        >>> from metarl.core.objectives import cross_entropy
        >>> batch = Shots(x=torch.zeros(3, 1), y=torch.tensor([0, 1, 1]))
        >>> cross_entropy(lambda params, x: params["logits"].expand(3, 2), {"logits": torch.zeros(2)}, batch)
        tensor(0.6931)
    """
    if batch.y.is_floating_point():
        raise RequestError("objective 'cross-entropy' needs classes, got numbers to regress; use mse")
    return F.cross_entropy(apply(params, batch.x), batch.y)
