"""Progress of a run or an evaluation: a bar on a terminal, now and then a line elsewhere."""

import math
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress

from metarl.run.log.curve import Curve
from metarl.run.log.measures import SAMPLES, measure_of

LINES = 20  # plain lines of a run
QUIET = 10.0  # s without a plain line at most


class Progress:
    """A context in which ``update`` is called after each finished iteration.

    On a terminal one bar, drawn from the caller's thread (there is no other); lines printed meanwhile appear
    above it. Elsewhere plain lines: the first iteration, the last, about twenty between, and one every ten
    seconds where iterations are slow.

    Args:
        total: the iteration at which the run ends.
        start: iterations finished already (a resumed run).
        console: where to draw; standard error by default.
        clock: seconds; for tests.
        unit: what is finished one by one.
        lines: about the number of plain lines where it goes fast.
    """

    def __init__(
        self,
        total: int,
        start: int = 0,
        description: str = "",
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        unit: str = "iteration",
        lines: int = LINES,
    ) -> None:
        self._unit, self._lines = unit, lines
        self._total, self._start, self._description = total, start, description
        self._console = Console(stderr=True, highlight=False) if console is None else console
        self._clock = clock
        self._began = self._printed = clock()
        # Samples before the rows seen (of a resumed run the first row's count), and seconds of those rows.
        self._drawn_before, self._seconds = (0 if start == 0 else None), 0.0
        self._bar: RichProgress | None = None

    def __enter__(self) -> "Progress":
        self._began = self._printed = self._clock()
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            before, after = TextColumn("{task.description}"), TextColumn("{task.fields[status]}")
            columns = before, BarColumn(), MofNCompleteColumn(), after
            self._bar = RichProgress(*columns, console=self._console, auto_refresh=False)
            self._bar.add_task(self._description, total=self._total, completed=self._start, status="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()  # gives the cursor back, also after Ctrl-C

    def update(self, iteration: int, row: Mapping[str, Any]) -> None:
        """Show that ``iteration`` is finished; ``row`` is its row of metrics.jsonl."""
        status = self._status(iteration, row)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=iteration, status=status, refresh=True)
        elif self._due(iteration):
            self._printed = self._clock()
            line = f"{self._description} {self._unit} {iteration}/{self._total}  {status}".strip()
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _due(self, iteration: int) -> bool:
        return (
            iteration in (self._start + 1, self._total)
            or iteration % max(1, self._total // self._lines) == 0
            or self._clock() - self._printed >= QUIET
        )

    def _status(self, iteration: int, row: Mapping[str, Any]) -> str:
        parts = []
        for curve in Curve.all_from_row(row)[:1]:  # the run's own metric; others stand beside it
            ends = curve.values[:: max(1, len(curve.values) - 1)]
            parts.append(f"{curve.metric} {' -> '.join(_short(curve.metric, value) for value in ends)}")
        counted = next((key for key in SAMPLES if isinstance(row.get(key), int)), None)
        if counted is not None and self._drawn_before is None:
            self._drawn_before = row[counted]
        elif counted is not None and self._drawn_before is not None:
            self._seconds += row.get("seconds", 0.0)
            if self._seconds > 0:
                speed = (row[counted] - self._drawn_before) / self._seconds
                parts.append(f"{speed:,.0f} {counted.replace('_', ' ')}/s")
        done = iteration - self._start
        if done > 0 and iteration < self._total:
            left = (self._clock() - self._began) / done * (self._total - iteration)
            parts.append(f"ETA {timedelta(seconds=round(left))}")
        return "  ".join(parts)


def _short(metric: str, value: float | None) -> str:
    value = math.nan if value is None else value
    return f"{100 * value:.1f} %" if measure_of(metric).share else f"{value:.4g}"
