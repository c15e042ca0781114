"""Exact curvature of the mean KL without third derivatives.

At the point where a trust region is drawn, the gradient of KL(old ‖ new) with respect to the adapted
parameters is zero. Its Hessian with respect to the meta-parameters is therefore exactly JᵀFJ, with J the
Jacobian of the adapted parameters and F the Fisher matrix of the adapted policy: second derivatives of
``adapt`` never meet the KL's, whatever the rule.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from metarl.core.batch import Episodes
from metarl.core.models import Apply
from metarl.core.params import Meta, detach, leaves, replace_leaves, tree_map
from metarl.learn.adapt import Adaptation, unroll

Tensors = Sequence[Tensor]


class LinearMap:
    """The Jacobian of ``outputs`` with respect to ``inputs``, kept as retained graphs.

    ``pull(w)`` is Jᵀw by one backward pass. ``push(v)`` is Jv: Jᵀw is recorded once as a function of a dummy
    w, in which it is linear, and its own backward pass gives Jv. Outputs that are constants, a fixed standard
    deviation for example, have no derivative.
    """

    def __init__(self, outputs: Tensors, inputs: Tensors) -> None:
        self._all, self._inputs = outputs, inputs
        self._outputs = [x for x in outputs if x.requires_grad]
        self._dummy = [torch.zeros_like(x, requires_grad=True) for x in self._outputs]
        self._pulled = torch.autograd.grad(
            self._outputs, inputs, self._dummy, create_graph=True, materialize_grads=True
        )

    def pull(self, w: Tensors) -> Tensors:
        """Return Jᵀw for one w for each output."""
        moving = [part for part, x in zip(w, self._all, strict=True) if x.requires_grad]
        return torch.autograd.grad(
            self._outputs, self._inputs, moving, retain_graph=True, materialize_grads=True
        )

    def push(self, v: Tensors) -> Tensors:
        """Return Jv for one v for each input."""
        pushed = iter(
            torch.autograd.grad(self._pulled, self._dummy, v, retain_graph=True, materialize_grads=True)
        )
        return [next(pushed) if x.requires_grad else torch.zeros_like(x) for x in self._all]


def kl_curvature(
    apply: Apply, adaptation: Adaptation, meta: Meta, support: Sequence[Any], query: Episodes
) -> Callable[[Meta], Meta]:
    """Linearise the mean KL of each task's adapted policy in its meta-parameters, to second order.

    Args:
        apply: ``apply(params, obs)``, the policy of one task.
        adaptation: the inner loop of one task.
        meta: the meta-parameters of each task of a chunk, task axis first.
        support: a batch for each inner step.
        query: the batch over whose valid steps the KL is averaged.

    Returns:
        v ↦ JᵀFJ v, for trees like ``meta``: J is the Jacobian of the adapted parameters, F the Fisher matrix.

    Example:
        With no inner step J is the identity. The Fisher matrix of two equally likely actions is
        diag(½) − ¼, so a vector of (1, 0) becomes (¼, −¼):

        >>> import torch
        >>> from metarl.core.batch import Episodes
        >>> from metarl.core.distributions import Categorical
        >>> from metarl.core.objectives import vpg
        >>> from metarl.core.params import Meta
        >>> from metarl.core.rules import sgd
        >>> from metarl.learn.adapt import adapt
        >>> from metarl.learn.curvature import kl_curvature
        >>> obs, ones = torch.zeros(1, 1, 2, 1), torch.ones(1, 1, 2)  # 1 task, 1 episode, 2 steps
        >>> batch = Episodes(obs, ones, ones, ones < 0, ones < 0, ones, ones, obs[:, :, 0], ones, ones)
        >>> apply = lambda params, obs: Categorical(params["logits"].expand(1, 2, 2))
        >>> meta = Meta({"logits": torch.zeros(1, 2)}, {})
        >>> product = kl_curvature(apply, adapt(apply, vpg, sgd()), meta, support=(), query=batch)
        >>> product(Meta({"logits": torch.tensor([[1.0, 0.0]])}, {})).model
        {'logits': tensor([[ 0.2500, -0.2500]])}
    """
    meta = tree_map(lambda x: x.detach().requires_grad_(), meta)
    adapted = unroll(adaptation, meta, support).params
    jacobian = LinearMap(leaves(adapted), leaves(meta))

    params = tree_map(lambda x: x.requires_grad_(), detach(adapted))
    policies = vmap(apply)(params, query.obs)
    network = LinearMap(leaves(policies), leaves(params))
    steps = query.mask.sum((-2, -1), keepdim=True).clamp(min=1.0)
    weight = (query.mask / steps).unsqueeze(-1)
    at = detach(policies)

    def product(v: Meta) -> Meta:
        tangent = replace_leaves(at, network.push(jacobian.push(leaves(v))))
        cotangent = [x * weight for x in leaves(at.fisher(tangent))]
        return replace_leaves(v, jacobian.pull(network.pull(cotangent)))

    return product
