"""The files that training writes into a run's directory, besides metrics.jsonl."""

import platform
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metarl.core.errors import EnvironmentFailed, RunFailed
from metarl.run.config.admission import command
from metarl.run.config.train_config import as_dict
from metarl.run.log.curve import VALIDATION, Curve
from metarl.run.log.measures import measure_of
from metarl.run.store import checkpoint as store
from metarl.run.store import tensors as state
from metarl.run.store.files import clear_leftovers, to_json, write_atomic
from metarl.run.train.iteration import Row
from metarl.run.train.run_state import RunState

FAILURE, MACHINE = "failure.txt", "machine.json"


def go_on_with(run: RunState) -> str:
    """Return the command that goes on with a run."""
    return command("resume", run.path, opens=as_dict(run.config))


def prepare_directory(run: RunState) -> None:
    """Clear what an earlier process left half-done, or failed of; keep what the run starts from."""
    (run.path / FAILURE).unlink(missing_ok=True)
    for name in ("config.yaml", MACHINE, FAILURE):
        clear_leftovers(run.path / name)
    run.checkpoints.mkdir(exist_ok=True)
    _prune(run)
    if not (run.path / MACHINE).is_file():
        write_atomic(run.path / MACHINE, to_json(_machine(run), indent=1))
    if run.iteration == 0 and run.config.init_from:
        save_if_new(run)  # the file it starts from may be gone by the time it is resumed


def save(run: RunState, validation: Row) -> None:
    """Save a checkpoint, with the last values of the validation's curves, by which the best is chosen."""
    standing = run.standing
    tensors = state.flatten({"meta": standing.meta, "optimiser": standing.optimizer})
    values = [  # of which more is better
        curve.values[-1] * (-1 if measure_of(curve.metric).lower_is_better else 1)
        for curve in Curve.all_from_row(validation, VALIDATION)
    ]
    score = (values[0] if len(values) == 1 else values) if values else None
    extra = {"samples": standing.samples, "skipped": standing.skipped, "validation": score}
    store.save(run.checkpoints, standing.iteration, tensors, extra)
    _prune(run)


def save_if_new(run: RunState) -> None:
    """Save an iteration that has no checkpoint yet; one that has may know of a validation."""
    if run.iteration not in store.available(run.checkpoints):
        save(run, {})


def failed(run: RunState, error: Exception) -> RunFailed:
    """Save the last good state and the traceback, and return one line that says how to go on."""
    save_if_new(run)
    write_atomic(run.path / FAILURE, "".join(traceback.format_exception(error)))
    line = next(iter(str(error).strip().splitlines()), "")[:400]
    kind = "" if isinstance(error, (RunFailed, EnvironmentFailed)) else f"{type(error).__name__}: "
    return RunFailed(
        f"iteration {run.iteration + 1} failed: {kind}{line} (all of it: {run.path / FAILURE}); "
        f"go on with: {go_on_with(run)}"
    )


def _prune(run: RunState) -> None:
    store.prune(run.checkpoints, run.config.keep_checkpoints, run.config.checkpoint_every)


def _machine(run: RunState) -> dict[str, Any]:
    """Return what the bits of a run depend on besides its configuration: processor, versions and threads."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    device = run.agent.device
    return {
        "processor": names[0] if names else platform.processor(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": run.agent.chunking.threads,
    }
