"""Batches of experience. A batch of several tasks has the task axis first; under ``vmap`` it has none."""

import dataclasses
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.utils import _pytree as pytree

B = TypeVar("B")


def register_batch(cls: type[B]) -> type[B]:
    """Makes a frozen dataclass of tensors a pytree; a field that is None is no part of it.

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
    """Episodes of equal, padded length; ``mask`` is 1 where a step happened, else 0.

    It is a weight: where all trajectories are enumerated, it is the probability of each.

    ``obs`` and ``action`` are ``*task episode time …`` and ``final_obs``, the observation after an episode's
    last step, is ``*task episode …``, with the spaces' own shapes behind. ``action`` is what the policy drew,
    before any clipping to the action space; ``log_prob`` is that of the policy that drew it. The last valid
    step of an episode is marked ``terminated`` (the task ended) or ``truncated`` (time ran out).
    ``advantage`` and ``target``, what a value network is to say of ``obs``, are estimated afterwards.
    ``success`` is 1 for an episode that succeeded at any of its steps, else 0; None where nobody says.
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
        """What a network reads."""
        return self.obs


@register_batch
@dataclasses.dataclass(frozen=True)
class Shots:
    """Labelled examples.

    ``x`` is ``*task shot …``. ``y`` is ``*task shot …`` too where it is to be regressed, and ``*task shot``
    of int64 classes from 0 where it is to be classified.
    """

    x: Shaped[Tensor, "..."]
    y: Shaped[Tensor, "..."]

    @property
    def inputs(self) -> Shaped[Tensor, "..."]:
        """What a network reads."""
        return self.x


def undiscounted_returns(batch: Episodes) -> Float[Tensor, "*task"]:
    """Mean over a task's episodes of the sum of rewards."""
    return (batch.reward * batch.mask).sum(-1).mean(-1)


def every(batch: Episodes, stride: int) -> Episodes:
    """Each ``stride``-th time step. For averages over steps only: what is left is no longer an episode."""
    lead = batch.reward.ndim - 1

    def thin(name: str, x: Tensor) -> Tensor:
        if name in ("final_obs", "success"):  # they have no time axis
            return x
        return x[(slice(None),) * lead + (slice(None, None, stride),)].contiguous()

    fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    return Episodes(**{name: thin(name, x) for name, x in fields.items() if x is not None})


def masked_mean(x: Float[Tensor, "*b"], mask: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """Mean of one task's ``x`` over the steps that happened: each step counts once, whatever its episode."""
    return (x * mask).sum() / torch.clamp(mask.sum(), min=1.0)
