"""Stopping a run from outside so that nothing is lost."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from metarl.core.process import STOP_SIGNALS
from metarl.run.store.terminal import tell

ECHO = (
    0.25  # s; timeout(1), uv and make pass on a signal that the process was sent already: not a second wish
)
AGAIN = 5.0  # s after which what was not given up, since something caught it, is given up again


class Stopped(Exception):
    """The run was asked to stop and has saved; ``status`` is 130 after Ctrl-C, else 143.

    So a batch script that puts a job back into the queue has one status to look for, whichever signal its
    scheduler sends.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum
        self.status = 130 if signum == signal.SIGINT else 143


class OutOfTime(BaseException):
    """An iteration did not end within the grace period; not to be taken for a failure of its own."""


class GracefulStop:
    """While open, the first SIGINT, SIGTERM or SIGUSR1 only sets ``requested``; a second one ends at once.

    The trainer looks at ``requested`` between iterations, saves and raises ``Stopped(stop.requested)``. What
    it does within ``interruptible`` is given up by ``OutOfTime`` once ``grace`` seconds have passed: whoever
    sends such a signal will not wait for long. Outside the main thread, where Python allows no handlers,
    nothing is installed and ``requested`` stays None.
    """

    def __init__(self, grace: float = 20.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.requested: int | None = None
        self._grace, self._clock = grace, clock
        self._interruptible = self._late = False
        self._since = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "GracefulStop":
        if threading.current_thread() is threading.main_thread():
            for signum in STOP_SIGNALS:
                self._previous[signum] = signal.signal(signum, self._handle)
            self._previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._overdue)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Wraps what may be given up half-way, since nothing of it is kept."""
        self._interruptible = True
        try:
            if self._late:
                raise OutOfTime
            yield
        finally:
            self._interruptible = False

    def _overdue(self, signum: int, frame: FrameType | None) -> None:
        self._late = True
        if self._interruptible:
            raise OutOfTime

    def _restore(self) -> None:
        if self._previous:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        while self._previous:
            signum, handler = self._previous.popitem()
            signal.signal(
                signum, signal.SIG_DFL if handler is None else handler
            )  # None: installed outside Python

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.requested is None:
            self.requested, self._since = signum, self._clock()
            name = signal.Signals(signum).name
            signal.setitimer(signal.ITIMER_REAL, self._grace, AGAIN)
            within = f"finishing this iteration if it takes no more than {self._grace:g} s, then saving"
            tell(f"metarl: {name}: {within}; press again to end at once")
        elif self._clock() - self._since >= ECHO:
            self._end(signum)

    def _end(self, signum: int) -> None:
        """SIGINT unwinds, so that workers and files are closed; the others end the process unhandled."""
        self._restore()
        if signum == signal.SIGINT:
            raise KeyboardInterrupt
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
