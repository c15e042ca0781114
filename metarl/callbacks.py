"""Ready callbacks for ``metarl.train(config, callbacks=…)``: early stopping, schedules, evaluation.

They may be given together, and a resumed run goes on as one that was not interrupted would have.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from metarl.core.errors import RequestError
from metarl.learn.optimizers import optimizers
from metarl.run.config.train_config import TrainConfig
from metarl.run.evaluate.protocol import Protocol, measure, standard
from metarl.run.experience.sources import open_executor
from metarl.run.experience.step_sizes import step_sizes
from metarl.run.log.curve import VALIDATION, Curve
from metarl.run.log.measures import measure_of
from metarl.run.log.metrics_file import read_metrics
from metarl.run.train.callbacks import Callback

__all__ = ["Callback", "Evaluate", "Schedule", "StopWithoutImprovement"]
EVALUATION = "evaluation"  # the prefix of the curves of ``Evaluate``


class StopWithoutImprovement(Callback):
    """End training once the family's metric on validation tasks has not improved for a while.

    Args:
        patience: validations in a row (one each ``checkpoint_every`` iterations) without a new best value
            after the last inner step.
    """

    def __init__(self, patience: int = 10) -> None:
        if patience < 1:
            raise RequestError(f"patience must be at least 1, got {patience}")
        self._patience = patience
        self._best, self._since = -math.inf, 0

    def on_training_start(self, run: Any) -> None:
        """Look at the validations of a run that goes on."""
        self._best, self._since = -math.inf, 0
        for row in read_metrics(run.path / "metrics.jsonl"):
            self._look_at(row)

    def on_step(self, row: Mapping[str, Any]) -> bool | None:
        """Return False after so many validations without a better one."""
        self._look_at(row)
        return False if self._since >= self._patience else None

    def _look_at(self, row: Mapping[str, Any]) -> None:
        for curve in Curve.all_from_row(row, VALIDATION)[:1]:
            last = curve.values[-1]
            value = -math.inf if last is None or math.isnan(last) else float(last)
            value *= -1 if measure_of(curve.metric).lower_is_better and math.isfinite(value) else 1
            self._best, self._since = (value, 0) if value > self._best else (self._best, self._since + 1)


class Schedule(Callback):
    """Let the step size of the meta-optimizer, ``meta_lr``, change from iteration to iteration.

    The row of each iteration has it as ``meta_lr``.

    Args:
        meta_lr: "linear" or "cosine", from the configuration's ``meta_lr`` at the first iteration to
            ``final`` at the last; or a function of the iteration, from 1.
        final: the last step size.
    """

    def __init__(self, meta_lr: str | Callable[[int], float] = "linear", final: float = 0.0) -> None:
        if isinstance(meta_lr, str) and meta_lr not in ("linear", "cosine"):
            raise RequestError(f"meta_lr must be linear, cosine or a function, got {meta_lr!r}")
        self._meta_lr, self._final = meta_lr, final
        self._config: TrainConfig | None = None

    def check(self, config: TrainConfig) -> None:
        """Refuse a meta-optimizer that has no step size."""
        if "lr" not in inspect.signature(optimizers[config.meta_optimizer]).parameters:
            raise RequestError(f"meta_optimizer {config.meta_optimizer!r} has no step size to schedule")

    def on_training_start(self, run: Any) -> None:
        """Take the first step size and the number of iterations from the run's configuration."""
        self._config = run.config

    def optimizer_options(self, iteration: int) -> dict[str, float]:
        """Return the step size of an iteration."""
        return {"lr": self._at(iteration)}

    def metrics(self, row: Mapping[str, Any]) -> dict[str, float]:
        """Return the step size, for the row."""
        return {"meta_lr": self._at(row["iteration"])}

    def _at(self, iteration: int) -> float:
        if not isinstance(self._meta_lr, str):
            return float(self._meta_lr(iteration))
        assert self._config is not None, "training has started"
        share = (iteration - 1) / max(1, self._config.iterations - 1)
        left = 1 - share if self._meta_lr == "linear" else (1 + math.cos(math.pi * share)) / 2
        return self._final + (self._config.meta_lr - self._final) * left


class Evaluate(Callback):
    """Measure the agent on held-out tasks now and then; rows have the curve as ``evaluation/…/step_k``.

    The tasks are the same each time, and those of ``run.evaluate`` with the same numbers.

    Args:
        every: iterations between two evaluations.
        split, tasks, steps, episodes, seed: as of ``run.evaluate``.
    """

    def __init__(
        self,
        every: int = 50,
        split: str = "test",
        tasks: int | None = None,
        steps: int | None = None,
        episodes: int | None = None,
        seed: int = 1,
    ) -> None:
        if every < 1:
            raise RequestError(f"every must be at least 1, got {every}")
        self._every, self._split, self._seed = every, split, seed
        self._numbers = {"tasks": tasks, "steps": steps, "episodes": episodes}
        self._run: Any = None

    def on_training_start(self, run: Any) -> None:
        """Remember the run that is evaluated."""
        self._run = run

    def metrics(self, row: Mapping[str, Any]) -> dict[str, float]:
        """Return the curves, means over tasks, where an evaluation is due."""
        if row["iteration"] % self._every:
            return {}
        agent, meta = self._run.agent, self._run.meta
        plain = standard(agent.kind)
        numbers = {name: getattr(plain, name) if x is None else x for name, x in self._numbers.items()}
        protocol = Protocol(split=self._split, seed=self._seed, deterministic=False, **numbers)
        with open_executor(agent) as executor:
            rates = step_sizes(None, protocol.steps, agent)
            experience = measure(agent, meta, rates, protocol, executor)
        columns: dict[str, float] = {}
        for metric, values in experience.curves.items():
            columns |= Curve(metric, values.mean(1).tolist(), EVALUATION).to_row()
        return columns
