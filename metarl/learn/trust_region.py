"""The mean KL between adapted policies, and its curvature: a trust region is drawn with them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from metarl.core.batch import Episodes, every, masked_mean
from metarl.core.distributions import Distribution
from metarl.core.models import Apply
from metarl.core.params import Meta, Params, detach
from metarl.learn.adapt import Adaptation
from metarl.learn.curvature import kl_curvature


class TrustRegion(NamedTuple):
    """The divergence of a model whose output is a distribution.

    Attributes:
        apply: ``apply(params, obs)``, the policy of one task.
        stride: keeps each stride-th time step of what the curvature averages over, as is usual with TRPO.
        support_stride: likewise of the batches that are adapted to. It is faster, but gives the Jacobian of
            another function: harmless with small inner steps, while with large ones runs of 2-D navigation
            drifted away (``experiments/RESULTS.md``).
    """

    apply: Apply
    stride: int = 1
    support_stride: int = 1

    def policies(self, params: Params, query: Episodes) -> Distribution:
        """Return every task's policy at its query's observations, without a graph."""
        # Detached on both sides: under vmap, no_grad alone lets a graph through.
        policies: Distribution = detach(vmap(self.apply)(detach(params), query.obs))
        return policies

    def divergence(self, reference: Distribution, params: Params, query: Episodes) -> Float[Tensor, " task"]:
        """Return the mean KL(reference ‖ policy) over each task's valid steps, in nats."""
        policies = vmap(self.apply)(params, query.obs)
        return vmap(masked_mean)(reference.kl(policies), query.mask)

    def curvature(self, adaptation: Adaptation, meta: Meta, data: Any) -> Callable[[Meta], Meta]:
        """Return v ↦ JᵀFJ v for each task of a chunk; see ``kl_curvature``."""
        support = [every(batch, self.support_stride) for batch in data.support]
        return kl_curvature(self.apply, adaptation, meta, support, every(data.query, self.stride))


def entropy(policies: Distribution, query: Episodes) -> Float[Tensor, " task"]:
    """Return the mean entropy over each task's valid steps, in nats."""
    return vmap(masked_mean)(policies.entropy(), query.mask)
