"""The cost of saving, as a share of an iteration of cheetah-vel (20 tasks × 10 episodes × 100 steps).

A run is trained with a checkpoint after each iteration. Printed is the median time of a checkpoint (its rows
and its files on the disk, old ones removed) over that of an iteration, and a tenth of it, since by default
every tenth iteration is saved. The validation that goes with a checkpoint is told apart. Then a run of a few
iterations and one of a hundred thousand are opened, and a row and a checkpoint are added to each: neither may
take longer for the length.

    .venv/bin/python experiments/benchmarks/checkpoints.py [--iterations 12] [--threads 2]
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import metarl
from metarl.run.config.devices import usable_cores
from metarl.run.config.train_fields import DEFAULTS
from metarl.run.log.metrics_file import JsonlLogger, read_metrics
from metarl.run.store import checkpoint as store
from metarl.run.train import training

TARGET = 0.01
LONG, ROUNDS = 100_000, 15
SAVING = ((JsonlLogger, "sync"), (store, "save"), (store, "prune"))
VALIDATING = ((training, "validate"),)

Times = list[float]


@contextmanager
def timed(*places: tuple[Any, str]) -> Iterator[Times]:
    """The seconds of each call of the functions that stand at these places."""
    times: Times = []

    def clocked(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                times.append(time.perf_counter() - began)

        return called

    before = [getattr(place, name) for place, name in places]
    for (place, name), function in zip(places, before, strict=True):
        setattr(place, name, clocked(function))
    try:
        yield times
    finally:
        for (place, name), function in zip(places, before, strict=True):
            setattr(place, name, function)


def grouped(times: Times, n: int) -> Times:
    """The sums of each ``n`` in a row."""
    return [sum(times[i : i + n]) for i in range(0, len(times) - n + 1, n)]


def opened_and_saved(run: Path, iteration: int, row: dict[str, Any], saved: store.Checkpoint) -> float:
    """Return the seconds that it takes to open a run's rows, to add one and to save."""
    began = time.perf_counter()
    with JsonlLogger(run / "metrics.jsonl") as log:
        log.truncate_after(iteration)
        log.row(row | {"iteration": iteration + 1})
        log.sync()
    store.save(run / "checkpoints", iteration + 1, saved.tensors, saved.extra)
    store.prune(run / "checkpoints", DEFAULTS["keep_checkpoints"])
    return time.perf_counter() - began


def by_length(run: Path) -> tuple[float, float]:
    """The same for a run of a few iterations and for a long one, in turns: median seconds."""
    row = read_metrics(run / "metrics.jsonl")[-1]
    saved = store.load(store.find(run / "checkpoints"))
    lengths = {row["iteration"]: run, LONG: run.with_name("long")}
    shutil.copytree(run, lengths[LONG])
    with JsonlLogger(lengths[LONG] / "metrics.jsonl") as log:
        for n in range(row["iteration"] + 1, LONG + 1):
            log.row(row | {"iteration": n})
    times: dict[int, Times] = {length: [] for length in lengths}
    for _ in range(ROUNDS):
        for length, path in lengths.items():
            times[length].append(opened_and_saved(path, length, row, saved))
    short, long = (statistics.median(found) for found in times.values())
    return short, long


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=12, help="how many (default 12)")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="default: the cores")
    parser.add_argument("--family", default="cheetah-vel", help="default cheetah-vel")
    parser.add_argument("--tasks", type=int, default=20, help="default 20")
    parser.add_argument("--episodes", type=int, default=10, help="default 10")
    options = parser.parse_args()
    config = metarl.TrainConfig(
        algorithm="maml",
        family=options.family,
        family_arg={"horizon": 100},
        tasks=options.tasks,
        episodes=options.episodes,
        iterations=options.iterations,
        threads=options.threads,
        device="cpu",
        checkpoint_every=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        with timed(*SAVING) as saving, timed(*VALIDATING) as validating:
            run = metarl.train(config, out=Path(folder, "run"))
        rows = read_metrics(run.path / "metrics.jsonl")
        iteration = statistics.median(row["seconds"] for row in rows)
        each = statistics.median(grouped(saving, len(SAVING)))
        validation = statistics.median(validating)
        size = sum(p.stat().st_size for p in store.find(run.checkpoints).iterdir())
        short, long = by_length(run.path)
    every = DEFAULTS["checkpoint_every"]
    print(f"iteration {1e3 * iteration:.0f} ms, checkpoint {1e3 * each:.1f} ms ({size / 1e3:.0f} kB)")
    print(f"checkpoint after each iteration: {each / iteration:.2%} of it (target {TARGET:.0%})")
    print(f"checkpoint after every {every}: {each / iteration / every:.3%} (target {TARGET:.0%})")
    print(f"its validation of {config.validation_tasks or DEFAULTS['validation_tasks']} tasks: ", end="")
    print(f"{1e3 * validation:.0f} ms, {validation / iteration / every:.1%} of {every} iterations")
    print(f"open, row and checkpoint after {len(rows)} iterations: {1e3 * short:.1f} ms, ", end="")
    print(f"after {LONG:,}: {1e3 * long:.1f} ms")


if __name__ == "__main__":
    main()
