"""What is looked at before anything of a run directory is used, since it may come from anybody."""

import os
import shlex
import stat
import zipfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from metarl.core.errors import RequestError
from metarl.run.config import TrainConfig
from metarl.run.config_file import from_yaml, layered
from metarl.run.files import is_file
from metarl.run.zoo import source

IMPORTED = ("family", "model")  # the options that import what they name as module:name
ASK = "give --trust (in Python trust=True) if it is yours or you know where it is from"
Trust = bool | Collection[str]  # whether code may be named; or which names are known already


def check_run(path: Path) -> Path:
    """The directory, if it holds a run.

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
    """The code that a configuration names, module:name by option: what resolving it would import."""
    named = {option: str(values.get(option)) for option in IMPORTED}
    return {option: name for option, name in named.items() if ":" in name}


def command(*words: object, opens: Mapping[str, Any] | None = None) -> str:
    """A ``metarl`` command line for a shell, with ``--trust`` where what it ``opens`` needs that.

    Args:
        words: the command, its arguments and options; a path may hold any character.
        opens: the configuration of the run that is opened, if one is. A baseline of it starts where the run
            did, be that a zip of Stable-Baselines3.
    """
    start = str(opens.get("init_from")) if opens else ""
    trust = ["--trust"] if code_in(opens or {}) or (is_file(start) and zipfile.is_zipfile(start)) else []
    return shlex.join(["metarl", *map(str, words), *trust])


def admit(values: Mapping[str, Any], path: Path, trust: Trust) -> None:
    """Lets a configuration that was read from a run pass, before anything that it names is imported.

    Args:
        path: the file it stands in.
        trust: whether it may name code of any kind, or which names it may have.

    Raises:
        RequestError: it names code and is not trusted; option, name and file are named.
    """
    known = () if isinstance(trust, bool) else trust
    for option, name in code_in(values).items():
        if trust is not True and name not in known:
            raise RequestError(f"{path} names code, {option} {name!r}, which was not imported; {ASK}")


def load_config(path: str | Path, trust: Trust = False) -> TrainConfig:
    """Return the configuration that a file describes which may come from anybody: a run's ``config.yaml``.

    Args:
        trust: whether it may name code, which is imported; or the names that it may have.
    """
    values = from_yaml(path)
    admit(values, Path(path), trust)
    return layered(values, {"trust": trust is True})


def read_config(path: Path, trust: Trust) -> TrainConfig:
    """Return the configuration of the run in a directory, which may come from anybody."""
    return load_config(check_run(source(path)) / "config.yaml", trust)
