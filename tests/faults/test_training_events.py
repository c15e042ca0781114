"""What may happen on the way: steps that are not finite, and callbacks."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from metarl.core.errors import RunFailed
from metarl.core.objectives import objectives, surrogate
from metarl.core.params import tree_map
from metarl.learn.optimizers import MetaOptimizer
from metarl.run.agent.agent import Agent
from metarl.run.store import checkpoint as store
from metarl.run.train.callbacks import Callback
from metarl.run.use.runs import Run, load, resume, train
from tiny_runs import rows, same, tiny

RARELY = {"checkpoint_every": 100, "max_skipped": 3}
MAX_SKIPPED = RARELY["max_skipped"]


def poison(monkeypatch: pytest.MonkeyPatch, when: set[int], what: str = "meta") -> None:
    """From now on the meta-optimizer's steps of these numbers, from 1, are not finite."""
    healthy, calls = Agent.optimizer_with, []

    def poisoned(agent: Agent, changes: Any) -> MetaOptimizer:
        init, step = healthy(agent, changes)

        def wrapped(*arguments: Any) -> Any:
            meta, state, metrics = step(*arguments)
            calls.append(1)
            if len(calls) in when and what == "meta":
                first, *_ = meta.model
                meta.model[first].view(-1)[0] = math.inf
            elif len(calls) in when:
                state = tree_map(lambda x: x * math.nan, state)
            return meta, state, metrics

        return MetaOptimizer(init, wrapped)

    monkeypatch.setattr(Agent, "optimizer_with", poisoned)


@pytest.mark.parametrize("optimizer", ["trpo", "adam"])
def test_a_loss_that_is_no_number_is_counted_whatever_the_optimizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    def no_number(apply: Any, params: Any, batch: Any) -> Any:
        return surrogate(apply, params, batch) * math.nan

    monkeypatch.setitem(objectives._parts, "surrogate", no_number)
    with pytest.raises(RunFailed, match="not finite"):
        train(tiny(iterations=9, meta_optimizer=optimizer, **RARELY), tmp_path / "run")
    found = rows(tmp_path / "run")
    assert [row["skipped"] for row in found] == list(range(1, MAX_SKIPPED + 1))
    assert store.available(tmp_path / "run" / "checkpoints") == [MAX_SKIPPED]
    assert same(load(tmp_path / "run", "last").meta, train(tiny(iterations=0), tmp_path / "none").meta)


@pytest.mark.parametrize(
    ("what", "told"),
    [("meta", "the parameter log_std is not finite after the step"), ("state", "the optimizer's ")],
)
def test_a_step_that_is_not_finite_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str, told: str
) -> None:
    before = train(tiny(iterations=1, **RARELY), tmp_path / "before")
    poison(monkeypatch, {2, 3}, what)
    run = train(tiny(iterations=3, **RARELY), tmp_path / "run")
    assert same(run.meta, before.meta)
    assert same(run.standing.optimizer, before.standing.optimizer)
    warned = [line for line in capsys.readouterr().err.splitlines() if "; the parameters stay" in line]
    assert len(warned) == 2
    assert all(f"iteration {n}: {told}" in line for n, line in zip((2, 3), warned, strict=True))
    run.learn(1)
    assert not same(run.meta, before.meta)
    assert [row["skipped"] for row in rows(run.path)] == [0, 1, 2, 0]
    assert [row["env_steps"] for row in rows(run.path)] == [
        240,
        480,
        720,
        960,
    ]  # they were taken all the same


def test_too_many_in_a_row_end_the_run_at_its_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = train(tiny(iterations=2, **RARELY), tmp_path / "good")
    with monkeypatch.context() as patch:
        poison(patch, set(range(3, 99)))
        with pytest.raises(RunFailed, match=f"{MAX_SKIPPED} steps in a row .* {tmp_path / 'run'}"):
            train(tiny(iterations=20, **RARELY), tmp_path / "run")
    assert len(rows(tmp_path / "run")) == 2 + MAX_SKIPPED
    saved = Run.resume(tmp_path / "run")
    assert (saved.iteration, saved.standing.skipped) == (2 + MAX_SKIPPED, MAX_SKIPPED)
    assert same(saved.meta, good.meta)
    assert same(saved.standing.optimizer, good.standing.optimizer)
    run = resume(tmp_path / "run", 4 + MAX_SKIPPED)  # healthy again
    assert [row["skipped"] for row in rows(run.path)][-2:] == [0, 0]


def test_interrupted_rows_of_bad_steps_do_not_end_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, {1, 2, 4, 5, 7, 8})  # never three in a row
    assert train(tiny(iterations=10, **RARELY), tmp_path / "run").iteration == 10


WILD = {"inner_lr": 1e38, "inner_steps": 2}  # the first step leaves a policy whose actions are infinite


