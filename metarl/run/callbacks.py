"""Hooks into training, under the names that Stable-Baselines3's callbacks have."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metarl.run.trainer import Run


class Callback:
    """Does nothing; override what is needed. ``run`` is the run in training."""

    def on_training_start(self, run: "Run") -> None:
        """Before the first iteration of a ``learn``."""

    def on_rollout_start(self, run: "Run") -> None:
        """Before the experience of an iteration is collected."""

    def on_rollout_end(self, run: "Run") -> None:
        """After it was collected, before the meta-parameters change."""

    def on_step(self, run: "Run", row: Mapping[str, Any]) -> bool:
        """After a meta-iteration, with its row of metrics.jsonl. False ends training after this iteration."""
        return True

    def on_training_end(self, run: "Run") -> None:
        """After the last iteration, saved."""
