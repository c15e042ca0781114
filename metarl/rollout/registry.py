"""Families by name: from the entry-point group ``metarl.families``, registered here, or ``module:Class``."""

import importlib
import sys
from collections.abc import Callable
from functools import reduce
from importlib.metadata import EntryPoint, entry_points
from numbers import Integral
from pathlib import Path
from typing import Any, cast

from metarl.core.errors import RequestError
from metarl.core.registry import Registry
from metarl.rollout.family import Family, is_supervised, lacking

GROUP = "metarl.families"


class FamilyRegistry(Registry[type]):
    """Family classes; an installed one is imported when asked for, so a broken one breaks only itself."""

    def __init__(self) -> None:
        super().__init__("family")
        self._points: dict[str, set[EntryPoint]] | None = None

    def register(self, name: str) -> Callable[[type], type]:
        """Decorator, as in ``Registry``; the name of an installed family is refused too."""
        if name in self._installed():
            raise RequestError(f"family {name!r} is already installed; allowed: another name")
        return super().register(name)

    def names(self) -> list[str]:
        """The names of all registered and installed families, sorted; imports none."""
        return sorted({*super().names(), *self._installed()})

    def __getitem__(self, name: str) -> type:
        """The class under a name, or the one that ``module:Class`` names."""
        if ":" in name:
            _look_here()
            return _imported(name, name)
        points = self._installed().get(name)
        if points is None:
            return super().__getitem__(name)
        values = sorted({point.value for point in points})
        if len(values) > 1:
            raise RequestError(f"family {name!r} is installed twice; allowed: {' or '.join(values)}")
        return _imported(name, values[0])

    def _installed(self) -> dict[str, set[EntryPoint]]:
        if self._points is None:
            self._points = {}
            for point in entry_points(group=GROUP):
                self._points.setdefault(point.name, set()).add(point)
        return self._points


families = FamilyRegistry()


def make(name: str, spec: str | None = None, **args: Any) -> Family:
    """A family by name.

    Args:
        name: one of ``families``, or ``module:Class``, where the module may lie in the working directory.
        spec: which of the family's definitions; None takes its default.
        args: the family's own arguments.

    Raises:
        RequestError: an unknown name, a class that cannot be imported, or arguments that the class refuses.
    """
    cls = families[name]
    try:
        family = cls(spec, **args)
    except (TypeError, ValueError, OverflowError) as error:
        text = _line(error)
        raise RequestError(text if name in text else f"family {name!r}: {text}") from error
    if missing := lacking(family):
        raise RequestError(f"family {name!r} lacks {', '.join(missing)} (metarl.rollout.family)")
    horizon = 1 if is_supervised(family) else family.horizon
    if not isinstance(horizon, Integral) or isinstance(horizon, bool) or horizon < 1:
        raise RequestError(f"family {name!r} has a horizon of {horizon!r}; allowed: whole numbers from 1")
    return cast(Family, family)


def _look_here() -> None:
    """Let modules of the working directory be found: last, so that they shadow nothing that is installed.

    The entry stays, since worker processes inherit ``sys.path`` and import the same class.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def _imported(name: str, value: str) -> type:
    """The class at ``module:Class``; a RequestError that names the family and the reason if there is none."""
    module, _, path = value.partition(":")
    origin = repr(name) if name == value else f"{name!r} ({value})"
    try:
        found = reduce(getattr, path.split("."), cast(Any, importlib.import_module(module)))
    except Exception as error:  # whatever the module of a user or of a third party raises
        reason = f"{type(error).__name__}: {_line(error)}"
        raise RequestError(f"family {origin} cannot be imported: {reason}") from error
    if not isinstance(found, type):
        raise RequestError(f"family {origin} is of type {type(found).__name__}; allowed: a class")
    return found


def _line(error: Exception) -> str:
    """The first line of an exception's text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
