"""Objectives: ``(apply, params, batch) -> loss`` of one task, to be minimised. Batching is done outside."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from metarl.core.batch import Episodes, Shots, masked_mean
from metarl.core.errors import RequestError
from metarl.core.models import Apply
from metarl.core.params import Params
from metarl.core.registry import Registry

Objective = Callable[[Apply, Params, Any], Float[Tensor, ""]]
objectives: Registry[Objective] = Registry("objective")


@objectives.register("vpg")
def vpg(apply: Apply, params: Params, batch: Episodes) -> Float[Tensor, ""]:
    """Vanilla policy gradient (Williams 1992): −E[log π(a|s) A], each valid step of the task counting once.

    Its gradient is the policy gradient on the batch that ``params`` collected. Its Hessian is not that of the
    expected return: as an inner objective it leaves the sampling distribution's own dependence on the
    parameters out, as Finn et al. 2017 do.
    """
    return -masked_mean(apply(params, batch.obs).log_prob(batch.action) * batch.advantage, batch.mask)


@objectives.register("surrogate")
def surrogate(apply: Apply, params: Params, batch: Episodes) -> Float[Tensor, ""]:
    """Importance-weighted advantage (Schulman et al. 2015, eq. 14): −E[π(a|s) / π_behaviour(a|s) · A].

    At the behaviour policy every ratio is 1 and the gradient is that of ``vpg``.
    """
    log_ratio = apply(params, batch.obs).log_prob(batch.action) - batch.log_prob
    ratio = (log_ratio * batch.mask).exp()  # where no step happened, nothing bounds the ratio
    return -masked_mean(ratio * batch.advantage, batch.mask)


@objectives.register("mse")
def mse(apply: Apply, params: Params, batch: Shots) -> Float[Tensor, ""]:
    """Mean squared error over shots and outputs.

    Raises:
        RequestError: outputs of another shape than the labels.
    """
    outputs: Tensor = apply(params, batch.x)
    if outputs.shape != batch.y.shape:
        given = f"outputs {list(outputs.shape)} and labels {list(batch.y.shape)}"
        raise RequestError(
            f"objective 'mse' compares like with like, got {given}; for classes use cross-entropy"
        )
    return (outputs - batch.y).square().mean()


@objectives.register("cross-entropy")
def cross_entropy(apply: Apply, params: Params, batch: Shots) -> Float[Tensor, ""]:
    """Mean over shots of −log of the probability that the network's logits give the label, in nats.

    Raises:
        RequestError: labels that are no classes.
    """
    if batch.y.is_floating_point():
        raise RequestError("objective 'cross-entropy' needs classes, got numbers to regress; use mse")
    return F.cross_entropy(apply(params, batch.x), batch.y)
