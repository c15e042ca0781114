"""Modules of this package that need what only an extra installs."""

from importlib import import_module
from types import ModuleType


def module_of_extra(name: str, needs: str) -> ModuleType:
    """Import the module ``metarl_envs.NAME``.

    Args:
        needs: the beginning of the line that refuses, such as "ant-dir needs MuJoCo: pip install ...".

    Raises:
        ValueError: it cannot be imported; one line.
    """
    try:
        return import_module(f"metarl_envs.{name}")
    except ImportError as error:
        raise ValueError(f"{needs} ({str(error).splitlines()[0]})") from error
