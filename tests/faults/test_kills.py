"""SIGKILL at every moment at which training touches its files, then resume: nobody can tell afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metarl.run.config.train_config import to_yaml
from tiny_runs import rows, taught

# Each child dies at the n-th moment, for every n: before it opens, makes, renames or removes something in
# the run directory, before it asks for it to be on the disk, and after half of a row or of a file. Then the
# run is resumed, by a child that gets as far as it can or dies at its m-th moment, too.
KILLS = """
import dataclasses, os, shutil, signal, sys
from pathlib import Path
from metarl.run.store import checkpoint
from metarl.run.store import files
from metarl.run.log import metrics_file as loggers
from metarl.run.train import training
from metarl.run.config.admission import load_config
from metarl.run.use.runs import resume, train

EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}
root, config = Path(sys.argv[1]), load_config(sys.argv[2])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def die_at(n):
    left = [n]

    def moment(at_it=die):
        left[0] -= 1
        if left[0] < 0:
            at_it()

    def hook(event, args):
        if event in EVENTS and str(root) in str(args[0]):
            moment()

    fsync = os.fsync
    def synced(number):
        moment()
        fsync(number)

    row = loggers.JsonlLogger.row
    def logged(self, values):
        def half():
            line = files.to_json(dict(values)).encode()
            self._file.write(line[:len(line) // 2])
            self._file.flush()
            die()
        moment(half)
        row(self, values)

    write = files.write_synced
    def written(path, data):
        def half():
            path.write_bytes(data[:len(data) // 2])
            die()
        moment(half)
        write(path, data)

    os.fsync, loggers.JsonlLogger.row = synced, logged
    files.write_synced = checkpoint.write_synced = written
    sys.addaudithook(hook)

def go(path):
    if (path / "config.yaml").exists():
        resume(path, config.iterations)
    else:
        train(config, path)

def killed(path, n=None):
    child = os.fork()
    if child == 0:
        if n is not None:
            die_at(n)
        go(path)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, -signal.SIGKILL), ended
    return ended != 0

def extended(path):
    shutil.copytree(root / "short", path)
    return path

# In this process, which then has loaded all that it needs.
train(config, root / "straight")
train(dataclasses.replace(config, iterations=1, checkpoint_every=3), root / "short")
go(extended(root / "straight-extended"))
n = 0
while killed(path := root / f"once-{n}", n):
    killed(path)
    n += 1
m = 0
while killed(path := root / f"twice-{m}", n // 2) and killed(path, m):
    killed(path)
    m += 1
n = 0
while killed(path := extended(root / f"extended-{n}"), n):
    killed(path)
    n += 1
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs that were killed once or twice and then resumed, and ``straight``."""
    folder = tmp_path_factory.mktemp("killed")
    config = folder / "config.yaml"
    config.write_text(to_yaml(taught(iterations=2, checkpoint_every=1, keep_checkpoints=1)))
    command = [sys.executable, "-W", "ignore", "-c", KILLS, folder / "runs", config]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return folder / "runs"


@pytest.mark.parametrize(
    ("group", "undisturbed"),
    [("once", "straight"), ("twice", "straight"), ("extended", "straight-extended")],
)
def test_a_run_that_was_killed_at_any_moment_ends_like_one_that_was_not(
    killed: Path, group: str, undisturbed: str
) -> None:
    def files(run: Path) -> dict[str, bytes]:
        paths = (path for path in run.rglob("*") if path.is_file() and path.name not in TIMED)
        return {str(path.relative_to(run)): path.read_bytes() for path in paths}

    straight = killed / undisturbed
    expected = files(straight)
    assert {path.split("/")[0] for path in expected} == {"config.yaml", "machine.json", "checkpoints"}
    moments = [path for path in killed.iterdir() if path.name.startswith(group)]
    assert len(moments) > 20
    for run in moments:
        assert rows(run) == rows(straight), run
        assert files(run) == expected, run  # nothing is missing, and nothing is left over


TIMED = {".lock", "metrics.jsonl"}  # differ in what a clock or a process number decides
