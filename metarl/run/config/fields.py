"""Kinds of values of options: their words, their checks and their place on a command line.

A kind takes a value from a YAML file, from Python or, as text, from the command line, and gives back the one
form in which a configuration keeps it, so that every way in is checked by the same code in the same words.
"""

import dataclasses
import difflib
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from metarl.core.errors import RequestError, shown
from metarl.run.store import yaml_values as yamlfile

V = TypeVar("V")


@dataclass(frozen=True)
class Kind:
    """``accept`` returns the canonical value, or raises ValueError or TypeError for what is not ``allowed``.

    ``allowed`` completes "<name> must be …"; ``nargs`` is how many words it takes on the command line, where
    an option that ``repeats`` adds to what stood before and any other replaces it. ``parts`` says that values
    name parts, which are imported where they are ``module:name``, and of which kind (``parts.PARTS``).
    """

    metavar: str
    allowed: str
    accept: Callable[[Any], Any]
    nargs: Any = 1
    repeats: bool = False
    parts: str | None = None


def option(
    default: Any,
    kind: Kind,
    text: str,
    unset: str = "unset",
    *,
    of: Literal["episodes", "examples"] | None = None,
    examples: Any = None,
    critic: Any = None,
) -> Any:
    """Return a dataclass field that may be left out: ``None`` is unset.

    Args:
        default: its value when nothing else says so; ``None`` when it may stay unset.
        kind: its allowed values.
        text: its meaning, with its unit and where the default comes from.
        unset: what happens where it stays unset, for the help.
        of: what tasks must give, so that it has a meaning; None: either.
        examples: its default where tasks give labelled examples, if that is another one.
        critic: its default beside a value network, if that is another one.
    """
    metadata = {"default": default, "kind": kind, "text": text, "unset": unset}
    metadata |= {"of": of, "examples": examples, "critic": critic}
    return dataclasses.field(default=None, metadata=metadata)


def trusting() -> Any:
    """Return the option of every command that opens what may come from somebody else; it has one meaning."""
    about = "trust what is opened: a run may name code (module:name in its config.yaml), which is imported"
    return option(False, flag(), about)


def defaults(cls: type) -> dict[str, Any]:
    """Return the defaults of a dataclass of options, by field name."""
    return {field.name: field.metadata["default"] for field in dataclasses.fields(cls)}


def accept(field: "dataclasses.Field[Any]", value: Any) -> Any:
    """Return the canonical form of ``value`` for one field.

    Raises:
        RequestError: naming the field, what is allowed and what was given.
    """
    kind: Kind = field.metadata["kind"]
    try:
        return kind.accept(value)
    except (TypeError, ValueError, OverflowError):
        raise RequestError(f"{field.name} must be {kind.allowed}, got {shown(value)}") from None


def check_names(values: Mapping[str, Any], fields: Iterable[str], source: str) -> None:
    """Check that every key is the name of a field.

    Raises:
        RequestError: naming ``source``, the first key that is none, and what comes close or else is allowed.
    """
    names = list(fields)
    for key in values:
        if key not in names:
            hint = meant(str(key).replace("-", "_"), names)
            raise RequestError(f"unknown option {key!r} in {source}; {hint}")


def meant(word: str, names: Iterable[str]) -> str:
    """Return the names that come close to a word, or else all that are allowed, for a message."""
    names = list(names)
    close = difflib.get_close_matches(word, names, cutoff=0.7)
    return f"did you mean {' or '.join(close)}?" if close else f"allowed: {', '.join(names)}"


def whole(at_least: int, at_most: int | float = math.inf) -> Kind:
    """Whole numbers; a bool is not one."""

    def check(value: Any) -> int:
        if isinstance(value, bool):
            raise TypeError
        integer = int(value) if isinstance(value, str) else operator.index(value)
        return _keep(integer, at_least <= integer <= at_most)

    most = f" and at most {at_most}" if math.isfinite(at_most) else ""
    return Kind("INT", f"a whole number of at least {at_least}{most}", check)


def number(
    *,
    above: int | float = -math.inf,
    below: int | float = math.inf,
    at_least: int | float = -math.inf,
    at_most: int | float = math.inf,
) -> Kind:
    """Finite numbers in a range; neither nan nor inf is one, nor is a bool."""

    def check(value: Any) -> float:
        if isinstance(value, bool):
            raise TypeError
        real = float(value)
        return _keep(real, math.isfinite(real) and above < real < below and at_least <= real <= at_most)

    bounds = {"above": above, "of at least": at_least, "below": below, "of at most": at_most}
    words = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound))
    return Kind("FLOAT", f"a finite number {words}".strip(), check)


def one_of(*names: str) -> Kind:
    """One of a few names."""
    listed = "{" + ",".join(names) + "}"
    return Kind(listed, f"one of {', '.join(names)}", lambda value: _keep(value, value in names))


def text(metavar: str, allowed: str = "text", test: Callable[[str], bool] = bool) -> Kind:
    """Printable text of one line that is not empty, or that passes ``test``."""

    def check(value: Any) -> str:
        return str(_keep(value, isinstance(value, str) and value.isprintable() and test(value)))

    return Kind(metavar, allowed, check)


def part(parts: str) -> Kind:
    """The name of a part: registered, installed, or ``module:name``."""
    return dataclasses.replace(text("NAME"), parts=parts)


def flag() -> Kind:
    """Yes or no; the bare option on a command line means yes."""

    def check(value: Any) -> bool:
        word, words = str(value).lower(), {"true": True, "false": False}
        return words[_keep(word, isinstance(value, (bool, str)) and word in words)]

    return Kind("{true,false}", "true or false", check, (0, 1))


def many(kind: Kind, repeats: bool = False) -> Kind:
    """Any number of values of a kind, kept as a tuple; a value alone is a tuple of one."""

    def check(value: Any) -> tuple[Any, ...]:
        return tuple(kind.accept(item) for item in (value if isinstance(value, (list, tuple)) else (value,)))

    metavar, allowed = f"{kind.metavar} ...", f"a list in which each is {kind.allowed}"
    return Kind(metavar, allowed, check, "*", repeats, kind.parts)


def auto(kind: Kind) -> Kind:
    """A kind that may also be left to the program: ``auto`` is kept as ``None``."""

    def check(value: Any) -> Any:
        return None if value == "auto" else kind.accept(value)

    metavar, allowed = f"auto|{kind.metavar}", f"auto or {kind.allowed}"
    return Kind(metavar, allowed, check, kind.nargs, parts=kind.parts)


def pairs() -> Kind:
    """A mapping from names to plain values; on a command line ``K=V`` with V as in YAML."""

    def check(value: Any) -> dict[str, Any]:
        items = value.items() if isinstance(value, Mapping) else map(_pair, value)
        return {_keep(key, isinstance(key, str) and key.isidentifier()): _plain(item) for key, item in items}

    return Kind("K=V ...", "pairs of a name and a plain value (K=V)", check, "*", True)


def _pair(word: Any) -> tuple[str, Any]:
    key, equals, value = _keep(word, isinstance(word, str)).partition("=")
    return key, yamlfile.parse(_keep(value, equals == "="))


def _plain(value: Any) -> Any:
    """Return a value that YAML keeps exactly: scalars, and lists and mappings of them."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {_keep(key, isinstance(key, str)): _plain(item) for key, item in value.items()}
    if type(value) is float:
        return _keep(value, math.isfinite(value))
    return _keep(value, value is None or type(value) in (bool, int, str))


def _keep(value: V, allowed: bool) -> V:
    if not allowed:
        raise ValueError
    return value
