"""Writing files so that a reader, a crash or a power cut never meets half of one."""

import json
import math
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from metarl.core.errors import RequestError, RunFailed

JSON_LIMIT = 1 << 28  # bytes; an evaluation of 600 tasks with its pictures has a few megabytes

TEMPORARY = re.compile(r"\..+\.tmp-[0-9a-f]{8}")


def write_atomic(path: Path | str, data: bytes | str) -> Path:
    """Put ``data`` (text as UTF-8) at ``path``: afterwards it holds all of the new content, or still the old.

    The content goes to a temporary file beside ``path`` and is on the disk before it takes the name. When
    anything fails (a full disk, a signal) the temporary file is removed and ``OSError`` passes through.
    """
    path = Path(path)
    unfinished = _unfinished(path)
    try:
        with named(path):
            write_synced(unfinished, data.encode() if isinstance(data, str) else data)
            unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return path


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{secrets.token_hex(4)}")


def is_leftover(path: Path) -> bool:
    """Return True for what a killed ``write_atomic`` left, or one is writing just now."""
    return TEMPORARY.fullmatch(path.name) is not None


def clear_leftovers(path: Path) -> None:
    """Remove what killed processes left of ``path``; only its single writer may call this."""
    for file in filter(is_leftover, path.parent.glob(f".{path.name}.tmp-*")):
        file.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Refuse a file that cannot be written, before the work whose result it is to take is done."""
    unfinished = _unfinished(path)
    try:
        unfinished.touch()
        unfinished.unlink()
        possible = not path.is_dir()
    except OSError:
        possible = False
    if not possible:
        raise RequestError(f"out {path} cannot be written; allowed: a file in a folder that exists")


def is_file(name: str | Path) -> bool:
    """Return True for a file that is there; False also for what can be no file's name."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def read_limited(path: Path, limit: int) -> bytes:
    """Return a file's content; ``ValueError`` where it has more than ``limit`` bytes."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it is larger than {limit} bytes")
    return data


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        RequestError: it cannot be read, or holds something else; one line.
        FileNotFoundError: there is none.
    """
    try:
        data = json.loads(read_limited(path, JSON_LIMIT))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        problem = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise RequestError(f"{path} is damaged: {problem}") from None
    if not isinstance(data, dict):
        raise RequestError(f"{path} is damaged: it holds no object")
    return data


def write_synced(path: Path, data: bytes) -> None:
    """Write a file that does not exist yet and wait until the disk has it."""
    with named(path), path.open("xb") as file:
        file.write(data)
        sync_file(file)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Name the file in errors of writing, which the system gives without one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def resumable(path: Path, again: str) -> Iterator[None]:
    """End a run that cannot write, on a full disk for instance, in one line that says how to go on."""
    try:
        yield
    except BrokenPipeError:  # whoever reads has seen enough
        raise
    except OSError as error:
        failure = f"{error.filename or path}: {error.strerror or error}"
        raise RunFailed(f"{failure}; what was saved before is whole, go on with: {again}") from error


def sync_file(file: BinaryIO) -> None:
    """Wait until the disk has what was written to ``file``."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` survive a power cut, where the system can (Windows cannot)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with suppress(OSError):  # some network file systems refuse to sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_json(value: Any, indent: int | None = None, sort_keys: bool = False) -> str:
    """Return strict JSON: ``nan`` and infinities become ``null``, 0-d tensors and NumPy scalars numbers.

    Python would write ``NaN``, which no other reader of JSON accepts. Floats keep every bit.
    """
    separators = (",", ":") if sort_keys else None
    return json.dumps(
        _plain(value), indent=indent, sort_keys=sort_keys, separators=separators, allow_nan=False
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # NumPy arrays and scalars, tensors
        return _plain(value.tolist())
    return str(value) if isinstance(value, Path) else value  # what is left, json refuses by name
