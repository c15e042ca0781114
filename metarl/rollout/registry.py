"""Families by name: from the entry-point group ``metarl.families``, registered here, or ``module:Class``."""

from numbers import Integral
from typing import Any, cast

from metarl.core.errors import RequestError
from metarl.core.registry import Registry
from metarl.rollout.family import Family, is_supervised, lacking

families: Registry[type, None] = Registry(
    "family", "metarl.families", no_facts=None, accepts=type, allowed="a class"
)


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


def _line(error: Exception) -> str:
    """The first line of an exception's text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
