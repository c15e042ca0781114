"""Parameters are values: nested containers ("trees") of tensors that are passed, never swapped in place."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils import _pytree as pytree

Params = dict[str, Tensor]
Tree = TypeVar("Tree")


class Meta(NamedTuple):
    """Meta-parameters, without a task axis: the initialisation, and those of the inner rule."""

    model: Params
    rule: Params


class Inner(NamedTuple):
    """The parameters of one task and the rule's memory (``()`` for SGD): adaptation changes both."""

    params: Params
    carry: Any


def tree_map(fn: Callable[..., Any], tree: Tree, *others: Any) -> Tree:
    """Call ``fn`` on each tensor of ``tree`` (and of ``others``, which have its structure)."""
    return pytree.tree_map(fn, tree, *others)  # type: ignore[no-any-return]


def leaves(tree: Any) -> list[Tensor]:
    """Return the tensors of a tree, in a fixed order."""
    return list(pytree.tree_leaves(tree))


def replace_leaves(tree: Tree, values: Sequence[Tensor]) -> Tree:
    """Return a tree of the same structure that holds ``values``, in the order of ``leaves``."""
    return pytree.tree_unflatten(values, pytree.tree_structure(tree))  # type: ignore[no-any-return]


def detach(tree: Tree) -> Tree:
    """Return the same values, cut from the graph (under ``torch.func`` this is what stops a gradient)."""
    return tree_map(lambda x: x.detach(), tree)


def expand(tree: Tree, n: int) -> Tree:
    """Copy a tree for each of ``n`` tasks: a contiguous leading axis of length ``n`` on every tensor.

    Copies rather than views: a product with a stride-0 operand takes other kernels, hence other bits.
    """
    return tree_map(lambda x: x.expand(n, *x.shape).contiguous(), tree)


def split(tree: Tree, size: int) -> list[Tree]:
    """Return consecutive pieces of ``size`` tasks along the leading axis. The last has fewer, or one more: a
    task left alone would take other kernels than several do, hence other bits.
    """
    sizes = _sizes(len(leaves(tree)[0]), size)
    pieces = [leaf.split(sizes) for leaf in leaves(tree)]
    return [replace_leaves(tree, piece) for piece in zip(*pieces, strict=True)]


def _sizes(n: int, size: int) -> list[int]:
    full, rest = divmod(n, size)
    if rest == 1 and full and size > 1:
        return [size] * (full - 1) + [size + 1]
    return [size] * full + [rest] * (rest > 0)


def concat(trees: Sequence[Tree]) -> Tree:
    """Join pieces along the leading axis, as ``split`` took them apart."""
    return tree_map(lambda *xs: torch.cat(xs), trees[0], *trees[1:])


def ravel(tree: Any) -> Float[Tensor, " size"]:
    """Return all entries as one vector, in the order of ``leaves``."""
    return torch.cat([leaf.reshape(-1) for leaf in leaves(tree)])


def unravel(vector: Float[Tensor, " size"], like: Tree) -> Tree:
    """Return a raveled tree, which has the structure and shapes of ``like``."""
    like_leaves = leaves(like)
    pieces = vector.split([leaf.numel() for leaf in like_leaves])
    return replace_leaves(like, [p.view_as(leaf) for p, leaf in zip(pieces, like_leaves, strict=True)])


def to_device(tree: Tree, device: torch.device | str) -> Tree:
    """Move a tree to ``device`` (tensors that are there already are not copied)."""
    return tree_map(lambda x: x.to(device), tree)


def all_finite(tree: Any) -> bool:
    """Return whether no entry is NaN or infinite."""
    return all(bool(torch.isfinite(leaf).all()) for leaf in leaves(tree))
