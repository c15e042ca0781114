"""Signals in collection, in an update and in a save; a second one; two processes in one run directory."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostile_files import snapshot
from metarl.cli import main
from metarl.core.errors import RequestError, RunFailed
from metarl.run.config.train_config import to_yaml
from metarl.run.store import checkpoint as store
from metarl.run.store.lock import LOCK, alone_in
from metarl.run.train import iteration, signals, training
from metarl.run.train.signals import Stopped
from metarl.run.use.runs import Run, resume, train
from tiny_runs import alike, rows, tiny
from worker_runs import all_gone, left_in

Patch = pytest.MonkeyPatch
FEW = ["--family", "point-goal", "--tasks", "2", "--episodes", "2"]


def at_call(number: int, function: Callable[..., Any], then: Callable[[], None]) -> Callable[..., Any]:
    """``function``, which does something else first at one of its calls."""
    calls = 0

    def called(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            then()
        return function(*args, **options)

    return called


def ask(signum: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), signum)


def ask_and_hang() -> None:
    ask()
    time.sleep(60)


def at_collection(number: int, then: Callable[[], None], monkeypatch: Patch) -> None:
    """Something happens before the experience of the given iteration is collected."""
    monkeypatch.setattr(iteration, "gather", at_call(number, iteration.gather, then))


def trained_until_stopped(path: Path, **changes: Any) -> None:
    with pytest.raises(Stopped) as caught:
        train(tiny(**{"iterations": 4, "checkpoint_every": 4} | changes), path)
    assert caught.value.status == 143


def assert_goes_on(path: Path, finished: int, tmp_path: Path) -> None:
    """The run stands after ``finished`` iterations, and ends as one that nobody stopped."""
    assert Run.resume(path).iteration == finished
    assert [row["iteration"] for row in rows(path)] == list(range(1, finished + 1))
    straight = train(tiny(iterations=4, checkpoint_every=4), tmp_path / "straight")
    assert alike(resume(path, 4), straight)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("place", ["collection", "update"])
def test_an_iteration_that_ends_within_the_grace_period_is_finished(
    tmp_path: Path, monkeypatch: Patch, place: str, signum: int
) -> None:
    def asked() -> None:
        ask(signum)

    if place == "update":
        monkeypatch.setattr(iteration, "all_finite", at_call(3, iteration.all_finite, asked))
    else:
        at_collection(2, asked, monkeypatch)
    trained_until_stopped(tmp_path / "run")
    monkeypatch.undo()
    assert_goes_on(tmp_path / "run", 2, tmp_path)


def test_one_that_takes_longer_is_given_up(
    tmp_path: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_collection(3, ask_and_hang, monkeypatch)
    trained_until_stopped(tmp_path / "run", grace=0.3)
    monkeypatch.undo()
    told = capsys.readouterr().err
    assert "finishing this iteration if it takes no more than 0.3 s" in told
    assert "saved iteration 2; go on with: metarl resume" in told
    assert_goes_on(tmp_path / "run", 2, tmp_path)


def test_the_longest_grace_period_is_one_that_the_system_s_clock_knows(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    with pytest.raises(RequestError, match="grace must be a finite number above 0 and of at most 1e"):
        train(tiny(grace=1e10), tmp_path / "run")
    at_collection(2, ask, monkeypatch)
    trained_until_stopped(tmp_path / "run", grace=1e9)
    monkeypatch.undo()
    assert_goes_on(tmp_path / "run", 2, tmp_path)


def test_one_that_catches_everything_is_given_up_again(tmp_path: Path, monkeypatch: Patch) -> None:
    def ask_and_hang_twice() -> None:
        with contextlib.suppress(BaseException):
            ask_and_hang()
        time.sleep(60)

    monkeypatch.setattr(signals, "AGAIN", 0.3)
    at_collection(3, ask_and_hang_twice, monkeypatch)
    trained_until_stopped(tmp_path / "run", grace=0.3)
    monkeypatch.undo()
    assert_goes_on(tmp_path / "run", 2, tmp_path)


def test_a_save_under_way_is_finished_whatever_the_grace_period(tmp_path: Path, monkeypatch: Patch) -> None:
    def ask_and_wait() -> None:
        ask()
        time.sleep(0.5)

    monkeypatch.setattr(store, "sync_folder", at_call(1, store.sync_folder, ask_and_wait))
    trained_until_stopped(tmp_path / "run", checkpoint_every=2, grace=0.1)
    monkeypatch.undo()
    assert store.available(tmp_path / "run" / "checkpoints") == [2]
    store.load(store.find(tmp_path / "run" / "checkpoints"))


SAVING = """
import os, signal, sys, time
from pathlib import Path
from metarl.run.store import checkpoint as store
from metarl.run.config.admission import load_config
from metarl.run.use.runs import train
from metarl.run.train.signals import ECHO

sync, calls = store.sync_folder, []

def twice(folder):
    calls.append(folder)
    if len(calls) == 3:  # the second save: each syncs its folder before it has its name, and the parent after
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(2 * ECHO)
    sync(folder)

