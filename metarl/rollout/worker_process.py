"""The parent's end of a worker process.

It is a process of loky's, which starts a fresh interpreter (nothing is forked from a process with threads and
loaded libraries) and does not import the user's script again, and a pipe. loky's pool is not used: shares
belong to certain workers, and each worker is to be watched, killed and replaced by itself.
"""

import mmap
import os
import pickle
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker as _multiprocessing_tracker
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from loky.backend import get_context, resource_tracker

from metarl.core.process import STOP_SIGNALS
from metarl.rollout.worker import SAFE_PATH, SET_HERE, START, Failure, live

# One thread for the linear algebra of environments too: there is a worker for each core.
_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_CLOSE = 5.0  # s that environments have to close


class WorkerEnded(Exception):
    """The process ended before it answered."""


class WorkerProcess:
    """One process, from its start to its end; a worker that has ended is replaced by another object.

    Args:
        setup: the pickled ``Setup``.
        timeout: seconds without progress after which the worker counts as stuck.
    """

    def __init__(self, setup: bytes, timeout: float) -> None:
        self._setup, self._timeout = setup, timeout
        self._ready = False
        self._how_it_ended: str | None = None
        file, path = tempfile.mkstemp(prefix="metarl-worker-")
        os.ftruncate(file, 8)
        self._progress = Path(path)
        self._count = memoryview(mmap.mmap(file, 8)).cast("Q")
        os.close(file)
        self._seen, self._since = 0, time.monotonic()
        context = get_context("loky")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=live, args=(theirs, path, os.getpid(), timeout), name="metarl worker", env=_ENVIRONMENT
        )
        with _importing_nothing_here(), _signals_blocked():
            self._process.start()
        theirs.close()
        # At the exit of a program that never closed its executor, before multiprocessing waits for children.
        self._at_exit = Finalize(self, _kill, (self._process.pid,), exitpriority=10)

    def ask(self, job: bytes) -> Any:
        """The answer to a pickled ``Job``; blocks until it is there, hence is called in a thread.

        Raises:
            WorkerEnded: there will be none.
        """
        try:
            if not self._ready:
                self._connection.send_bytes(self._setup)
                failure = pickle.loads(self._connection.recv_bytes())
                if isinstance(failure, Failure):
                    return failure
                self._ready = True
            self._connection.send_bytes(job)
            return pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise WorkerEnded from error

    def expect(self) -> None:
        """From now on progress is expected: to be called before a job is asked for."""
        self._since = time.monotonic()

    def stuck(self) -> str | None:
        """Why the worker counts as stuck, if it does: there was no progress for too long."""
        count, now = self._count[0], time.monotonic()
        if count != self._seen:
            self._seen, self._since = count, now
        limit = self._timeout if count else max(self._timeout, START)
        if now - self._since <= limit:
            return None
        return f"no step for {limit:g} s" if count else f"not ready after {limit:g} s"

    def ended(self) -> bool:
        """Return whether the process has ended, also where one that it started holds its pipe open."""
        try:
            found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # somebody has waited for it
            return True
        return found is not None

    def kill(self, patience: float = 0.0) -> str:
        """Ends the process and what it started; says how it ended, by itself within ``patience`` seconds."""
        if self._how_it_ended is not None:
            return self._how_it_ended
        wait([self._process.sentinel], patience)  # not join, after which its number may be another's
        _kill(self._process.pid)
        self._process.join(_CLOSE)
        if not self._connection.closed:
            # A process that it started in a session of its own may hold the other end open; who reads wakes.
            with socket.socket(fileno=os.dup(self._connection.fileno())) as pipe, suppress(OSError):
                pipe.shutdown(socket.SHUT_RDWR)
        self._at_exit.cancel()
        self._progress.unlink(missing_ok=True)
        self._how_it_ended = _in_words(self._process.exitcode)
        return self._how_it_ended

    def let_go(self) -> None:
        """Tells an idle worker that there is nothing more to do."""
        self._connection.close()

    def close(self) -> None:
        """Waits for a worker that was let go of; one whose environments do not close is killed."""
        self.kill(patience=_CLOSE)


@contextmanager
def _importing_nothing_here() -> Iterator[None]:
    """Keep processes that start within from importing Python's or loky's modules from the working directory.

    It may be a downloaded run that has a ``loky.py``. What a worker may import from there, it is told with
    the rest of this process's ``sys.path``.
    """
    if os.environ.get(SAFE_PATH):
        yield
        return
    os.environ[SAFE_PATH] = SET_HERE
    try:
        yield
    finally:
        del os.environ[SAFE_PATH]


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """A child inherits what is blocked, and so cannot be stopped before it has arranged for signals."""
    _multiprocessing_tracker.ensure_running()  # starting it, and loky's, would unblock some
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_words(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    memory = " (as the system does where memory runs out)" if code == -signal.SIGKILL else ""
    return f"killed by {signal.Signals(-code).name}{memory}"


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):  # before it has a group of its own
        os.kill(pid, signal.SIGKILL)
