"""Batches of experience. A batch of several tasks has the task axis first; under ``vmap`` it has none."""

import dataclasses
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.utils import _pytree as pytree

B = TypeVar("B")


def register_batch(cls: type[B]) -> type[B]:
    """Make a frozen dataclass of tensors a pytree; a field that is None is no part of it.

    Rebuilding bypasses ``__init__``: transforms put objects other than tensors into the leaves for a moment,
    which a shape check in the constructor would refuse.
    """
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]

    def flatten(batch: B) -> tuple[list[Any], tuple[str, ...]]:
        present = tuple(name for name in names if getattr(batch, name) is not None)
        return [getattr(batch, name) for name in present], present

    def unflatten(values: Any, present: Any) -> B:
        batch = object.__new__(cls)
        for name in names:
            object.__setattr__(batch, name, None)
        for name, value in zip(present, values, strict=True):
            object.__setattr__(batch, name, value)
        return batch

    pytree.register_pytree_node(cls, flatten, unflatten, serialized_type_name=f"metarl.{cls.__name__}")
    return cls


@register_batch
@dataclasses.dataclass(frozen=True)
class Episodes:
    """Episodes of equal, padded length.

    Attributes:
        obs: what each action was drawn for, "*task episode time" with the space's own shape behind.
        action: what the policy drew, before any clipping to the action space, likewise.
        reward: of each step.
        terminated: marks the last valid step of an episode that ended its task.
        truncated: marks that of one whose time ran out.
        mask: 1 where a step happened, else 0. It is a weight: where all trajectories are enumerated, it is
            the probability of each.
        log_prob: of each action, by the policy that drew it, in nats.
        final_obs: the observation after an episode's last step, "*task episode" and the space's shape.
        advantage: estimated afterwards (``core.advantages``).
        target: what a value network is to say of ``obs``, likewise.
        success: 1 for an episode that succeeded at any of its steps, else 0; None where nobody says.
    """

    obs: Shaped[Tensor, "..."]
    action: Shaped[Tensor, "..."]
    reward: Float[Tensor, "*task episode time"]
    terminated: Bool[Tensor, "*task episode time"]
    truncated: Bool[Tensor, "*task episode time"]
    mask: Float[Tensor, "*task episode time"]
    log_prob: Float[Tensor, "*task episode time"]
    final_obs: Shaped[Tensor, "..."]
    advantage: Float[Tensor, "*task episode time"]
    target: Float[Tensor, "*task episode time"]
    success: Float[Tensor, "*task episode"] | None = None

    @property
    def inputs(self) -> Shaped[Tensor, "..."]:
        """The network's inputs."""
        return self.obs


@register_batch
@dataclasses.dataclass(frozen=True)
class Shots:
    """Labelled examples.

    Attributes:
        x: inputs, "*task shot …".
        y: labels: "*task shot …" where they are to be regressed, "*task shot" of int64 classes from 0 where
            they are to be classified.
    """

    x: Shaped[Tensor, "..."]
    y: Shaped[Tensor, "..."]

    @property
    def inputs(self) -> Shaped[Tensor, "..."]:
        """The network's inputs."""
        return self.x


def undiscounted_returns(batch: Episodes) -> Float[Tensor, "*task"]:
    """Return the mean over a task's episodes of the sum of rewards."""
    return (batch.reward * batch.mask).sum(-1).mean(-1)


def every(batch: Episodes, stride: int) -> Episodes:
    """Keep each ``stride``-th time step, for averages over steps: what is left is no longer an episode."""
    lead = batch.reward.ndim - 1

    def thin(name: str, x: Tensor) -> Tensor:
        if name in ("final_obs", "success"):  # they have no time axis
            return x
        return x[(slice(None),) * lead + (slice(None, None, stride),)].contiguous()

    fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    return Episodes(**{name: thin(name, x) for name, x in fields.items() if x is not None})


def masked_mean(x: Float[Tensor, "*b"], mask: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """Return one task's mean over the steps that happened: each step counts once, whatever its episode."""
    return (x * mask).sum() / torch.clamp(mask.sum(), min=1.0)
