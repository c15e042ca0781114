"""The batch script of the documentation, with a scheduler that is two lines of shell."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from metarl.run.use.runs import load, train
from tiny_runs import alike, rows, tiny

SCRIPT = Path(__file__).parents[2] / "docs/examples/requeue.sh"
COMMANDS = {
    "srun": 'exec "$@"',
    "scontrol": 'echo "$@" >>"$REQUEUED"',
    "metarl": f'exec {sys.executable} -m metarl "$@" $MORE',
}
SMALL = (
    "--family-arg horizon=10 --hidden 8 --seed 3 --tasks 4 --episodes 3 --chunk 2 --threads 1 --device cpu"
)
MORE = f"{SMALL} --meta-optimizer adam --meta-lr 0.01 --validation-tasks 3 --checkpoint-every 1000"


def job(folder: Path, more: str = "") -> "subprocess.Popen[bytes]":
    """The script as a job."""
    for name, line in COMMANDS.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    environment = {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "SLURM_JOB_ID": "17",
        "REQUEUED": str(folder / "requeued"),
        "MORE": more,
    }
    return subprocess.Popen(["bash", SCRIPT], env=os.environ | environment)


def test_a_job_whose_time_is_up_saves_and_is_queued_again_until_it_is_done(tmp_path: Path) -> None:
    run = tmp_path / "runs/nav"
    first = job(tmp_path, f"{MORE} --iterations 100000")  # the last one counts
    while first.poll() is None and not ((run / "metrics.jsonl").is_file() and len(rows(run)) > 1):
        time.sleep(0.02)
    first.send_signal(signal.SIGUSR1)
    first.wait(60)
    assert (tmp_path / "requeued").read_text() == "requeue 17\n"
    done = len(rows(run))
    assert [path.name for path in (run / "checkpoints").iterdir()] == [f"{done:06d}"]

    assert job(tmp_path, f"--iterations {done + 2}").wait(120) == 0
    assert (tmp_path / "requeued").read_text() == "requeue 17\n"  # there is nothing left to do
    straight = train(tiny(checkpoint_every=1000, iterations=done + 2), tmp_path / "straight")
    assert alike(load(run, "last"), straight)
