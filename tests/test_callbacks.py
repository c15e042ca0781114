"""The ready callbacks, and what training asks of any."""

import math
from pathlib import Path
from typing import Any

import pytest

from metarl.callbacks import Callback, Evaluate, Schedule, StopWithoutImprovement
from metarl.core.errors import RequestError
from metarl.run.train.callbacks import as_callbacks
from metarl.run.use.runs import Run, train
from tiny_runs import rows, same, tiny

SMALL: dict[str, int] = {"tasks": 2, "steps": 1, "episodes": 2}


class Silent(Callback):
    """Looks on, and forgets to return anything."""

    def on_step(self, row: Any) -> None:
        self.row = row


class Ends(Callback):
    def __init__(self, at: int) -> None:
        self._at = at

    def on_step(self, row: Any) -> bool:
        return row["iteration"] < self._at


def test_only_false_ends_training_and_one_callback_is_as_good_as_a_list(tmp_path: Path) -> None:
    assert train(tiny(iterations=3), tmp_path / "one", Silent()).iteration == 3
    assert train(tiny(iterations=3), tmp_path / "several", [Silent(), Ends(2)]).iteration == 2
    assert train(tiny(iterations=1), tmp_path / "more").learn(2, Ends(2)).iteration == 2


@pytest.mark.parametrize(
    ("callbacks", "named"), [(Silent, "the class Silent"), ([Silent(), 3], "int"), (print, "builtin_")]
)
def test_what_is_no_callback_is_named(callbacks: Any, named: str) -> None:
    with pytest.raises(RequestError, match=f"callbacks must be objects of metarl.Callback, got {named}"):
        as_callbacks(callbacks, tiny())


def test_a_callback_may_refuse_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="meta_optimizer 'trpo' has no step size to schedule"):
        train(tiny(meta_optimizer="trpo"), tmp_path / "run", Schedule())
    assert list(tmp_path.iterdir()) == []


def test_training_stops_after_validations_without_a_better_one_and_a_resumed_run_remembers(
    tmp_path: Path,
) -> None:
    config = tiny(iterations=8, checkpoint_every=1)
    train(config, tmp_path / "whole")
    values = [row["validation/return/step_1"] for row in rows(tmp_path / "whole")]
    best, since, wanted = -math.inf, 0, 8
    for iteration, value in enumerate(values, 1):
        best, since = (value, 0) if value > best else (best, since + 1)
        if since == 2:
            wanted = iteration
            break
    assert wanted < 8
    run = train(config, tmp_path / "run", StopWithoutImprovement(2))
    assert run.iteration == wanted and rows(run.path) == rows(tmp_path / "whole")[:wanted]
    train(config, tmp_path / "parts", Ends(wanted - 1))
    parts = Run.resume(tmp_path / "parts")
    assert parts.learn(8 - parts.iteration, StopWithoutImprovement(2)).iteration == wanted
    assert same(parts.meta, run.meta)
    with pytest.raises(RequestError, match="patience must be at least 1, got 0"):
        StopWithoutImprovement(0)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (Schedule(final=0.0), [0.01, 0.005, 0.0]),
        (Schedule("cosine", final=0.002), [0.01, 0.006, 0.002]),
        (Schedule(lambda iteration: 0.1 / iteration), [0.1, 0.05, 0.1 / 3]),
    ],
)
def test_a_schedule_sets_the_step_size_of_each_iteration(
    schedule: Schedule, rates: list[float], tmp_path: Path
) -> None:
    options = {"meta_optimizer": "sgd", "iterations": 3, "checkpoint_every": 1}
    run = train(tiny(**options), tmp_path / "run", schedule)
    assert [row["meta_lr"] for row in rows(run.path)] == pytest.approx(rates)
    assert run.config.meta_lr == 0.01
    first = train(tiny(**options | {"meta_lr": rates[0], "iterations": 1}), tmp_path / "first")
    assert same(first.meta, Run.load(run.path, 1).meta)
    train(tiny(**options), tmp_path / "parts", [schedule, Ends(1)])
    resumed = Run.resume(tmp_path / "parts").learn(2, schedule)
    assert same(resumed.meta, run.meta)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(RequestError, match="meta_lr must be linear, cosine or a function, got 'steps'"):
        Schedule("steps")


def test_an_evaluation_now_and_then_is_that_of_the_run_and_changes_nothing(tmp_path: Path) -> None:
    plain = train(tiny(iterations=4, checkpoint_every=1, keep_checkpoints=9), tmp_path / "plain")
    run = train(plain.config, tmp_path / "run", Evaluate(2, **SMALL))
    assert same(run.meta, plain.meta)
    for row, bare in zip(rows(run.path), rows(plain.path), strict=True):
        added = {name: x for name, x in row.items() if name not in bare}
        assert {name: row[name] for name in bare} == bare
        names = ["evaluation/return/step_0", "evaluation/return/step_1"] if row["iteration"] % 2 == 0 else []
        assert list(added) == names
        if names:
            found = Run.load(run.path, row["iteration"]).evaluate(**SMALL)
            assert list(added.values()) == pytest.approx(found.mean, rel=1e-5)
    with pytest.raises(RequestError, match="every must be at least 1, got 0"):
        Evaluate(0)
