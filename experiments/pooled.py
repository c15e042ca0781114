"""Helpers of the experiments: runs that are trained once, measurements that are kept, pooled intervals.

``experiments/results`` keeps what was measured of each run, value by value, so that the tables of RESULTS.md
can be made again, and other seeds added, without training everything anew. A kept measurement serves as long
as the run's YAML file and the protocol are those it was made with.
"""

import dataclasses
import datetime
import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import metarl
from metarl.core.errors import RequestError
from metarl.core.params import Meta
from metarl.run.config.admission import load_config
from metarl.run.config.train_config import as_dict
from metarl.run.evaluate.protocol import Protocol, measure
from metarl.run.experience.sources import open_executor
from metarl.run.experience.step_sizes import Profile, step_sizes
from metarl.run.results import statistics
from metarl.run.use.runs import resume

HERE = Path(__file__).parent
KEPT = HERE / "results"
# What a machine decides of a run; results do not depend on it.
CHOSEN = ("threads", "chunk", "device", "executor", "workers")
Measured = dict[str, list[list[float]]]  # values "task step" of each agent


def trained(config: Path, path: Path, seed: int, threads: int = 1) -> Path:
    """The run of one configuration and seed, finished: a run that exists is resumed if it is of that one."""
    wanted = as_dict(load_config(config)) | {"seed": seed, "threads": threads}
    if (path / "config.yaml").is_file():
        found = as_dict(load_config(path / "config.yaml"))
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


# How step sizes that are not learned are chosen, and of which: part of every protocol that chooses.
CHOICE = {
    "first": [0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0],
    "later": [0.1, 0.2, 0.5, 1.0],
    "by": "the mean on validation tasks: the first after one step, later ones, as shares of it, after all",
}


def adapted(agent: Any, meta: Meta, protocol: Protocol, name: str) -> list[list[float]]:
    """Returns "task step" of an agent with its best step sizes on validation tasks, if it learned none."""
    profile = step_sizes(None, protocol.steps, agent) if agent.learns_steps else chosen(agent, meta, protocol)
    return with_sizes(agent, meta, protocol, name, profile)


def with_sizes(agent: Any, meta: Meta, protocol: Protocol, name: str, profile: Profile) -> list[list[float]]:
    """Returns "task step" with given step sizes, which are printed."""
    print(f"{name}: step sizes {profile}", file=sys.stderr, flush=True)
    per_task: list[list[float]] = returns(agent, meta, protocol, profile).T.tolist()
    return per_task


def fixed(agent: Any, meta: Meta, protocol: Protocol) -> list[float]:
    """The one size for all steps that is best after the last, on validation tasks."""
    validation = dataclasses.replace(protocol, split="validation")
    best = max(CHOICE["first"], key=lambda lr: score(agent, meta, validation, rates(lr, 1.0, protocol)))
    return rates(best, 1.0, protocol)


def chosen(agent: Any, meta: Meta, protocol: Protocol) -> list[float]:
    """The first step size and the one of all later steps, as ``CHOICE`` says."""
    validation = dataclasses.replace(protocol, split="validation")
    one = dataclasses.replace(validation, steps=1)
    first = max(CHOICE["first"], key=lambda lr: score(agent, meta, one, [lr]))
    later = max(CHOICE["later"], key=lambda s: score(agent, meta, validation, rates(first, s, protocol)))
    return rates(first, later, protocol)


def rates(first: float, share: float, protocol: Protocol) -> list[float]:
    """Step sizes of all steps."""
    return [first, *[first * share] * (protocol.steps - 1)]


def score(agent: Any, meta: Meta, protocol: Protocol, profile: list[float]) -> float:
    """The mean return after the last step; that of an agent that cannot be measured is the worst."""
    try:
        return float(returns(agent, meta, protocol, profile)[-1].mean())
    except RequestError:  # it diverged
        return -math.inf


def returns(agent: Any, meta: Meta, protocol: Protocol, profile: Profile) -> Any:
    """Returns "step task".

    A family of fewer tasks than the protocol asks for is measured several times, with seeds that follow on:
    how one gradient from a few episodes turns out is a draw.
    """
    known = agent.family.num_tasks
    repeats = 1 if known is None else max(1, protocol.tasks // known)
    found = []
    for i in range(repeats):
        again = dataclasses.replace(protocol, seed=protocol.seed + i)
        with open_executor(agent) as executor:
            values = measure(agent, meta, profile, again, executor).values
        found.append(values)
    return torch.cat(found, 1)


def columns(per_task: Sequence[Sequence[float]], steps: Sequence[int]) -> list[list[float]]:
    """The values after ``steps`` alone, "task step"."""
    return [[row[k] for k in steps] for row in per_task]


def interval(values: np.ndarray) -> np.ndarray:
    """95 % intervals "step 2" of the mean of "seed task step", as metarl gives them.

    Of one run those over its tasks, as ``metarl evaluate`` does; of several those over seeds and tasks, as
    ``metarl report`` does of several runs.
    """
    if len(values) == 1:
        return statistics.bootstrap_ci(values, np.random.default_rng(0))
    return statistics.t_interval(statistics.mean, values)


def cells(values: np.ndarray, digits: int) -> str:
    """Cells of a Markdown table, mean and interval after each step, from "seed task step"."""
    return _cells(statistics.mean(values), interval(values), digits)


def difference(one: np.ndarray, other: np.ndarray, steps: Sequence[int], digits: int) -> str:
    """Return the gain of one agent over another after ``steps``: cells of a Markdown table, from values "seed
    task step" of both, with intervals over tasks, which are paired, and over the seeds of those that have
    several, as ``metarl compare`` gives them.
    """
    pair = [values[:, :, list(steps)] for values in (one, other)]
    found = statistics.t_interval(statistics.difference, *pair)
    return _cells(statistics.difference(*pair), found, digits)


def _cells(means: np.ndarray, intervals: np.ndarray, digits: int) -> str:
    pairs = zip(means, intervals, strict=True)
    return " | ".join(
        f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]" for mean, (low, high) in pairs
    )
