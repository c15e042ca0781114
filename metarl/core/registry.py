"""Parts by name: registered in this process, installed by a distribution, or named as ``module:name``."""

import importlib
import sys
from collections.abc import Callable, Iterator
from functools import reduce
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from metarl.core.errors import RequestError

T = TypeVar("T")
F = TypeVar("F")


class Registry(Generic[T, F]):
    """Parts of one kind by name, each with the facts that others need to know about it.

    A part is found in one of three ways: under the name that ``register`` gave it, under the name of an entry
    point in ``group``, or as ``module:name``, where the module may lie in the working directory. A module
    that is imported for its part may register it, facts included; a part that states none has ``no_facts``.

    Args:
        kind: the word in messages, such as "family".
        group: the entry-point group of installed parts, such as "metarl.families".
        no_facts: the facts of a part that states none.
        accepts: the type that an imported part must have; ``allowed`` names it in messages.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        no_facts: F,
        accepts: Any = Callable,
        allowed: str = "something to call",
    ) -> None:
        self._kind, self._group, self._no_facts = kind, group, no_facts
        self._accepts, self._allowed = accepts, allowed
        self._parts: dict[str, T] = {}
        self._facts: dict[str, F] = {}
        self._points: dict[str, set[EntryPoint]] | None = None

    def register(self, name: str, facts: F | None = None) -> Callable[[T], T]:
        """Decorate a part to be found under ``name``.

        Raises:
            RequestError: another part has that name already.
        """

        def put(part: T) -> T:
            if name in self._parts and self._parts[name] is not part:
                raise RequestError(f"{self._kind} {name!r} is already registered")
            if name in self._installed() and _origin(part) not in self._values(name):
                raise RequestError(f"{self._kind} {name!r} is already installed; allowed: another name")
            self._parts[name] = part
            if facts is not None:
                self._facts[name] = facts
            return part

        return put

    def names(self) -> list[str]:
        """Return all registered and installed names, sorted; nothing is imported."""
        return sorted({*self._parts, *self._installed()})

    def __getitem__(self, name: str) -> T:
        """Return the part of a name.

        Raises:
            RequestError: an unknown name, or one whose part cannot be imported.
        """
        if name in self._parts:
            return self._parts[name]
        if ":" in name:
            _look_here()
            return self._imported(name, name)
        if name not in self._installed():
            raise RequestError(f"unknown {self._kind} {name!r}; allowed: {', '.join(self.names())}")
        values = self._values(name)
        if len(values) > 1:
            raise RequestError(f"{self._kind} {name!r} is installed twice; allowed: {' or '.join(values)}")
        return self._imported(name, values[0])

    def facts(self, name: str) -> F:
        """Return what a part was registered with; raises as ``registry[name]`` does."""
        part = self[name]
        names = [name, *(other for other, registered in self._parts.items() if registered is part)]
        return next((self._facts[each] for each in names if each in self._facts), self._no_facts)

    def __contains__(self, name: object) -> bool:
        return name in self._parts or name in self._installed()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _installed(self) -> dict[str, set[EntryPoint]]:
        if self._points is None:
            self._points = {}
            for point in entry_points(group=self._group):
                self._points.setdefault(point.name, set()).add(point)
        return self._points

    def _values(self, name: str) -> list[str]:
        return sorted({point.value for point in self._installed()[name]})

    def _imported(self, name: str, value: str) -> T:
        """Import the part at ``module:name``; an error names the part and the reason."""
        module, _, path = value.partition(":")
        origin = repr(name) if name == value else f"{name!r} ({value})"
        try:
            part = reduce(getattr, path.split("."), cast(Any, importlib.import_module(module)))
        except Exception as error:  # whatever the module of a user or of a third party raises
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            reason = f"{type(error).__name__}: {line}"
            raise RequestError(f"{self._kind} {origin} cannot be imported: {reason}") from error
        if not isinstance(part, self._accepts):
            given = type(part).__name__
            raise RequestError(f"{self._kind} {origin} is of type {given}; allowed: {self._allowed}")
        return cast(T, part)


def _origin(part: Any) -> str:
    """Return the ``module:name`` of a class or function."""
    return f"{getattr(part, '__module__', '')}:{getattr(part, '__qualname__', '')}"


def _look_here() -> None:
    """Let modules of the working directory be found: last, so that they shadow nothing that is installed.

    The entry stays, since worker processes inherit ``sys.path`` and import the same part.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
