"""Hooks into training, under the names that Stable-Baselines3's callbacks have where there are such."""

from collections.abc import Mapping, Sequence
from typing import Any

from metarl.core.errors import RequestError
from metarl.run.config.train_config import TrainConfig


class Callback:
    """Does nothing; override what is needed. ``iteration`` is the number of the one under way, from 1."""

    def check(self, config: TrainConfig) -> None:
        """Refuse a configuration by a ``RequestError``, before anything is written."""

    def on_training_start(self, run: Any) -> None:
        """Called before the first iteration of a ``learn``; ``run`` is the run in training."""

    def on_rollout_start(self, iteration: int) -> None:
        """Called before the iteration's experience is collected."""

    def on_rollout_end(self, iteration: int, experience: Any) -> None:
        """Called after it was collected and before the meta-parameters change, with the ``Experience``."""

    def optimizer_options(self, iteration: int) -> Mapping[str, Any]:
        """Return arguments of the meta-optimizer that hold in this iteration alone, such as ``lr``."""
        return {}

    def metrics(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return named numbers to add to the iteration's row of metrics.jsonl, which mirrors copy."""
        return {}

    def on_step(self, row: Mapping[str, Any]) -> bool | None:
        """Called after the iteration, with its row of metrics.jsonl. ``False`` ends training here."""
        return None

    def on_training_end(self) -> None:
        """Called after the last iteration, which is saved."""


def as_callbacks(callbacks: Any, config: TrainConfig) -> tuple[Callback, ...]:
    """Return one callback or several as several, which accept the configuration.

    Raises:
        RequestError: something that is no callback, or one that refuses the configuration.
    """
    several = tuple(callbacks) if isinstance(callbacks, Sequence) else (callbacks,)
    for callback in several:
        if not isinstance(callback, Callback):
            kind = f"the class {callback.__name__}" if isinstance(callback, type) else type(callback).__name__
            raise RequestError(f"callbacks must be objects of metarl.Callback, got {kind}")
        callback.check(config)
    return several
