"""What an evaluation gives: the object of ``evaluation.json``, and its table."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarl.run.files import to_json, write_atomic


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluation.json`` holds; ``mean``, ``ci95`` and ``per_task`` are the evaluated agent's.

    ``agents`` maps a name ("meta", "random", …) to its mean after 0 … K steps, the 95 % intervals of these
    means, the interquartile mean, the value of each task, the step sizes, the environment steps that it was
    trained for, and the episodes of a task that it had adapted to until then.
    """

    metric: str
    protocol: dict[str, Any]
    metrics: dict[str, float]
    agents: dict[str, dict[str, Any]]
    traces: dict[str, Any] | None = None
    fits: dict[str, Any] | None = None
    samples: dict[str, Any] | None = None

    @property
    def mean(self) -> list[float]:
        """Mean over tasks after 0 … K steps."""
        found: list[float] = self.agents["meta"]["mean"]
        return found

    @property
    def ci95(self) -> list[list[float]]:
        """Low and high after each number of steps."""
        found: list[list[float]] = self.agents["meta"]["ci95"]
        return found

    @property
    def per_task(self) -> list[list[float]]:
        """For each task, its value after 0 … K steps."""
        found: list[list[float]] = self.agents["meta"]["per_task"]
        return found

    def as_dict(self) -> dict[str, Any]:
        """The object of ``evaluation.json``."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def save(self, path: str | Path) -> Path:
        """Write it as JSON."""
        return write_atomic(Path(path), to_json(self.as_dict(), indent=1))

    def table(self) -> str:
        """A line for each agent: its mean after each number of steps, with the interval."""
        p = self.protocol
        drawn = (
            f"{p['episodes']} episodes a step"
            if "episodes" in p
            else f"{p['shots']} support and {p['queries']} query examples"
        )
        lines = [
            f"{self.metric} on {p['tasks']} {p['split']} tasks of {p['family']} ({p['spec']}), "
            f"{drawn}, checkpoint {p['checkpoint']}; {p['interval']}; protocol {p['name']} {p['hash'][:8]}"
        ]
        steps = shown_steps(p["steps"])
        head = ["agent", *(f"step {k}" if k else "before" for k in steps), "step sizes"]
        rows = [head, *(self._row(name, steps) for name in self.agents)]
        return "\n".join([*lines, *aligned(rows, left=(0, len(head) - 1))])

    def _row(self, name: str, steps: Sequence[int]) -> list[str]:
        agent = self.agents[name]
        pairs = [(agent["mean"][k], agent["ci95"][k]) for k in steps]
        digits = 2 if self.metric == "return" else 3
        cells = [f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]" for mean, (low, high) in pairs]
        rates = agent["inner_lr"]
        return [name, *cells, " ".join(f"{lr:g}" for lr in (rates[:1] if len(set(rates)) == 1 else rates))]

    __str__ = table


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Lines of cells under one another, right-aligned but for the columns ``left``."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "   ".join(
            f"{cell:<{width}}" if column in left else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [line.rstrip() for line in lines]


def shown_steps(steps: int) -> list[int]:
    """The steps that a table shows: all up to five, else 0, 1, 2, 5, 10, 20, … and the last."""
    if steps <= 5:
        return list(range(steps + 1))
    return sorted({0, 1, 2, *(k for k in (5, 10, 20, 50, 100, 200, 500) if k < steps), steps})
