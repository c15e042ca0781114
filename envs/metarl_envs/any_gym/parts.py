"""The parts of an environment that a ``GymFamily`` changes: finding, reading and setting them."""

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
    """Return the id or the callable that a class names as its ``env``, not bound as a method."""
    env = inspect.getattr_static(family, "env", None)
    return env.__func__ if isinstance(env, staticmethod | classmethod) else env


def entries(family: Any, part: str) -> dict[str, Any]:
    """Return the entries of one of a family's ``PARTS``; a ValueError of one line if it is no mapping."""
    ranges = getattr(family, part)
    if not isinstance(ranges, Mapping):
        allowed = "a dict, as in {'gravity': Uniform(5.0, 15.0)}"
        raise ValueError(f"{family.title}: {part} is {ranges!r:.60}; allowed: {allowed}")
    return dict(ranges)


def known_arguments(env: Any) -> list[str] | None:
    """Return the arguments of a constructor, or of an id's; None if it takes any, or does not say."""
    if isinstance(env, str):
        module, _, env_id = env.rpartition(":")
        if module:
            import_module(module)
        entry: Any = gymnasium.spec(env_id).entry_point
        env = load_env_creator(entry) if isinstance(entry, str) else entry
    try:
        parameters = inspect.signature(env).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def value_at(root: Any, path: str, title: str, part: str) -> Any:
    """Return the value at a path with dots; a ValueError names the part and what there is instead."""
    *above, last = path.split(".")
    try:
        owner = reduce(getattr, above, root)
        return getattr(owner, last)
    except AttributeError:
        names = _numbers(reduce(lambda at, name: getattr(at, name, None), above, root) or root)
        missing = f"{part} has {path!r}, which {type(root).__name__} has not"
        raise ValueError(f"{title}: {missing}; allowed: {_some(last, names)}") from None


def _numbers(owner: Any) -> list[str]:
    """Return the public names of an object's numbers and arrays."""
    names = vars(owner) if hasattr(owner, "__dict__") and vars(owner) else dir(owner)
    return sorted(n for n in names if not n.startswith("_") and is_numeric(getattr(owner, n, None)))


def is_numeric(value: Any) -> bool:
    """Return True for a number or an array of numbers."""
    return isinstance(value, int | float | np.generic | np.ndarray) and np.asarray(value).dtype.kind in "iuf"


def _some(name: str, names: Iterable[str]) -> str:
    """Join the names; of very many, those that resemble one."""
    names = list(names)
    if len(names) <= 20:
        return ", ".join(names)
    near = get_close_matches(name, names, n=5, cutoff=0.4) or names[:5]
    return f"{', '.join(near)} and {len(names) - len(near)} more"


def put(root: Any, path: str, value: Any, in_place: bool) -> None:
    """Set what stands at a path; an array ``in_place``, as an engine needs it."""
    *above, last = path.split(".")
    owner = reduce(getattr, above, root)
    if in_place and isinstance(array := getattr(owner, last), np.ndarray):
        array[...] = value
    else:
        setattr(owner, last, value)


def quiet() -> AbstractContextManager[None]:
    """Keep MuJoCo's warnings off terminal and log while environments are made, hundreds at a time."""
    if "mujoco" not in sys.modules:
        return nullcontext()
    from metarl_envs.base.mujoco_quiet import no_log_file

    return no_log_file()


def mujoco_fields(title: str) -> ModuleType:
    """Import the module that needs MuJoCo; a ValueError of one line where there is none."""
    needs = "fields need MuJoCo: pip install 'metarl-toolkit[mujoco]'"
    return module_of_extra("any_gym.mujoco_fields", f"{title}: {needs}")
