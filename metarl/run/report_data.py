"""What a report reads: a run directory as checked values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl.core.errors import RequestError
from metarl.run import yamlfile
from metarl.run.admission import check_run
from metarl.run.files import read_json, read_limited
from metarl.run.loggers import read_metrics
from metarl.run.measures import MEASURES, measure_of
from metarl.run.report_pictures import LARGEST, Array, Pictures, array, read_pictures
from metarl.run.zoo import made, source

STRIP_LIMIT = 1 << 26  # bytes; a strip has some hundred thousand

# What training draws: as rows and agents call it, and as people do.
DRAWN = {"env_steps": "environment steps", "examples": "labelled examples"}


@dataclass(frozen=True)
class Agent:
    """One agent's evaluation: mean, low and high "k" at every step, per_task "task k" where kept.

    ``samples`` is what it was trained on, environment steps or labelled examples; ``episodes`` and
    ``episode_env_steps``, "k", what of a task it had adapted to at every step; None where nothing is told.
    """

    name: str
    mean: Array
    low: Array
    high: Array
    per_task: Array | None
    inner_lr: tuple[float, ...]
    samples: float | None
    episodes: Array | None = None
    episode_env_steps: Array | None = None


@dataclass(frozen=True)
class Evaluation:
    """evaluation.json; the trained agent comes first."""

    metric: str
    protocol: Mapping[str, Any]
    agents: tuple[Agent, ...]
    pictures: Pictures


@dataclass(frozen=True)
class RunData:
    """A run directory; evaluation is None before the first one, strip (a PNG) before ``metarl render``."""

    path: Path
    config: Mapping[str, Any]
    machine: Mapping[str, Any]
    rows: list[dict[str, Any]]
    evaluation: Evaluation | None
    strip: bytes | None = None


def read_run(path: Path) -> RunData:
    """The run directory's config.yaml, machine.json, metrics.jsonl, evaluation.json and frames.png.

    Raises:
        RequestError: it is no run directory, or one of the files is damaged; one line.
    """
    own = check_run(source(path))
    config, metrics = yamlfile.read_mapping(own / "config.yaml"), own / "metrics.jsonl"
    rows = read_metrics(metrics) if metrics.is_file() else []  # none before the first iteration is done
    machine = _read_json(own / "machine.json") or {}
    evaluation, strip = _read_evaluation(made(path, "evaluation.json")), _read_strip(made(path, "frames.png"))
    return RunData(path, config, machine, rows, evaluation, strip)


def _read_strip(path: Path) -> bytes | None:
    try:
        return read_limited(path, STRIP_LIMIT)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RequestError(f"{path} is damaged: {error}") from None


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object a JSON file holds; None without the file."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return None


def _read_evaluation(path: Path) -> Evaluation | None:
    data = _read_json(path)
    if data is None:
        return None
    try:
        agents = [_agent(str(name), values) for name, values in data["agents"].items()]
        if not agents:
            raise ValueError("no agents")
        agents.sort(key=lambda agent: agent.name != "meta")
        protocol = data.get("protocol") or {}
        return Evaluation(
            str(data["metric"]), dict(protocol), tuple(agents), read_pictures(data, agents[0].name)
        )
    except KeyError as error:
        raise RequestError(f"{path} is damaged: {error} is missing") from None
    except (ValueError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise RequestError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def _agent(name: str, values: Mapping[str, Any]) -> Agent:
    mean, ci = array(values["mean"], 1), array(values["ci95"], 2)
    if ci.shape != (len(mean), 2) or not len(mean):
        raise ValueError(f"agent {name} has {len(mean)} means and intervals of shape {ci.shape}")
    per_task = array(values["per_task"], 2) if values.get("per_task") else None
    rates = tuple(float(rate) for rate in values.get("inner_lr") or ())
    samples = next((float(values[key]) for key in DRAWN if values.get(key) is not None), None)
    consumed = {key: array(values[key], 1) for key in ("episodes", "episode_env_steps") if values.get(key)}
    return Agent(name, mean, ci[:, 0], ci[:, 1], per_task, rates, samples, **consumed)


def series(rows: list[dict[str, Any]], key: str) -> tuple[Array, Array]:
    """The iterations at which `key` has a number that can be drawn, and those numbers."""
    pairs = [(row["iteration"], row[key]) for row in rows if _is_number(row.get(key))]
    found = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) < LARGEST


def step_keys(rows: list[dict[str, Any]], prefix: str) -> list[str]:
    """`prefix`/step_0, step_1, … as far as any row has them."""
    present = {key for row in rows for key in row}
    keys: list[str] = []
    while f"{prefix}/step_{len(keys)}" in present:
        keys.append(f"{prefix}/step_{len(keys)}")
    return keys


def better(metric: str, new: Array, old: Array) -> NDArray[np.bool_]:
    """Where `new` is at least as good as `old`."""
    return np.asarray(new <= old if measure_of(metric).lower_is_better else new >= old)


def best_iteration(run: RunData, metric: str) -> int | None:
    """The best checkpoint's iteration: as the evaluation names it, else by validation after the last step."""
    checkpoint = run.evaluation.protocol.get("checkpoint") if run.evaluation else None
    if named := re.fullmatch(r"best \(iteration (\d+)\)", str(checkpoint)):
        return int(named[1])
    keys = step_keys(run.rows, f"validation/{metric}")
    x, y = series(run.rows, keys[-1]) if keys else (np.empty(0), np.empty(0))
    if not len(x):
        return None
    if measure_of(metric).lower_is_better:
        return int(x[np.argmin(y)])
    best = x[y == y.max()]  # of equal success rates, that of the best return
    at, returns = series(run.rows, keys[-1].replace(f"/{metric}/", "/return/"))
    ties = np.isin(at, best)
    return int(at[ties][np.argmax(returns[ties])] if ties.any() else best[0])


def training_metric(run: RunData) -> str:
    """What the rows measure: the evaluation's metric if they have it, else the first one that they have."""
    wanted = [run.evaluation.metric] if run.evaluation else []
    return next((m for m in [*wanted, *MEASURES] if step_keys(run.rows, m)), (wanted or ["return"])[0])


def drawn_key(run: RunData) -> str:
    """What this run's training draws, of ``DRAWN``."""
    if any("examples" in row for row in run.rows[:1]):
        return "examples"
    return "examples" if run.evaluation and "shots" in run.evaluation.protocol else "env_steps"
