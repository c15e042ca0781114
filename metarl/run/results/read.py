"""A run directory as checked values, and what training did over its iterations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from metarl.core.errors import RequestError
from metarl.run.config.admission import check_run
from metarl.run.log.curve import VALIDATION, Curve
from metarl.run.log.measures import Measure, measure_of
from metarl.run.log.metrics_file import read_metrics
from metarl.run.results.evaluation import Evaluation
from metarl.run.results.numbers import is_whole
from metarl.run.results.pictures import LARGEST, Array
from metarl.run.store import yaml_values as yamlfile
from metarl.run.store.files import read_json, read_limited

STRIP_LIMIT = 1 << 26  # bytes; a strip has some hundred thousand
T = TypeVar("T")
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class RunData:
    """A run directory; evaluation is None before the first one, strip (a PNG) before ``metarl render``."""

    path: Path
    config: Mapping[str, Any]
    machine: Mapping[str, Any]
    rows: Rows
    evaluation: Evaluation | None
    strip: bytes | None = None

    @property
    def training_metric(self) -> str:
        """Return the metric of the rows: the evaluation's if they have it, else the first one they have."""
        evaluated = [self.evaluation.metric] if self.evaluation else []
        of_rows = [curve.metric for row in self.rows[:1] for curve in Curve.all_from_row(row)]
        return next((m for m in [*evaluated, *of_rows] if m in of_rows), [*evaluated, "return"][0])

    @property
    def training_measure(self) -> Measure:
        """Return what ``training_metric`` is called and which way is better."""
        metric, evaluation = self.training_metric, self.evaluation
        return evaluation.measure if evaluation and evaluation.metric == metric else measure_of(metric)

    @property
    def samples_key(self) -> str:
        """Return what this run's training draws, of ``SAMPLES``."""
        if any("examples" in row for row in self.rows[:1]):
            return "examples"
        return "examples" if self.evaluation and "shots" in self.evaluation.protocol else "env_steps"


def read_run(path: Path) -> RunData:
    """Return the run directory's config.yaml, machine.json, metrics.jsonl, evaluation.json and frames.png.

    Raises:
        RequestError: it is no run directory, or one of the files is damaged; one line.
    """
    folder = check_run(path)
    config, metrics = yamlfile.read_mapping(folder / "config.yaml"), folder / "metrics.jsonl"
    rows = read_metrics(metrics) if metrics.is_file() else []  # none before the first iteration is done
    return RunData(
        path,
        config,
        _if_there(read_json, folder / "machine.json") or {},
        rows,
        _if_there(Evaluation.read, path / "evaluation.json"),
        _if_there(_read_strip, path / "frames.png"),
    )


def _if_there(read: Callable[[Path], T], path: Path) -> T | None:
    try:
        return read(path)
    except FileNotFoundError:
        return None


def _read_strip(path: Path) -> bytes:
    try:
        return read_limited(path, STRIP_LIMIT)
    except ValueError as error:
        raise RequestError(f"{path} is damaged: {error}") from None


class Series(NamedTuple):
    """A value over iterations: "n" each, in order of x."""

    x: Array
    y: Array


def series(rows: Rows, key: str) -> Series:
    """Return the iterations at which `key` has a number that can be drawn, and those numbers."""
    pairs = [(row["iteration"], row[key]) for row in rows if _is_number(row.get(key))]
    numbers = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return Series(numbers[:, 0], numbers[:, 1])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) < LARGEST


def curve_series(rows: Rows, metric: str, prefix: str = "") -> list[Series]:
    """Return a curve over iterations: the series of step 0, 1, … as far as any row has them."""
    curves = [curve for row in rows if (curve := Curve.from_row(row, metric, prefix)) is not None]
    longest = max(curves, key=lambda curve: len(curve.values), default=Curve(metric, ()))
    return [series(rows, key) for key in longest.to_row()]


def best_iteration(run: RunData, metric: str) -> int | None:
    """Return the best checkpoint's iteration: the evaluated one, else by validation after the last step."""
    protocol = run.evaluation.protocol if run.evaluation else {}
    iteration = protocol.get("iteration")
    if protocol.get("checkpoint") == "best" and is_whole(iteration) and _is_number(iteration):
        return iteration
    x, y = (curve_series(run.rows, metric, VALIDATION) or [Series(np.empty(0), np.empty(0))])[-1]
    if not len(x):
        return None
    if run.training_measure.lower_is_better:
        return int(x[np.argmin(y)])
    best = x[y == y.max()]  # of equal success rates, that of the best return
    returns = (curve_series(run.rows, "return", VALIDATION) or [Series(x, y)])[-1]
    ties = np.isin(returns.x, best)
    return int(returns.x[ties][np.argmax(returns.y[ties])] if ties.any() else best[0])
