"""Parts found by name."""

import pytest

from metarl.core.errors import RequestError
from metarl.core.registry import Registry


def test_a_registered_part_is_found_and_named() -> None:
    shelf: Registry[int] = Registry("number")
    assert shelf.register("two")(2) == 2
    shelf.register("one")(1)
    assert shelf["two"] == 2
    assert shelf.names() == ["one", "two"] == list(shelf)
    assert "one" in shelf and "three" not in shelf


def test_an_unknown_name_says_what_is_allowed() -> None:
    shelf: Registry[int] = Registry("number")
    shelf.register("two")(2)
    with pytest.raises(RequestError, match=r"^unknown number 'three'; allowed: two$"):
        shelf["three"]


def test_two_parts_under_one_name_are_refused() -> None:
    shelf: Registry[list[int]] = Registry("list")
    part = [1]
    shelf.register("x")(part)
    shelf.register("x")(part)  # the same one again is harmless
    with pytest.raises(RequestError, match="list 'x' is already registered"):
        shelf.register("x")([2])


def test_parts_from_elsewhere_are_loaded_once_and_on_demand() -> None:
    loads: list[int] = []

    def load() -> None:
        loads.append(1)
        shelf.register("late")(3)

    shelf: Registry[int] = Registry("number", load)
    assert loads == []
    assert shelf["late"] == 3 and shelf.names() == ["late"]
    assert loads == [1]