store.sync_folder = twice
train(load_config(Path(sys.argv[1])), sys.argv[2])
"""


def test_a_second_signal_in_a_save_ends_at_once_and_costs_no_checkpoint(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(to_yaml(tiny(iterations=4, checkpoint_every=2)))
    run = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", SAVING, config, run], check=False, capture_output=True)
    assert done.returncode == -signal.SIGTERM
    assert store.available(run / "checkpoints") == [2]
    straight = train(tiny(iterations=4, checkpoint_every=2), tmp_path / "straight")
    assert alike(resume(run, 4), straight)


def test_a_validation_that_takes_longer_is_given_up_with_its_iteration(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(training, "validate", at_call(1, training.validate, ask_and_hang))
    trained_until_stopped(tmp_path / "run", checkpoint_every=3, grace=0.3)
    monkeypatch.undo()
    assert Run.resume(tmp_path / "run").iteration == 2
    straight = train(tiny(iterations=4, checkpoint_every=3), tmp_path / "straight")
    assert alike(resume(tmp_path / "run", 4), straight)


def test_a_worker_that_hangs_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    (tmp_path / "numbers").mkdir()
    family_arg = {"trouble": "sleeps", "far": True, "processes": str(tmp_path / "numbers")}
    changes = {"family": "python_stepped:Stroll", "family_arg": family_arg, "executor": "processes"}

    def once_they_work() -> None:
        while len(left_in(tmp_path / "numbers")) < 2:
            time.sleep(0.05)
        time.sleep(0.5)
        ask()

    threading.Thread(target=once_they_work, daemon=True).start()
    with pytest.raises(Stopped):
        train(tiny(**changes, workers=2, grace=0.2), tmp_path / "run")
    assert all_gone(left_in(tmp_path / "numbers"))
    assert Run.resume(tmp_path / "run", trust=True).iteration == 0


def test_two_processes_cannot_train_in_one_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tiny(), tmp_path / "run")
    before = (run.path / "metrics.jsonl").read_bytes()
    script = "import sys; from pathlib import Path; from metarl.run.store.lock import alone_in\n" + (
        "with alone_in(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", script, str(run.path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        capsys.readouterr()
        told = f"metarl: {run.path} is being trained by process {other.pid} on "
        for again in (["resume", str(run.path)], ["train", "maml", *FEW, "--out", str(run.path)]):
            assert main([*again, "--iterations", "4"]) == 2
            assert capsys.readouterr().err.startswith(told)
        with pytest.raises(RequestError, match=f"is being trained by process {other.pid}"):
            run.learn(1)
        assert (run.path / "metrics.jsonl").read_bytes() == before
        for looking in (["evaluate", *FEW[2:], "--steps", "1"], ["report"]):
            assert main([looking[0], str(run.path), *looking[1:]]) == 0
        assert (run.path / "metrics.jsonl").read_bytes() == before
        other.kill()  # without a goodbye, and yet the lock is free
    assert main(["train", "maml", *FEW, "--out", str(run.path)]) == 2
    again = f"exists already; give another by --out, or go on with: metarl resume {run.path}\n"
    assert again in capsys.readouterr().err
    assert resume(run.path, 3).iteration == 3


def moved(run: Path) -> None:
    run.rename(run.with_name("elsewhere"))


def removed(run: Path) -> None:
    shutil.rmtree(run)


def made_anew(run: Path) -> None:
    removed(run)
    train(tiny(iterations=1, seed=9), run)


def without_lock(run: Path) -> None:
    (run / LOCK).unlink()


@pytest.mark.parametrize("lost", [moved, removed, made_anew, without_lock])
def test_what_is_written_to_is_the_directory_that_was_locked(
    lost: Callable[[Path], None], tmp_path: Path, monkeypatch: Patch
) -> None:
    """Not what stands under its name later: a husk, or another process's run."""
    run, before = tmp_path / "run", dict[str, bytes]()

    def lose() -> None:
        monkeypatch.undo()  # or the other run would be lost too
        lost(run)
        before.update(snapshot(run))

    at_collection(3, lose, monkeypatch)
    with pytest.raises(RunFailed, match=f"^{run}, or its .lock, was moved or removed; nothing was written"):
        train(tiny(iterations=8, checkpoint_every=2), run)
    assert snapshot(run) == before
    if kept := {moved: tmp_path / "elsewhere", without_lock: run}.get(lost):
        straight = train(tiny(iterations=8, checkpoint_every=2), tmp_path / "straight")
        assert alike(resume(kept, 8), straight)


@pytest.mark.parametrize("place", ["failed", "given up"])
def test_a_run_that_is_gone_does_not_come_back_as_a_husk(
    place: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    def lose() -> None:
        removed(tmp_path / "run")
        if place == "failed":
            raise ZeroDivisionError
        ask_and_hang()

    at_collection(2, lose, monkeypatch)
    with pytest.raises(RunFailed):
        train(tiny(iterations=4, grace=0.2), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_lock_is_not_in_the_way_of_a_new_run(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        pass
    assert (tmp_path / LOCK).is_file()
    assert train(tiny(iterations=1), tmp_path).iteration == 1