@pytest.mark.parametrize(
    ("inner_lr", "why"),
    [
        (1e38, "step 1: the policy's action is "),
        (1e39, "the parameters after inner step 1 are not finite; the parameters stay"),
    ],
)
def test_inner_steps_that_diverge_cost_an_iteration_and_not_the_run(
    inner_lr: float, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunFailed, match=f"{MAX_SKIPPED} steps in a row were not finite"):
        train(tiny(iterations=9, **WILD | {"inner_lr": inner_lr}, **RARELY), tmp_path / "run")
    told = capsys.readouterr().err
    assert told.count(why) == told.count("not finite; the parameters stay") == MAX_SKIPPED
    found = rows(tmp_path / "run")
    assert [row["skipped"] for row in found] == [1, 2, 3]
    assert [row["env_steps"] for row in found] == [120, 240, 360]  # none after it
    assert all(row[f"return/step_{k}"] is None for row in found for k in range(3))
    assert same(load(tmp_path / "run", "last").meta, train(tiny(iterations=0), tmp_path / "none").meta)


def test_validation_that_diverges_is_no_candidate_for_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"iterations": 2, "max_skipped": 3, "checkpoint_every": 1, **WILD}
    run = train(tiny(**options), tmp_path / "run")
    assert [row["validation/return/step_0"] for row in rows(run.path)] == [None, None]
    assert capsys.readouterr().err.count("validation: family 'point-goal' (finn2017): task 0 ") == 2
    assert run.iteration == 2


def test_a_validation_that_fails_saves_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = train(tiny(iterations=1, **RARELY), tmp_path / "good")

    def broken(*arguments: Any) -> Any:
        raise ZeroDivisionError("in the environment")

    with monkeypatch.context() as patch:
        patch.setattr("metarl.run.train.training.validate", broken)
        with pytest.raises(RunFailed, match=r"iteration 2 failed: ZeroDivisionError: in the environment"):
            train(tiny(iterations=3, checkpoint_every=2), tmp_path / "run")
    assert same(load(tmp_path / "run", "last").meta, good.meta)
    assert [row["iteration"] for row in rows(tmp_path / "run")] == [1]
    assert resume(tmp_path / "run").iteration == 3
    assert [row["iteration"] for row in rows(tmp_path / "run")] == [1, 2, 3]


# Callbacks ---------------------------------------------------------------------------------------


class Diary(Callback):
    """Writes down all that it is told."""

    def __init__(self, last: int = 99) -> None:
        self.entries: list[Any] = []
        self.rows: list[dict[str, Any]] = []
        self.metas: list[Any] = []
        self._last = last

    def on_training_start(self, run: Any) -> None:
        self.run = run
        self.entries.append(("start", run.iteration))

    def on_rollout_start(self, iteration: int) -> None:
        self.entries.append(("collecting", iteration))

    def on_rollout_end(self, iteration: int, experience: Any) -> None:
        assert len(experience.batches) == 2
        self.metas.append(self.run.meta)
        self.entries.append(("collected", iteration))

    def on_step(self, row: Mapping[str, Any]) -> bool:
        self.rows.append({k: v for k, v in row.items() if k != "seconds"})
        assert self.run.iteration == row["iteration"]
        assert not same(self.run.meta, self.metas[-1])  # between the two, the step was taken
        self.entries.append(("stepped", row["iteration"]))
        return row["iteration"] < self._last

    def on_training_end(self) -> None:
        assert self.run.iteration in store.available(self.run.checkpoints)
        self.entries.append("end")


def test_callbacks_are_told_in_order(tmp_path: Path) -> None:
    diary = Diary()
    run = train(tiny(iterations=2), tmp_path / "run", [diary])
    each = [[("collecting", n), ("collected", n), ("stepped", n)] for n in (1, 2, 3)]
    assert diary.entries == [("start", 0), *each[0], *each[1], "end"]
    assert diary.rows == rows(run.path)
    assert "validation/return/step_1" in diary.rows[1]
    diary.entries.clear()
    run.learn(1, [diary])
    assert diary.entries == [("start", 2), *each[2], "end"]


def test_any_callback_ends_training_and_all_are_asked(tmp_path: Path) -> None:
    first, second = Diary(last=2), Diary()
    run = train(tiny(iterations=9, **RARELY), tmp_path / "run", [first, second])
    assert run.iteration == 2
    assert first.entries == second.entries
    assert first.entries[-2:] == [("stepped", 2), "end"]
    assert Run.resume(run.path).iteration == 2
    whole = train(tiny(iterations=4, **RARELY), tmp_path / "whole")
    assert same(run.learn(2).meta, whole.meta)


def test_an_error_in_a_callback_leaves_rows_and_checkpoints_whole(tmp_path: Path) -> None:
    class Broken(Callback):
        def on_rollout_end(self, iteration: int, experience: Any) -> None:
            if iteration == 4:
                raise ZeroDivisionError

    with pytest.raises(RunFailed, match=r"iteration 4 failed: ZeroDivisionError.* metarl resume "):
        train(tiny(iterations=9), tmp_path / "run", [Broken()])
    assert len(rows(tmp_path / "run")) == 3
    assert "raise ZeroDivisionError" in (tmp_path / "run" / "failure.txt").read_text()
    whole = train(tiny(iterations=5), tmp_path / "whole")
    assert same(resume(tmp_path / "run", 5).meta, whole.meta)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")
    assert not (tmp_path / "run" / "failure.txt").exists()  # it has been got over
