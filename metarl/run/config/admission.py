"""Checks before anything of a run directory is used, since it may come from anybody; and ``--trust``."""

import os
import shlex
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from metarl.core.errors import RequestError
from metarl.run.config.train_config import TrainConfig, from_yaml
from metarl.run.config.train_fields import FIELDS

ASK = "give --trust (in Python trust=True) if it is yours or you know where it is from"
Trust = bool | Collection[str]  # whether code may be named; or which names are known already


def check_run(path: Path) -> Path:
    """Return the directory, if it holds a run.

    A symbolic link is refused wherever it lies: what is read or written through one may lie outside. So are
    pipes, sockets and devices, on which a reader may wait for ever. The folder ``wandb`` is left to Weights &
    Biases, which keeps links in it.

    Raises:
        RequestError: there is no run, or a link or the like; it is named.
    """
    if not (path / "config.yaml").is_file():
        raise RequestError(f"{path} is not a run directory: no config.yaml")
    for folder, folders, files in os.walk(path):
        for place in (Path(folder, name) for name in [*folders, *files]):
            with suppress(FileNotFoundError):  # a process that trains there has removed it since
                _check_kind(place, place.lstat().st_mode)
        folders[:] = [name for name in folders if name != "wandb"]
    return path


def _check_kind(place: Path, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise RequestError(f"{place} is a symbolic link, and a run directory holds none but wandb's")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise RequestError(f"{place} is no file, and a run directory holds nothing but files and folders")


def code_in(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the code that a configuration names, ``module:name``, each with the option that imports it."""
    code: dict[str, str] = {}
    for option, field in FIELDS.items():
        value = values.get(option) if field.metadata["kind"].parts else None
        code |= {str(name): option for name in (value if isinstance(value, (list, tuple)) else [value])}
    return {name: option for name, option in code.items() if ":" in name}


def admit(values: Mapping[str, Any], path: Path, trust: Trust) -> None:
    """Let a configuration that was read from a run pass, before anything that it names is imported.

    Args:
        path: the file it stands in.
        trust: whether it may name code of any kind, or which names it may have.

    Raises:
        RequestError: it names code and is not trusted; option, name and file are named.
    """
    known = () if isinstance(trust, bool) else trust
    for name, option in code_in(values).items():
        if trust is not True and name not in known:
            raise RequestError(f"{path} names code, {option} {name!r}, which was not imported; {ASK}")


def load_config(path: str | Path, trust: Trust = False) -> TrainConfig:
    """Return the configuration that a file describes which may come from anybody: a run's ``config.yaml``.

    Args:
        trust: whether it may name code, which is imported; or the names that it may have.
    """
    values = from_yaml(path)
    admit(values, Path(path), trust)
    return TrainConfig.of(values | {"trust": trust is True})


def read_config(path: Path, trust: Trust) -> TrainConfig:
    """Return the configuration of the run in a directory, which may come from anybody."""
    return load_config(check_run(path) / "config.yaml", trust)


def command(*words: object, opens: Mapping[str, Any] | None = None) -> str:
    """Return what to type next, for a shell: ``metarl``, words, and ``--trust`` where that is needed.

    Args:
        words: the command, its arguments and options; a path may hold any character.
        opens: the configuration of the run that is opened, if one is.
    """
    return shlex.join(["metarl", *map(str, words), *(["--trust"] if code_in(opens or {}) else [])])
