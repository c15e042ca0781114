"""Hooks into training, under the names that Stable-Baselines3's callbacks have."""

from collections.abc import Mapping
from typing import Any


class Callback:
    """Does nothing; override what is needed. ``iteration`` is the number of the one under way, from 1."""

    def on_training_start(self, run: Any) -> None:
        """Before the first iteration of a ``learn``; ``run`` is the run in training."""

    def on_rollout_start(self, iteration: int) -> None:
        """Before the iteration's experience is collected."""

    def on_rollout_end(self, iteration: int, experience: Any) -> None:
        """After it was collected and before the meta-parameters change, with the ``Experience``."""

    def on_step(self, row: Mapping[str, Any]) -> bool:
        """After the iteration, with its row of metrics.jsonl. False ends training here."""
        return True

    def on_training_end(self) -> None:
        """After the last iteration, which is saved."""
