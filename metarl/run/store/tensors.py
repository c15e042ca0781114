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
    check_shapes(tensors, wanted, where, "this configuration")
    check_finite(tensors, where)
    for name, leaf in wanted.items():
        if (kind := tensors[name].dtype) != leaf.dtype:
            raise RequestError(f"{where} has {kind} for {name}, this configuration has {leaf.dtype}")
    return replace_leaves(like, [tensors[name].to(leaf.device) for name, leaf in wanted.items()])


def check_shapes(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str, user: str) -> None:
    """Refuse tensors of other names or shapes than are wanted; both sides are named."""
    for name in sorted(tensors.keys() | wanted.keys()):
        found, expected = (list(x[name].shape) if name in x else "nothing" for x in (tensors, wanted))
        if found != expected:
            raise RequestError(f"{where} has {found} for {name}, {user} has {expected}")


def check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Refuse tensors of which some are no numbers: no step from them would be finite."""
    for name, tensor in tensors.items():
        if not all_finite(tensor):
            raise RequestError(f"{where} has values that are not finite in {name}")


def _name(path: tuple[object, ...]) -> str:
    return ".".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)
