"""What the experiments share: runs that are trained once, measurements that are kept, pooled intervals.

``experiments/results`` keeps what was measured of each run, value by value, so that the tables of RESULTS.md
can be made again, and other seeds added, without training everything anew. A kept measurement serves as long
as the run's YAML file and the protocol are those it was made with.
"""

import datetime
import hashlib
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import metarl
from metarl.core.params import Meta
from metarl.run.protocol import Protocol, measure, tuned
from metarl.run.resolve import load_config
from metarl.run.runs import resume
from metarl.run.step_sizes import step_sizes

HERE = Path(__file__).parent
KEPT = HERE / "results"
# What a machine decides of a run; results do not depend on it.
CHOSEN = ("threads", "chunk", "device", "executor", "workers")
Measured = dict[str, list[list[float]]]  # values "task step" of each agent


def trained(config: Path, path: Path, seed: int, threads: int = 1) -> Path:
    """The run of one configuration and seed, finished: a run that exists is resumed if it is of that one."""
    wanted = vars(load_config(config)) | {"seed": seed, "threads": threads}
    if (path / "config.yaml").is_file():
        found = vars(load_config(path / "config.yaml"))
        other = [name for name in wanted if name not in CHOSEN and found[name] != wanted[name]]
        if other:
            raise SystemExit(f"{path} was trained with another {', '.join(other)} than {config} says")
        resume(path)
    else:
        metarl.train(metarl.TrainConfig(**wanted), path)
    return path


def kept(name: str, config: Path, protocol: Any, make: Callable[[], Measured]) -> dict[str, np.ndarray]:
    """Values "task step" of each agent: those kept under ``name``, else those of ``make``, then kept."""
    path = KEPT / f"{name}.json"
    made_with = {
        "config_sha256": hashlib.sha256(config.read_bytes()).hexdigest(),
        "protocol": json.loads(json.dumps(protocol)),
    }
    if path.is_file():
        record = json.loads(path.read_text())
        if {key: record[key] for key in made_with} == made_with:
            return {agent: np.array(values) for agent, values in record["agents"].items()}
    agents = {
        agent: [[float(f"{value:.5g}") for value in row] for row in rows] for agent, rows in make().items()
    }
    words = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    record = {"date": datetime.date.today().isoformat(), "commit": commit, **made_with, "agents": agents}
    KEPT.mkdir(exist_ok=True)
    path.write_text(json.dumps(record) + "\n")
    return {agent: np.array(values) for agent, values in agents.items()}


def adapted(agent: Any, meta: Meta, protocol: Protocol, name: str) -> list[list[float]]:
    """Returns "task step" of an agent with its best step sizes on validation tasks, if it learned none."""
    profile = tuned(agent, meta, step_sizes(None, protocol.steps, agent), protocol, name)
    values = measure(agent, meta, profile, protocol).values
    assert values is not None, "episodes are measured"
    per_task: list[list[float]] = values.T.tolist()
    return per_task


def columns(per_task: Sequence[Sequence[float]], steps: Sequence[int]) -> list[list[float]]:
    """The values after ``steps`` alone, "task step"."""
    return [[row[k] for k in steps] for row in per_task]


def interval(values: np.ndarray, resamples: int = 10_000) -> np.ndarray:
    """95 % bootstrap intervals "step 2" of the mean of "seed task step", over both seeds and tasks."""
    rng = np.random.default_rng(0)
    seeds, tasks, _ = values.shape
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    counts = rng.multinomial(tasks, np.full(tasks, 1 / tasks), resamples) / tasks
    means = np.einsum("rs,rt,stk->rk", weights, counts, values, optimize=True)
    return np.percentile(means, [2.5, 97.5], axis=0).T


def cells(values: np.ndarray, digits: int) -> str:
    """Cells of a Markdown table, mean and interval after each step, from "seed task step"."""
    pairs = zip(values.mean((0, 1)), interval(values), strict=True)
    return " | ".join(
        f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]" for mean, (low, high) in pairs
    )
