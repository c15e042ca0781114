"""One process at a time trains in a run directory."""

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TextIO, cast

from metarl.core.errors import RequestError, RunFailed
from metarl.run.store.files import is_leftover
from metarl.run.store.terminal import warn

LOCK = ".lock"


@contextmanager
def alone_in(path: Path) -> Iterator[Callable[[], None]]:
    """Hold a directory's lock, which the system gives back however this process ends.

    The file stays, since to remove it would let a third process lock another one of its name.

    Yields:
        A function to call before each write: it raises RunFailed once the directory has been moved or
        removed, for what then stands under its name is nobody's, or another process's.

    Raises:
        RequestError: another process or run holds it, or the directory cannot be written.
    """
    try:
        opened = _open(path / LOCK, "a+", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    except OSError as error:
        raise RequestError(f"{path / LOCK} cannot be opened: {error.strerror or error}") from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _in_use(path, file) from error
        except OSError as error:  # some network file systems know no locks
            warn(f"{path} cannot be locked ({error.strerror}): take care that nobody else trains in it")
        with suppress(OSError):  # on a full disk; who holds it is a courtesy
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield partial(_check_held, path, file)


def _check_held(path: Path, file: TextIO) -> None:
    try:
        held = os.path.samestat(os.fstat(file.fileno()), (path / LOCK).lstat())
    except (FileNotFoundError, NotADirectoryError):
        held = False
    if not held:
        raise RunFailed(f"{path}, or its {LOCK}, was moved or removed; nothing was written there since")


def check_idle(path: Path) -> None:
    """Refuse a directory in which a process trains by a RequestError; write nothing, not even a lock."""
    with suppress(OSError), _open(path / LOCK, "r", os.O_RDONLY) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _in_use(path, file) from error


def is_taken(path: Path) -> bool:
    """Return True where anything is there but a lock and the leftovers of a killed start."""
    return path.exists() and (
        not path.is_dir() or any(entry.name != LOCK and not is_leftover(entry) for entry in path.iterdir())
    )


def _open(path: Path, mode: str, flags: int) -> TextIO:
    """Open the file itself, never the target of a link, and wait for nobody at a pipe's end."""
    file = os.fdopen(os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666), mode)
    return cast(TextIO, file)


def _in_use(path: Path, file: TextIO) -> RequestError:
    file.seek(0)
    holder = file.read(200).strip() or "another process"
    return RequestError(f"{path} is being trained by {holder}; one at a time can")
