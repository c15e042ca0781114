"""One process at a time trains in a run directory."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from metarl.core.errors import RequestError
from metarl.run.files import is_leftover, warn

LOCK = ".lock"


@contextmanager
def alone_in(path: Path) -> Iterator[None]:
    """Holds a directory's lock, which the system gives back however this process ends.

    The file stays, since to remove it would let a third process lock another one of its name.

    Raises:
        RequestError: another process holds it, or another run in this one; or the directory cannot
            be written.
    """
    try:
        opened = (path / LOCK).open("a+")
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}") from error
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
        yield


def check_idle(path: Path) -> None:
    """Refuses a directory in which a process trains; writes nothing, not even a lock.

    Raises:
        RequestError: naming the process.
    """
    with suppress(OSError), (path / LOCK).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _in_use(path, file) from error


def is_taken(path: Path) -> bool:
    """Whether anything is there already but for a lock and what a killed start has left."""
    return path.exists() and (
        not path.is_dir() or any(entry.name != LOCK and not is_leftover(entry) for entry in path.iterdir())
    )


def _in_use(path: Path, file: TextIO) -> RequestError:
    file.seek(0)
    holder = file.read(200).strip() or "another process"
    return RequestError(f"{path} is being trained by {holder}; one at a time can")
