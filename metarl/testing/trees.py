"""Trees of tensors: drawn, compared and described."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from metarl.core.params import leaves, tree_map


def normal(seed: int, *shape: int) -> Tensor:
    """Float64 draws from N(0, 1), the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cast(tree: Any, dtype: torch.dtype) -> Any:
    """Return a tree with its floating-point tensors in another precision."""
    return tree_map(lambda x: x.to(dtype) if x.is_floating_point() else x, tree)


def derivatives(outputs: Any, inputs: Any) -> list[Tensor]:
    """Return the gradient of a random combination of all ``outputs`` with respect to each of ``inputs``.

    Zeros where nothing passes.
    """
    total = [(x * normal(i, *x.shape)).sum() for i, x in enumerate(leaves(outputs)) if x.requires_grad]
    if not total:
        return [torch.zeros_like(x) for x in leaves(inputs)]
    return list(torch.autograd.grad(total, leaves(inputs), materialize_grads=True))


def places(tree: Any) -> list[str]:
    """Return the place of each leaf: ``.model['head']``."""
    return [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(tree)]


def form(tree: Any) -> str:
    """Place, type and shape of each leaf in words; two trees of one form have equal words."""
    kinds = map(_kind, pytree.tree_leaves(tree))
    found = [f"{place} {kind}".strip() for place, kind in zip(places(tree), kinds, strict=True)]
    return f"({', '.join(found)})"


def different(a: Any, b: Any, tolerance: float = 0.0) -> str:
    """Return the first place at which two trees of tensors differ, "" if nowhere.

    ``tolerance`` is relative to the largest entry of a tensor of ``b``, or to 1 if that is smaller.
    """
    if form(a) != form(b):
        return f"form, {form(a)} or {form(b)}"
    for place, x, y in zip(places(a), leaves(a), leaves(b), strict=True):
        room = tolerance * max([1.0, *y.double().abs().flatten().tolist()])
        if not bool(((x.double() - y.double()).abs() <= room).all()):  # NaN differs
            return place or "value"
    return ""


def _kind(leaf: Any) -> str:
    if not isinstance(leaf, Tensor):
        return type(leaf).__name__
    return f"{str(leaf.dtype).removeprefix('torch.')} {list(leaf.shape)}"
