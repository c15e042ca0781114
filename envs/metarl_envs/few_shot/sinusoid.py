"""Regression of sine waves from a few points: the first task of the few-shot papers.

Definitions follow Finn, Abbeel & Levine 2017 ("Model-agnostic meta-learning") and Nichol, Achiam & Schulman
2018 ("On first-order meta-learning algorithms"). x and y have no units; phases are in radians.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from metarl_envs.base.arguments import chosen_spec, known_split, no_others, positive_int
from metarl_envs.base.formulas import Floats

TRAINED_AMPLITUDES = (0.1, 5.0)
AMPLITUDES = {"train": TRAINED_AMPLITUDES, "validation": TRAINED_AMPLITUDES, "test": TRAINED_AMPLITUDES}
AMPLITUDES["ood"] = (5.0, 10.0)


@dataclass(frozen=True)
class _Spec:
    """A spec's waves: y = amplitude · sin(x + sign · phase), phase uniform in [0, largest)."""

    text: str
    sign: float
    largest_phase: float
    shots: int


_SPECS = {
    "maml": _Spec(
        text="sine waves, v1: y = a sin(x - b), amplitude a uniform in [0.1, 5], phase b uniform in [0, π], "
        "x uniform in [-5, 5]; ood: a uniform in [5, 10]",
        sign=-1.0,
        largest_phase=math.pi,
        shots=10,
    ),
    "reptile": _Spec(
        text="sine waves, v1: y = a sin(x + b), amplitude a uniform in [0.1, 5], phase b uniform in [0, 2π], "
        "x uniform in [-5, 5]; ood: a uniform in [5, 10]",
        sign=1.0,
        largest_phase=2.0 * math.pi,
        shots=50,
    ),
}


class Sinusoid:
    """The family ``sinusoid``: tasks are ``{"amplitude": float64 "n", "phase": float64 "n"}``.

    Args:
        spec: a key of ``specs``; None takes the first.
        shots: labelled points of a task that adaptation sees; by default the spec's own number.
        queries: labelled points of a task that the adapted network is judged by.

    Raises:
        ValueError: an unknown spec or argument, or fewer than one shot or query; one line.
    """

    name = "sinusoid"
    specs = {key: spec.text for key, spec in _SPECS.items()}
    metric = "mse"
    num_tasks: int | None = None
    defaults: Mapping[str, Any] = {
        "objective": "mse",
        "hidden": [40, 40],
        "activation": "relu",
        "inner_lr": 0.001,
        "tasks": 25,
        "iterations": 70_000,
        "checkpoint_every": 1000,
        "validation_tasks": 100,
    }

    def __init__(
        self, spec: str | None = None, *, shots: int | None = None, queries: int = 10, **unknown: object
    ) -> None:
        no_others(self.name, unknown, ["shots", "queries"])
        self.spec = chosen_spec(self.name, spec, self.specs)
        self._waves = _SPECS[self.spec]
        self.shots = positive_int(self.name, "shots", self._waves.shots if shots is None else shots)
        self.queries = positive_int(self.name, "queries", queries)
        self.observation_space = Box(-5.0, 5.0, (1,), np.float32)
        self.action_space = Box(-np.inf, np.inf, (1,), np.float32)

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> dict[str, Floats]:
        """Draw tasks of a split; the first m are those that ``n=m`` would give.

        Raises:
            ValueError: n below 1, or an unknown split.
        """
        n = positive_int(self.name, "number of tasks", n)
        low, high = AMPLITUDES[known_split(self.name, split, AMPLITUDES)]
        draws = rng.random((n, 2))
        return {
            "amplitude": low + (high - low) * draws[:, 0],
            "phase": self._waves.largest_phase * draws[:, 1],
        }

    def sample_shots(
        self, tasks: Mapping[str, Any], rng: np.random.Generator
    ) -> dict[str, NDArray[np.float32]]:
        """Draw points: ``support_x``, ``support_y`` "n shots 1" and ``query_x``, ``query_y`` "n queries 1".

        Raises:
            ValueError: tasks that are no finite amplitudes and phases; one line.
        """
        amplitude, phase = self._read(tasks)
        x = rng.uniform(-5.0, 5.0, (len(phase), self.shots + self.queries, 1)).astype(np.float32)
        y = self._wave(amplitude[:, None, None], phase[:, None, None], x).astype(np.float32)
        s = self.shots
        return {"support_x": x[:, :s], "support_y": y[:, :s], "query_x": x[:, s:], "query_y": y[:, s:]}

    def curve(self, tasks: Mapping[str, Any], x: NDArray[Any]) -> Floats:
        """Return the true y "n g" of each task on a grid x "g"."""
        amplitude, phase = self._read(tasks)
        return self._wave(amplitude[:, None], phase[:, None], np.asarray(x, dtype=np.float64))

    def task_features(self, tasks: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return what an oracle sees: amplitude and phase, float32 "n 2"."""
        return np.stack(self._read(tasks), axis=1).astype(np.float32)

    def _wave(self, amplitude: Floats, phase: Floats, x: NDArray[Any]) -> Floats:
        """Return y at x of waves whose amplitudes and phases broadcast against it, in float64."""
        return np.asarray(amplitude * np.sin(x + self._waves.sign * phase))

    def _read(self, tasks: Mapping[str, Any]) -> tuple[Floats, Floats]:
        """Return amplitudes and phases, float64 "n" each."""
        if not isinstance(tasks, Mapping) or set(tasks) != {"amplitude", "phase"}:
            keys = sorted(map(str, tasks)) if isinstance(tasks, Mapping) else type(tasks).__name__
            raise ValueError(
                f"{self.name}: task has {keys}; allowed: a dict with the keys ['amplitude', 'phase']"
            )
        try:
            values = np.array([tasks["amplitude"], tasks["phase"]], dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{self.name}: amplitudes and phases are no numbers of equal shape") from None
        if values.ndim != 2 or not np.isfinite(values).all():
            raise ValueError(
                f"{self.name}: amplitudes and phases are {values[..., :4].tolist()}; "
                "allowed: finite numbers, one row a task"
            )
        return values[0], values[1]
