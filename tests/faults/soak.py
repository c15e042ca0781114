"""An hour of training that is killed over and over, and that must end as if nobody had touched it.

Two runs, one that collects inline and one in worker processes, are trained by ``metarl train`` and ``metarl
resume`` in processes that get SIGKILL at random moments: about half of them anywhere, half in a phase that
was drawn, so that the short ones (a save, a row, a resume) are met too; now and then SIGTERM, after which
the exit status must be 143. At the end each run is resumed to a round number of iterations and compared
with one that was trained so far in one go: weights, optimizer and every number on record. What must not
grow with the length of a run (memory, open files, its directory but for its rows, time of an iteration) is
measured along the way. Whatever is not as it must be ends with status 1.

    .venv/bin/python tests/faults/soak.py [--minutes 60] [--seed 1] [--keep FOLDER]
"""

import argparse
import json
import mmap
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

PHASES = ("start", "restore", "collect", "update", "validate", "row", "save", "between")
MARK = "METARL_SOAK"
OPTIONS: dict[str, str] = {
    "inline": "maml --family point-goal --family-arg horizon=10 --meta-optimizer adam --meta-lr 0.01",
    "processes": "promp --family python_stepped:Stroll --workers 2",
}
SIZES = "--seed 3 --tasks 4 --episodes 3 --hidden 8 --chunk 2 --threads 1 --device cpu"
SAVES = "--checkpoint-every 4 --keep-checkpoints 2 --validation-tasks 2"
ENDLESS = 10**7
FAMILIES = str(Path(__file__).parents[1])


