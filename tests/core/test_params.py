"""Trees of tensors: what is taken apart comes together again, and copies are copies."""

import pytest
import torch
from torch.func import grad

from metarl.core.params import (
    Meta,
    all_finite,
    concat,
    detach,
    expand,
    leaves,
    ravel,
    replace_leaves,
    split,
    to_device,
    tree_map,
    unravel,
)
from tiny import close_params, randn


def tree() -> Meta:
    return Meta({"b.weight": randn(1, 2, 3), "a": randn(2, 2)}, {"lr": randn(3)})


def test_ravel_holds_every_entry_in_the_order_of_the_leaves() -> None:
    vector = ravel(tree())
    assert vector.shape == (6 + 2 + 1,)
    assert vector.tolist() == [float(x) for leaf in leaves(tree()) for x in leaf.reshape(-1)]


def test_unravel_is_the_inverse_of_ravel() -> None:
    back = unravel(ravel(tree()), tree())
    assert isinstance(back, Meta)
    close_params(back.model, tree().model)
    close_params(back.rule, tree().rule)


def test_leaves_of_equal_trees_meet_whatever_the_order_they_were_written_in() -> None:
    other = {"a": randn(2, 2), "b": randn(1, 3)}
    swapped = {"b": other["b"], "a": other["a"]}
    difference = tree_map(lambda x, y: x - y, other, swapped)
    assert all(float(x.abs().sum()) == 0 for x in leaves(difference))


def test_replace_leaves_keeps_the_structure() -> None:
    doubled = replace_leaves(tree(), [2 * x for x in leaves(tree())])
    close_params(doubled.model, {name: 2 * x for name, x in tree().model.items()})


def test_expand_copies() -> None:
    source = tree()
    copies = expand(source, 3)
    for many, single in zip(leaves(copies), leaves(source), strict=True):
        assert many.shape == (3, *single.shape) and many.is_contiguous()
        assert all(torch.equal(row, single) for row in many)
        many[0] += 1  # a view with stride 0 would change every row, or refuse
        assert torch.equal(many[1], single)


def test_expand_passes_each_copy_s_gradient_on() -> None:
    x = randn(1, 2).requires_grad_()
    weights = torch.tensor([[1.0], [10.0], [100.0]], dtype=torch.float64)
    (g,) = torch.autograd.grad((expand({"x": x}, 3)["x"] * weights).sum(), x)
    assert g.tolist() == [111.0, 111.0]


def test_split_and_concat_are_inverse_and_keep_the_order() -> None:
    whole = expand(tree(), 5)
    whole = tree_map(lambda x: x + torch.arange(5.0).reshape(5, *[1] * (x.ndim - 1)), whole)
    pieces = split(whole, 3)
    assert [leaves(piece)[0].shape[0] for piece in pieces] == [3, 2]
    back = concat(pieces)
    assert all(torch.equal(a, b) for a, b in zip(leaves(back), leaves(whole), strict=True))


@pytest.mark.parametrize(
    ("tasks", "size", "sizes"),
    [
        (5, 2, [2, 3]),
        (4, 2, [2, 2]),
        (7, 3, [3, 4]),
        (8, 3, [3, 3, 2]),
        (3, 2, [3]),
        (1, 2, [1]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_no_task_is_left_alone(tasks: int, size: int, sizes: list[int]) -> None:
    assert [len(piece) for piece in split(torch.arange(tasks), size)] == sizes


def test_detach_stops_gradients_under_transforms_too() -> None:
    x = torch.tensor(3.0)
    # d/dx (x^2 * stop(x)) = 2 x * x = 18; 27 where nothing is stopped.
    assert float(grad(lambda t: t**2 * detach({"t": t})["t"])(x)) == 18.0


def test_all_finite_sees_one_bad_entry() -> None:
    assert all_finite(tree())
    for bad in (float("nan"), float("inf")):
        broken = tree()
        broken.model["b.weight"][1, 2] = bad
        assert not all_finite(broken)


def test_to_device_keeps_the_tree() -> None:
    moved = to_device(tree(), "cpu")
    close_params(moved.model, tree().model)
