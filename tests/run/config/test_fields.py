"""Every kind of option: what it takes, in which form it keeps it, and the line in which it refuses."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from metarl.core.errors import RequestError
from metarl.run.config.fields import (
    Kind,
    accept,
    auto,
    flag,
    many,
    number,
    one_of,
    option,
    pairs,
    text,
    whole,
)


def field(kind: Kind) -> "dataclasses.Field[Any]":
    made = dataclasses.make_dataclass("Options", [("size", Any, option(None, kind, ""))])
    return dataclasses.fields(made)[0]


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        (whole(1), "12", 12),
        (whole(0), np.int64(0), 0),
        (number(above=0), "1e-3", 1e-3),
        (number(above=0), 2, 2.0),
        (number(), np.float32(0.5), 0.5),
        (number(at_least=0, at_most=1), 1, 1.0),
        (one_of("a", "b"), "b", "b"),
        (text("NAME"), "3", "3"),
        (flag(), "False", False),
        (flag(), True, True),
        (many(whole(1)), ["64", 32], (64, 32)),
        (many(whole(1)), 64, (64,)),
        (many(whole(1)), (), ()),
        (auto(whole(1)), "auto", None),
        (auto(whole(1)), "4", 4),
        (
            pairs(),
            ("a=1", "b=1e-3", "c=[x, true]", "d=", "e=k=v"),
            {"a": 1, "b": 1e-3, "c": ["x", True], "d": None, "e": "k=v"},
        ),
        (pairs(), {"a": (1, 2), "b": {"c": "x"}}, {"a": [1, 2], "b": {"c": "x"}}),
    ],
)
def test_a_value_is_kept_in_one_form(kind: Kind, given: Any, kept: Any) -> None:
    value = accept(field(kind), given)
    assert value == kept
    assert type(value) is type(kept)
    assert accept(field(kind), value if value is not None else "auto") == kept  # canonical: taken as it is


@pytest.mark.parametrize(
    ("kind", "given", "line"),
    [
        (whole(1), 0, "size must be a whole number of at least 1, got 0"),
        (whole(1), "ten", "size must be a whole number of at least 1, got 'ten'"),
        (whole(1), True, "size must be a whole number of at least 1, got True"),
        (whole(1), 2.0, "size must be a whole number of at least 1, got 2.0"),
        (number(above=0), 0.0, "size must be a finite number above 0, got 0.0"),
        (number(above=0), "nan", "size must be a finite number above 0, got 'nan'"),
        (number(), math.inf, "size must be a finite number, got inf"),
        (number(), 10**400, f"size must be a finite number, got {str(10**400)[:77]}..."),
        (
            number(at_least=0, at_most=1),
            1.5,
            "size must be a finite number of at least 0 and of at most 1, got 1.5",
        ),
        (number(), False, "size must be a finite number, got False"),
        (one_of("a", "b"), "c", "size must be one of a, b, got 'c'"),
        (one_of("a", "b"), [], "size must be one of a, b, got []"),
        (text("NAME"), "", "size must be text, got ''"),
        (text("NAME"), "a\nb", r"size must be text, got 'a\nb'"),
        (text("NAME"), 3, "size must be text, got 3"),
        (flag(), 1, "size must be true or false, got 1"),
        (flag(), "yes please", "size must be true or false, got 'yes please'"),
        (
            many(whole(1)),
            ["64", "x"],
            "size must be a list in which each is a whole number of at least 1, got ['64', 'x']",
        ),
        (auto(whole(1)), 0, "size must be auto or a whole number of at least 1, got 0"),
        (pairs(), ("a",), "size must be pairs of a name and a plain value (K=V), got ('a',)"),
        (pairs(), ("=1",), "size must be pairs of a name and a plain value (K=V), got ('=1',)"),
        (pairs(), ("a=[",), "size must be pairs of a name and a plain value (K=V), got ('a=[',)"),
        (pairs(), [3], "size must be pairs of a name and a plain value (K=V), got [3]"),
        (pairs(), {"a": {1, 2}}, "size must be pairs of a name and a plain value (K=V), got {'a': {1, 2}}"),
        (pairs(), {"a": math.nan}, "size must be pairs of a name and a plain value (K=V), got {'a': nan}"),
    ],
)
def test_a_refusal_names_the_field_what_is_allowed_and_what_was_given(
    kind: Kind, given: Any, line: str
) -> None:
    with pytest.raises(RequestError) as refusal:
        accept(field(kind), given)
    assert str(refusal.value) == line