def child(board: Path, words: list[str]) -> int:
    """``metarl WORDS``, with the number of the phase it is in kept in the first byte of ``board``."""
    with board.open("r+b") as file:
        now = mmap.mmap(file.fileno(), 1)

    def within(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            before = now[0]
            starting = PHASES[before] == "start" and phase != "restore"  # then signals are not yet heeded
            stays = starting or PHASES[before] == "validate"
            now[0] = before if stays else PHASES.index(phase)
            try:
                return function(*args, **options)
            finally:
                now[0] = before

        return called

    from metarl.cli import main
    from metarl.run.log.metrics_file import JsonlLogger
    from metarl.run.store import checkpoint
    from metarl.run.train import iteration, training

    for place, name, phase in (
        (iteration, "gather", "collect"),
        (training, "iterate", "update"),
        (training, "validate", "validate"),
        (JsonlLogger, "row", "row"),
        (JsonlLogger, "truncate_after", "restore"),
        (checkpoint, "latest_intact", "restore"),
        (checkpoint, "save", "save"),
        (checkpoint, "prune", "save"),
    ):
        setattr(place, name, within(phase, getattr(place, name)))
    learn = training.Progress

    def begun(*args: Any, **options: Any) -> Any:
        now[0] = PHASES.index("between")
        return learn(*args, **options)

    vars(training)["Progress"] = begun
    return main(words)


class Look(NamedTuple):
    """What a living process takes, and its run directory: bytes, open files, bytes but for rows."""

    memory: int
    files: int
    size: int


class Soaked:
    """A run in ``folder``, its trainings one after another, and how they ended."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder, self.path = kind, folder, folder / kind
        self.board = folder / f"{kind}.phase"
        self.board.write_bytes(b"\0")
        self.killed, self.stopped, self.starts = Counter[str](), 0, 0
        self.looks: list[tuple[int, Look]] = []
        self.errors: list[str] = []

    def begin(self, out: Path | None = None, iterations: int = ENDLESS) -> "subprocess.Popen[bytes]":
        """Train on, or a new run where there is none."""
        out = self.path if out is None else out
        if (out / "config.yaml").is_file():
            words = ["resume", str(out), "--iterations", str(iterations), "--trust"]
        else:
            words = ["train", *f"{OPTIONS[self.kind]} {SIZES} {SAVES} --executor {self.kind}".split()]
            words += ["--iterations", str(iterations), "--out", str(out)]
        self.starts += out == self.path
        self.board.write_bytes(b"\0")
        with (self.folder / f"{out.name}.err").open("ab") as told:
            return subprocess.Popen(
                [sys.executable, __file__, "--child", str(self.board), *words],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [FAMILIES, *sys.path]))},
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
            )

    def phase(self) -> str:
        """What the latest training does, or was doing when it ended."""
        return PHASES[self.board.read_bytes()[0]]

    def iteration(self) -> int:
        """The latest checkpoint."""
        return max((int(p.name) for p in self.path.glob("checkpoints/*") if p.name.isdigit()), default=0)

    def disturb(self, dice: random.Random) -> None:
        """One training, killed or stopped."""
        process, began = self.begin(), self.iteration()
        if (chance := dice.random()) < 0.05:  # before it has read what there is
            self._wait(process, dice.uniform(0.0, 6.0))
        elif chance < 0.12:
            self._wait(process, 60.0, until=lambda: self.phase() != "start")
        else:
            self._wait(process, 60.0, until=lambda: self.phase() not in ("start", "restore"))
            if chance < 0.7:  # and get on, however slow the machine is
                self._wait(process, 60.0, until=lambda: self.iteration() > began, every=0.02)
            self._wait(process, dice.expovariate(1 / 4.0))
            if dice.random() < 0.5:
                drawn = dice.choice(PHASES[2:])
                self._wait(process, 5.0, until=lambda: self.phase() == drawn)
                time.sleep(dice.uniform(0.0, 0.002) if drawn == "save" else 0.0)
            with suppress(FileNotFoundError, ProcessLookupError):
                self.looks.append((self.iteration(), look(process.pid, self.path)))
        signum = signal.SIGTERM if dice.random() < 0.1 else signal.SIGKILL
        if signum == signal.SIGTERM:
            self._wait(process, 600.0, until=lambda: self.phase() not in ("start", "restore"))
        process.send_signal(signum)
        status = process.wait(300)
        if signum == signal.SIGTERM:
            self.stopped += 1
            if status != 143:
                self.errors.append(f"status {status} after SIGTERM")
        elif status != -signal.SIGKILL:
            self.errors.append(f"status {status}: see {self.kind}.err")
        else:
            self.killed[self.phase()] += 1

    @staticmethod
    def _wait(
        process: "subprocess.Popen[bytes]",
        seconds: float,
        until: Callable[[], bool] = lambda: False,
        every: float = 0.0005,
    ) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None and not until():
            time.sleep(every)


def look(pid: int, run: Path) -> Look:
    """What a process takes now, and its run directory."""
    status = Path(f"/proc/{pid}/status").read_text().split()
    size = 0
    for path in run.rglob("*"):
        with suppress(FileNotFoundError):
            size += path.stat().st_size * (path.name != "metrics.jsonl")
    memory = 1024 * int(status[status.index("VmHWM:") + 1])
    return Look(memory, len(list(Path(f"/proc/{pid}/fd").iterdir())), size)


def undisturbed(run: Soaked, out: Path, iterations: int) -> list[Look]:
    """The same in one go, looked at once a second."""
    process, looks = run.begin(out, iterations), []
    while process.poll() is None:
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            looks.append(look(process.pid, out))
        time.sleep(1.0)
    if process.returncode:
        run.errors.append(f"the undisturbed run ended with status {process.returncode}")
    return looks


def rows(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl as it is read by everybody."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def unequal(a: Path, b: Path) -> list[str]:
    """What of two runs is not equal to the last bit."""
    found = []
    names = [sorted(p.name for p in (run / "checkpoints").iterdir()) for run in (a, b)]
    if names[0] != names[1]:
        found.append(f"checkpoints {names[0]} and {names[1]}")
    for name in set(names[0]) & set(names[1]):
        for file in ("state.safetensors", "manifest.json"):
            one, other = (run / "checkpoints" / name / file for run in (a, b))
            if one.read_bytes() != other.read_bytes():
                found.append(f"{name}/{file}")
    without_time = [[{**row, "seconds": 0} for row in rows(run)] for run in (a, b)]
    if without_time[0] != without_time[1]:
        found.append("rows")
    return found


def left_behind(token: str, within: float = 20.0) -> list[str]:
    """Processes of this soak that are still there after a while, in words."""
    end = time.monotonic() + within
    while True:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                marked = f"{MARK}={token}".encode() in (entry / "environ").read_bytes().split(b"\0")
                if marked and int(entry.name) != os.getpid():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:80])
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.5)


def quarters(values: list[float]) -> tuple[float, float]:
    """The medians of the first and of the last quarter."""
    n = max(1, len(values) // 4)
    return statistics.median(values[:n]), statistics.median(values[-n:])


def report(run: Soaked, looks: list[Look], straight: Path) -> None:
    """Print what happened to one run, and what it took at its beginning and at its end."""
    told = rows(run.path)
    phases = ", ".join(f"{name} {run.killed[name]}" for name in PHASES)
    print(f"{run.kind}: {len(told)} iterations in {run.starts} trainings")
    print(f"  killed {run.killed.total()} times ({phases}), stopped {run.stopped} times by SIGTERM")
    print(f"  equal to the undisturbed run: {not unequal(run.path, straight)}")
    growing = {
        "iteration of the undisturbed run, ms": [1e3 * row["seconds"] for row in rows(straight)[10:]],
        "its memory, MB": [x.memory / 1e6 for x in looks],
        "its open files": [x.files for x in looks],
        "killed run's memory, MB": [x.memory / 1e6 for _, x in run.looks],
        "its open files ": [x.files for _, x in run.looks],
        "its directory without rows, kB": [x.size / 1e3 for _, x in run.looks],
    }
    for name, values in growing.items():
        if values:
            first, last = quarters(values)
            print(f"  {name}: first quarter {first:.4g}, last quarter {last:.4g}, most {max(values):.4g}")
    for error in (*run.errors, *unequal(run.path, straight)):
        print(f"  NOT AS IT MUST BE: {error}")


def main() -> int:
    """Kill, resume, compare and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="how long to kill (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default 1)")
    parser.add_argument("--keep", type=Path, help="a new folder for the runs, which stays")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="metarl-soak-"))
    scratch = folder / "tmp"
    scratch.mkdir(parents=True)
    token = folder.name
    os.environ.update({MARK: token, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"})
    dice, runs = random.Random(options.seed), [Soaked(kind, folder) for kind in OPTIONS]
    end = time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        dice.choice(runs).disturb(dice)
    failed = False
    for run in runs:
        total = 10 * (run.iteration() // 10 + 2)
        finished = run.begin(iterations=total).wait()
        if finished:
            run.errors.append(f"the last training ended with status {finished}")
        straight = folder / f"{run.kind}-straight"
        looks = undisturbed(run, straight, total)
        report(run, looks, straight)
        failed = failed or bool(run.errors or unequal(run.path, straight))
    processes, files = left_behind(token), [p.name for p in scratch.glob("metarl*")]
    print(f"left behind: {len(processes)} processes {processes[:3]}, {len(files)} files {files[:3]}")
    if options.keep is None:
        shutil.rmtree(folder)
    return int(failed or bool(processes or files))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        sys.exit(child(Path(sys.argv[2]), sys.argv[3:]))
    sys.exit(main())
