"""What a ``GymFamily`` changes of an environment: where it stands, what it is at first, and how it is set."""

import inspect
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from difflib import get_close_matches
from functools import reduce
from importlib import import_module
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator

from metarl_envs.base.extras import module_of_extra

PARTS = ("arguments", "attributes", "fields", "options", "others")


def creator(family: type) -> Any:
    """The id or the callable that a class names as its ``env``, not bound as a method."""
    found = inspect.getattr_static(family, "env", None)
    return found.__func__ if isinstance(found, staticmethod | classmethod) else found


def entries(family: Any, part: str) -> dict[str, Any]:
    """What a family's class says of a part; a ValueError of one line if it is no mapping."""
    given = getattr(family, part)
    if not isinstance(given, Mapping):
        allowed = "a dict, as in {'gravity': Uniform(5.0, 15.0)}"
        raise ValueError(f"{family.title}: {part} is {given!r:.60}; allowed: {allowed}")
    return dict(given)


def known_arguments(env: Any) -> list[str] | None:
    """The arguments of a constructor, or of an id's; None if it takes any, or if there is no telling."""
    if isinstance(env, str):
        module, _, known = env.rpartition(":")
        if module:
            import_module(module)
        entry: Any = gymnasium.spec(known).entry_point
        env = load_env_creator(entry) if isinstance(entry, str) else entry
    try:
        parameters = inspect.signature(env).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def value_at(root: Any, path: str, title: str, part: str) -> Any:
    """The value at a path with dots; a ValueError that names the part and what there is instead."""
    *above, last = path.split(".")
    try:
        owner = reduce(getattr, above, root)
        return getattr(owner, last)
    except AttributeError:
        names = _numbers(reduce(lambda at, name: getattr(at, name, None), above, root) or root)
        given = f"{part} has {path!r}, which {type(root).__name__} has not"
        raise ValueError(f"{title}: {given}; allowed: {_some(last, names)}") from None


def _numbers(owner: Any) -> list[str]:
    """Public names of an object's numbers and arrays."""
    names = vars(owner) if hasattr(owner, "__dict__") and vars(owner) else dir(owner)
    return sorted(n for n in names if not n.startswith("_") and is_numeric(getattr(owner, n, None)))


def is_numeric(value: Any) -> bool:
    """Whether a value is a number or an array of numbers."""
    return isinstance(value, int | float | np.generic | np.ndarray) and np.asarray(value).dtype.kind in "iuf"


def _some(name: str, names: Iterable[str]) -> str:
    """The names, of very many those that resemble one."""
    names = list(names)
    if len(names) <= 20:
        return ", ".join(names)
    near = get_close_matches(name, names, n=5, cutoff=0.4) or names[:5]
    return f"{', '.join(near)} and {len(names) - len(near)} more"


def put(root: Any, path: str, value: Any, in_place: bool) -> None:
    """Set what stands at a path; an array ``in_place``, as an engine needs it."""
    *above, last = path.split(".")
    owner = reduce(getattr, above, root)
    if in_place and isinstance(there := getattr(owner, last), np.ndarray):
        there[...] = value
    else:
        setattr(owner, last, value)


def quiet() -> AbstractContextManager[None]:
    """While environments are made: what MuJoCo warns of would be said, and logged, for each of hundreds."""
    if "mujoco" not in sys.modules:
        return nullcontext()
    from metarl_envs.base.mujoco_quiet import no_log_file

    return no_log_file()


def mujoco_fields(title: str) -> ModuleType:
    """The module that needs MuJoCo; a ValueError of one line where there is none."""
    needs = "fields need MuJoCo: pip install 'metarl-toolkit[mujoco]'"
    return module_of_extra("any_gym.mujoco_fields", f"{title}: {needs}")
