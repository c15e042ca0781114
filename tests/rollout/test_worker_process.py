"""No worker process outlives the program that started it, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker_runs import alive, all_gone, left_in

PROGRAM = """
import signal, sys
from python_stepped import Stroll
from worker_runs import collected, inline, processes

class Mine(Stroll):  # of a script, and the script has no guard
    name = "mine"

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's & takes away
end, folder, timeout = sys.argv[1:]
executor = processes(Mine, workers=1, timeout=float(timeout), once=folder, processes=folder)
batch = collected(executor)
assert batch.reward.equal(collected(inline(Mine)).reward)
print("collected", flush=True)
if end == "raises":
    raise RuntimeError(end)
"""


def program(end: str, folder: Path, timeout: float) -> "subprocess.Popen[str]":
    """One that collects in a worker process, which leaves its number in ``folder``, and closes nothing."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, end, str(folder), str(timeout)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize(("end", "status"), [("falls off the end", 0), ("raises", 1)])
def test_a_program_that_never_closes_its_executor_leaves_nothing(
    end: str, status: int, tmp_path: Path
) -> None:
    with program(end, tmp_path, 60.0) as running:
        out, told = running.communicate(timeout=120)
    assert (running.returncode, out) == (status, "collected\n"), told
    assert told == "" or (end == "raises" and "RuntimeError: raises" in told)
    (worker,) = left_in(tmp_path)
    assert all_gone([worker])


@pytest.mark.parametrize(
    ("trouble", "signum", "timeout"),
    [
        ("sleeps", signal.SIGINT, 600.0),  # an impatient Ctrl-C
        ("sleeps", signal.SIGKILL, 600.0),
        ("is stuck in C", signal.SIGKILL, 10.0),  # its timer is left to end it
    ],
)
def test_a_program_that_is_ended_while_its_worker_hangs_leaves_nothing(
    trouble: str, signum: int, timeout: float, tmp_path: Path
) -> None:
    (tmp_path / trouble).touch()
    with program("", tmp_path, timeout) as running:
        while (tmp_path / trouble).exists() and running.poll() is None:
            time.sleep(0.05)
        (worker,) = set(left_in(tmp_path)) - {running.pid}
        assert alive(worker)
        running.send_signal(signum)
        try:
            running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == -signum
    assert all_gone([worker], within=40.0)


DOWNLOADED = """
import os, sys
from python_stepped import Stroll
from worker_runs import collected, processes

class Mine(Stroll):
    name = "mine"

    def __init__(self, spec=None, **arguments):
        assert "PYTHONSAFEPATH" not in os.environ  # what an environment starts is to be as without workers
        super().__init__(spec, **arguments)

sys.path.remove("")  # as for a program that is a file
os.chdir(sys.argv[1])
executor = processes(Mine, workers=1)
collected(executor)
executor.close()
"""


def test_the_start_of_a_worker_imports_nothing_from_the_working_directory(tmp_path: Path) -> None:
    # Not even what Python and loky import before they know the path of the program.
    run_dir, ran = tmp_path / "run", tmp_path / "ran"
    run_dir.mkdir()
    for name in ("loky", "multiprocessing", "numpy", "signal"):
        (run_dir / f"{name}.py").write_text(f"open({str(ran)!r}, 'w')")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, "-c", DOWNLOADED, str(run_dir)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not ran.exists()
