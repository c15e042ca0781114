"""Parts found by name."""

import sys

import pytest

from metarl.core.errors import RequestError
from metarl.core.registry import Registry

OWN = """
from metarl.core import registry_of_tests

@registry_of_tests.register("tripled", "times three")
def triple(x):
    return 3 * x

def plain(x):
    return x

number = 3
"""


def shelf() -> Registry[object, str]:
    return Registry("number", "metarl.none", no_facts="nothing known", accepts=object)


def test_a_registered_part_is_found_and_named() -> None:
    numbers = shelf()
    assert numbers.register("two")(2) == 2
    numbers.register("one", "odd")(1)
    assert numbers["two"] == 2
    assert numbers.names() == ["one", "two"] == list(numbers)
    assert "one" in numbers and "three" not in numbers
    assert (numbers.facts("one"), numbers.facts("two")) == ("odd", "nothing known")


def test_an_unknown_name_says_what_is_allowed() -> None:
    numbers = shelf()
    numbers.register("two")(2)
    for ask in (numbers.__getitem__, numbers.facts):
        with pytest.raises(RequestError, match=r"^unknown number 'three'; allowed: two$"):
            ask("three")


def test_two_parts_under_one_name_are_refused() -> None:
    lists = shelf()
    part = [1]
    lists.register("x")(part)
    lists.register("x")(part)  # the same one again is harmless
    with pytest.raises(RequestError, match="number 'x' is already registered"):
        lists.register("x")([2])


def test_a_part_of_ones_own_module_brings_the_facts_it_is_registered_with(tmp_path, monkeypatch) -> None:
    functions: Registry[object, str] = Registry("function", "metarl.none", no_facts="nothing known")
    monkeypatch.setattr("metarl.core.registry_of_tests", functions, raising=False)
    (tmp_path / "own_parts.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.delitem(sys.modules, "own_parts", raising=False)
    assert functions["own_parts:triple"](2) == 6
    assert functions.facts("own_parts:triple") == functions.facts("tripled") == "times three"
    assert functions.facts("own_parts:plain") == "nothing known"
    with pytest.raises(RequestError, match=r"'own_parts:number' is of type int; allowed: something to call"):
        functions["own_parts:number"]
    with pytest.raises(RequestError, match=r"'own_parts:absent' cannot be imported: AttributeError"):
        functions["own_parts:absent"]
