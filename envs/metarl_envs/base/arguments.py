"""Checks of a family's arguments: each failure is one line that names what was given and what is allowed."""

import operator
from collections.abc import Iterable, Mapping


def chosen_spec(family: str, spec: str | None, specs: Mapping[str, str]) -> str:
    """Return the spec, or the first one for None; ValueError for an unknown one."""
    if spec is None:
        return next(iter(specs))
    if spec not in specs:
        raise ValueError(f"{family}: unknown spec {spec!r}; allowed: {', '.join(specs)}")
    return spec


def no_others(family: str, unknown: Iterable[str], allowed: Iterable[str]) -> None:
    """Raise a ValueError for an argument that the family does not have."""
    for name in unknown:
        raise ValueError(f"{family}: unknown argument {name!r}; allowed: {', '.join(allowed)}")


def positive_int(family: str, name: str, value: object, least: int = 1) -> int:
    """Return the value as an int of at least ``least``; ValueError otherwise (bools and floats too)."""
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if number < least:
        raise ValueError(f"{family}: {name} is {value!r}; allowed: integers from {least}")
    return number


def known_split(family: str, split: str, allowed: Iterable[str]) -> str:
    """Return the split, if the family has it; ValueError otherwise."""
    allowed = tuple(allowed)
    if split not in allowed:
        raise ValueError(f"{family}: no split {split!r}; allowed: {', '.join(allowed)}")
    return split
