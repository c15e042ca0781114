"""A run's tensors under flat names, as a checkpoint holds them."""

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor
from torch.utils import _pytree as pytree

from metarl.core.errors import RequestError
from metarl.core.params import all_finite, replace_leaves

Tree = TypeVar("Tree")


def flatten(tree: object) -> dict[str, Tensor]:
    """Return each tensor under its path, for example ``meta.model.net.0.weight``."""
    return {_name(path): leaf for path, leaf in pytree.tree_flatten_with_path(tree)[0]}


def restore(tensors: Mapping[str, Tensor], like: Tree, where: str) -> Tree:
    """Invert ``flatten``, for a tree of ``like``'s structure, shapes, types and devices.

    Raises:
        RequestError: the tensors are those of another network or optimizer; both sides are named. Or some are
            not finite, which no run ever saves.
    """
    wanted = flatten(like)
    for name in sorted(tensors.keys() | wanted.keys()):
        given = list(tensors[name].shape) if name in tensors else "nothing"
        expected = list(wanted[name].shape) if name in wanted else "nothing"
        if given != expected:
            raise RequestError(f"{where} has {given} for {name}, this configuration has {expected}")
    for name, leaf in wanted.items():
        if tensors[name].dtype != leaf.dtype:
            told = f"{where} has {tensors[name].dtype} for {name}, this configuration has {leaf.dtype}"
            raise RequestError(told)
        if not all_finite(tensors[name]):
            raise RequestError(f"{where} has values that are not finite in {name}")
    return replace_leaves(like, [tensors[name].to(leaf.device) for name, leaf in wanted.items()])


def _name(path: tuple[object, ...]) -> str:
    return ".".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)
