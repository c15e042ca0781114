"""The first signal is a wish, the second an order."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from metarl.core.process import STOP_SIGNALS
from metarl.run.train.signals import ECHO, GracefulStop, Stopped


class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def handlers_stay_as_they_were() -> Iterator[None]:
    before = [signal.getsignal(signum) for signum in STOP_SIGNALS]
    yield
    after = [signal.getsignal(signum) for signum in STOP_SIGNALS]
    for signum, handler in zip(STOP_SIGNALS, before, strict=True):
        signal.signal(signum, handler)
    assert after == before


def test_these_signals_are_caught() -> None:
    assert set(STOP_SIGNALS) >= {signal.SIGINT, signal.SIGTERM}


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_the_first_signal_only_asks_and_says_so_in_one_line(
    signum: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with GracefulStop() as stop:
        assert stop.requested is None
        signal.raise_signal(signum)
        assert stop.requested == signum
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert signal.Signals(signum).name in err
    assert "press again to end at once" in err


def test_an_echo_of_the_first_signal_is_not_a_second_one(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with GracefulStop(clock=clock) as stop:
        signal.raise_signal(signal.SIGTERM)
        clock.now += 0.9 * ECHO
        signal.raise_signal(signal.SIGTERM)  # timeout(1) sends it to the process and to its group
        signal.raise_signal(signal.SIGINT)
        assert stop.requested == signal.SIGTERM
    assert capsys.readouterr().err.count("\n") == 1


def test_a_second_ctrl_c_ends_at_once_and_unwinds() -> None:
    clock, before = Clock(), signal.getsignal(signal.SIGINT)
    with GracefulStop(clock=clock):
        signal.raise_signal(signal.SIGTERM)
        clock.now += 1.1 * ECHO
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


ENDLESS = """
import signal, sys, time
from metarl.run.train.signals import ECHO, GracefulStop
with GracefulStop() as stop:
    print("ready", flush=True)
    while stop.requested is None:
        time.sleep(0.01)
    time.sleep(2 * ECHO)
    print("second", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_process_that_hangs(signum: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for expected in (b"ready\n", b"second\n"):
            assert process.stdout.readline() == expected
            process.send_signal(signum)
        assert process.wait(30) == -signum  # ended by the signal, as a shell expects of it
        assert process.stderr.readline().count(b"finishing this iteration") == 1


def test_handlers_come_back_after_a_failure_inside() -> None:
    def mine(*_: object) -> None: ...

    signal.signal(signal.SIGTERM, mine)

    def failing() -> None:
        with GracefulStop():
            assert signal.getsignal(signal.SIGTERM) is not mine
            raise ZeroDivisionError

    try:
        with pytest.raises(ZeroDivisionError):
            failing()
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_another_thread_installs_nothing_and_is_no_failure() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with GracefulStop() as stop:
            seen.extend([signal.getsignal(signal.SIGINT), stop.requested])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, None]


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)]
)
def test_stopped_carries_the_exit_status(signum: signal.Signals, status: int) -> None:
    stopped = Stopped(signum)
    assert (stopped.signum, stopped.status) == (signum, status)
    assert signum.name in str(stopped)


def test_it_can_be_used_again_after_it_closed() -> None:
    stop = GracefulStop()
    for _ in range(2):
        with stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.requested == signal.SIGTERM
