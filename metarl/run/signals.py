"""Stopping a run from outside so that nothing is lost."""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from metarl.core.process import STOP_SIGNALS
from metarl.run.files import tell

ECHO = (
    0.25  # s; timeout(1), uv and make pass on a signal that the process was sent already: not a second wish
)


class Stopped(Exception):
    """The run was asked to stop and has saved; ``status`` is the exit status a shell expects (130, 143)."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum
        self.status = 128 + signum


class GracefulStop:
    """While open, the first SIGINT, SIGTERM or SIGUSR1 only sets ``requested``; a second one ends at once.

    The trainer looks at ``requested`` between iterations, saves and raises ``Stopped(stop.requested)``.
    Outside the main thread, where Python allows no handlers, nothing is installed and it stays None.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.requested: int | None = None
        self._clock = clock
        self._since = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "GracefulStop":
        if threading.current_thread() is threading.main_thread():
            for signum in STOP_SIGNALS:
                self._previous[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _restore(self) -> None:
        while self._previous:
            signum, handler = self._previous.popitem()
            signal.signal(
                signum, signal.SIG_DFL if handler is None else handler
            )  # None: installed outside Python

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.requested is None:
            self.requested, self._since = signum, self._clock()
            name = signal.Signals(signum).name
            tell(f"metarl: {name}: finishing this iteration, then saving; press again to end at once")
        elif self._clock() - self._since >= ECHO:
            self._end(signum)

    def _end(self, signum: int) -> None:
        """SIGINT unwinds, so that workers and files are closed; the others end the process unhandled."""
        self._restore()
        if signum == signal.SIGINT:
            raise KeyboardInterrupt
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
