"""Action distributions as tuples of parameters, hence trees that pass through ``vmap``.

``torch.distributions`` objects are not trees and validate their arguments, which ``vmap`` forbids; the few
formulas a policy needs stand here and are tested against them. Leading axes are arbitrary throughout.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor


class DiagGaussian(NamedTuple):
    """Independent normals: the log-probability of an action is the sum over its dimensions.

    Example:
        >>> import torch
        >>> from metarl.core.distributions import DiagGaussian
        >>> policy = DiagGaussian(mean=torch.tensor([1.0, 2.0]), log_std=torch.zeros(2))
        >>> policy.sample(noise=torch.tensor([0.5, -0.5])), policy.log_prob(policy.mode())
        (tensor([1.5000, 1.5000]), tensor(-1.8379))
        >>> policy.kl(DiagGaussian(torch.zeros(2), torch.zeros(2)))
        tensor(2.5000)
    """

    mean: Float[Tensor, "*b action"]
    log_std: Float[Tensor, "*b action"]

    def sample(self, noise: Float[Tensor, "*b action"]) -> Float[Tensor, "*b action"]:
        """Return the action that belongs to standard-normal ``noise``."""
        return self.mean + self.log_std.exp() * noise

    def mode(self) -> Float[Tensor, "*b action"]:
        return self.mean

    def log_prob(self, action: Float[Tensor, "*b action"]) -> Float[Tensor, "*b"]:
        z = (action - self.mean) * (-self.log_std).exp()
        return (-0.5 * z * z - self.log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Float[Tensor, "*b"]:
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def kl(self, other: "DiagGaussian") -> Float[Tensor, "*b"]:
        """Return KL(self ‖ other), in nats."""
        var_ratio = (2 * (self.log_std - other.log_std)).exp()
        shift = (self.mean - other.mean) * (-other.log_std).exp()
        return (0.5 * (var_ratio + shift * shift - 1) + other.log_std - self.log_std).sum(-1)

    def fisher(self, tangent: "DiagGaussian") -> "DiagGaussian":
        """Apply the Fisher matrix in (mean, log_std) to a tangent: diagonal, 1/σ² and 2."""
        return DiagGaussian(tangent.mean * (-2 * self.log_std).exp(), 2 * tangent.log_std)


class Categorical(NamedTuple):
    """One of k actions, by unnormalised log-probabilities.

    Example:
        >>> import torch
        >>> from metarl.core.distributions import Categorical
        >>> policy = Categorical(torch.tensor([0.5, 0.25, 0.25]).log())
        >>> policy.sample(noise=torch.tensor(0.6)), policy.log_prob(policy.mode()), policy.entropy()
        (tensor(1), tensor(-0.6931), tensor(1.0397))
    """

    logits: Float[Tensor, "*b k"]

    def sample(self, noise: Float[Tensor, "*b"]) -> Int[Tensor, "*b"]:
        """Return the action of a uniform number in [0, 1), by inverting the distribution function."""
        largest = self.logits.amax(-1, keepdim=True)
        cdf = (self.logits - largest).exp().cumsum(-1)  # not of sum 1: softmax takes as long as all of this
        return (noise.unsqueeze(-1) * cdf[..., -1:] >= cdf[..., :-1]).sum(-1)

    def mode(self) -> Int[Tensor, "*b"]:
        return self.logits.argmax(-1)

    def log_prob(self, action: Shaped[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return torch.log_softmax(self.logits, -1).gather(-1, action.long().unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Float[Tensor, "*b"]:
        log_p = torch.log_softmax(self.logits, -1)
        return -(log_p.exp() * log_p).sum(-1)

    def kl(self, other: "Categorical") -> Float[Tensor, "*b"]:
        """Return KL(self ‖ other), in nats."""
        log_p, log_q = torch.log_softmax(self.logits, -1), torch.log_softmax(other.logits, -1)
        return (log_p.exp() * (log_p - log_q)).sum(-1)

    def fisher(self, tangent: "Categorical") -> "Categorical":
        """Apply the Fisher matrix in the logits to a tangent: diag(p) − p pᵀ."""
        p = torch.softmax(self.logits, -1)
        return Categorical(p * (tangent.logits - (p * tangent.logits).sum(-1, keepdim=True)))


class MultiCategorical(NamedTuple):
    """Independent choices, each with a number of possibilities of its own: ``Categorical`` of each component.

    The log-probability of an action "*b component" is the sum over its components.

    Example:
        >>> import torch
        >>> from metarl.core.distributions import MultiCategorical
        >>> policy = MultiCategorical((torch.zeros(2), torch.zeros(4)))
        >>> policy.sample(noise=torch.tensor([0.6, 0.6])), policy.log_prob(policy.mode())
        (tensor([1, 2]), tensor(-2.0794))
    """

    logits: tuple[Float[Tensor, "*b _"], ...]

    def sample(self, noise: Float[Tensor, "*b component"]) -> Int[Tensor, "*b component"]:
        """Return the action that belongs to uniform numbers in [0, 1), one for each component."""
        pairs = zip(self._components(), noise.unbind(-1), strict=True)
        return torch.stack([one.sample(u) for one, u in pairs], -1)

    def mode(self) -> Int[Tensor, "*b component"]:
        return torch.stack([one.mode() for one in self._components()], -1)

    def log_prob(self, action: Shaped[Tensor, "*b component"]) -> Float[Tensor, "*b"]:
        pairs = zip(self._components(), action.unbind(-1), strict=True)
        return torch.stack([one.log_prob(a) for one, a in pairs]).sum(0)

    def entropy(self) -> Float[Tensor, "*b"]:
        return torch.stack([one.entropy() for one in self._components()]).sum(0)

    def kl(self, other: "MultiCategorical") -> Float[Tensor, "*b"]:
        """Return KL(self ‖ other), in nats."""
        pairs = zip(self._components(), other._components(), strict=True)
        return torch.stack([p.kl(q) for p, q in pairs]).sum(0)

    def fisher(self, tangent: "MultiCategorical") -> "MultiCategorical":
        """Apply the Fisher matrix in the logits to a tangent: a block for each component."""
        pairs = zip(self._components(), tangent._components(), strict=True)
        return MultiCategorical(tuple(one.fisher(t).logits for one, t in pairs))

    def _components(self) -> list[Categorical]:
        return [Categorical(logits) for logits in self.logits]


Distribution = DiagGaussian | Categorical | MultiCategorical
