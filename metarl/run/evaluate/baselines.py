"""Baselines by name: agents that show what an evaluated run's adaptation is worth.

Names are listed without importing what they stand for; the parts of this package are entry points, too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from metarl.core.registry import Registry


def _nothing(run: Any, agent: Any) -> None:
    return None


def _as_it_is(run: Any, begun: Any) -> Any:
    return begun


class Baseline(NamedTuple):
    """An agent to compare a run with: how it is had, and how it is measured.

    Attributes:
        description: the agent in one line, for tables and ``evaluation.json``.
        measure: ``measure(trained, trial)`` returns its entry of ``evaluation.json`` (``protocol.result``).
        begin: ``begin(run, agent)`` refuses what cannot be a baseline by a ``RequestError``, before any is
            trained and anything is written; ``agent`` is the run's, on the family that is evaluated. What it
            returns goes to ``train``.
        train: ``train(run, begun)`` trains it on first use, under ``RUN_DIR/baselines``; what it returns goes
            to ``measure``.
        measurements: how often ``measure`` calls ``trial.done``, where there are step sizes to choose.
    """

    description: str
    measure: Callable[..., Mapping[str, Any]]
    begin: Callable[..., Any] = _nothing
    train: Callable[..., Any] = _as_it_is
    measurements: int = 1


class Trial(NamedTuple):
    """The conditions that a baseline is measured under.

    Attributes:
        name: the baseline's, for messages.
        run: the evaluated run (``RunState``).
        agent: its agent, on the family that is evaluated.
        protocol: of the evaluation; its tasks are the ones to measure on.
        inner_lr: the step sizes that were asked for.
        done: to be called after each measurement but the last: progress is shown.
    """

    name: str
    run: Any
    agent: Any
    protocol: Any
    inner_lr: float | Sequence[float] | None
    done: Callable[[], None]


baselines: Registry[Baseline, None] = Registry(
    "baseline",
    "metarl.baselines",
    no_facts=None,
    accepts=Baseline,
    allowed="a Baseline (metarl.run.evaluate.baselines)",
)
