"""Stopping and going on: the same bits as a run that nobody disturbed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from metarl.core.errors import RequestError
from metarl.run.config.admission import load_config
from metarl.run.config.train_config import to_yaml
from metarl.run.store import checkpoint as store
from metarl.run.train.callbacks import Callback
from metarl.run.train.signals import Stopped
from metarl.run.use.runs import Run, load, resume, train
from tiny_runs import alike, rows, same, tiny

VARIANTS = [("maml", "trpo"), ("fomaml", "trpo"), ("maml", "adam"), ("maml", "sgd")]


@pytest.mark.parametrize(("algorithm", "meta_optimizer"), VARIANTS)
def test_twice_n_iterations_are_two_n(tmp_path: Path, algorithm: str, meta_optimizer: str) -> None:
    options: dict[str, Any] = {
        "algorithm": algorithm,
        "meta_optimizer": meta_optimizer,
        "checkpoint_every": 3,
    }
    whole = train(tiny(iterations=4, **options), tmp_path / "whole")
    train(tiny(iterations=2, **options), tmp_path / "resumed")
    assert alike(resume(tmp_path / "resumed", 4), whole)
    learned = train(tiny(iterations=2, **options), tmp_path / "learned")
    assert learned.learn(2) is learned
    assert alike(learned, whole)
    assert load_config(tmp_path / "learned/config.yaml") == whole.config  # 4 iterations by now
    train(tiny(iterations=2, **options), tmp_path / "loaded")
    assert alike(load(tmp_path / "loaded", "last").learn(2), whole)
    assert not same(whole.meta, load(tmp_path / "resumed", 3).meta)


def test_what_came_after_the_last_checkpoint_is_done_again(tmp_path: Path) -> None:
    whole = train(tiny(iterations=5), tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    for iteration in (4, 5):
        shutil.rmtree(tmp_path / f"killed/checkpoints/{iteration:06d}")
    assert Run.resume(tmp_path / "killed").iteration == 2
    assert alike(resume(tmp_path / "killed"), whole)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = train(tiny(iterations=5), tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "damaged")
    state = tmp_path / "damaged/checkpoints/000005" / store.STATE
    content = bytearray(state.read_bytes())
    content[-1] ^= 1
    state.write_bytes(content)
    capsys.readouterr()
    run = resume(tmp_path / "damaged")
    assert "is damaged" in capsys.readouterr().err
    assert alike(run, whole)


def test_without_any_checkpoint_a_run_starts_over(tmp_path: Path) -> None:
    whole = train(tiny(iterations=3), tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed/checkpoints")
    assert Run.resume(tmp_path / "killed").iteration == 0
    assert alike(resume(tmp_path / "killed"), whole)


def test_a_run_that_is_the_working_directory_is_told_of_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(train(tiny(iterations=1), tmp_path / "mine").path)
    resume(Path(), 2).evaluate(tasks=2, steps=1, episodes=2)
    told = capsys.readouterr().err
    assert "mine iteration 2/2" in told and "evaluating mine measurement" in told


@pytest.mark.parametrize(("every", "warned"), [(3, 0), (2, 1)])
def test_more_rows_without_a_checkpoint_than_a_kill_can_cost_are_told_of(
    every: int, warned: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tiny(iterations=3, checkpoint_every=every), tmp_path / "run")
    shutil.rmtree(run.path / "checkpoints")
    capsys.readouterr()
    resume(run.path)
    told = f"warning: {run.path}/metrics.jsonl: has rows to 3, but the last checkpoint is 0: going on from it"
    assert capsys.readouterr().err.count(told) == warned


def test_a_finished_run_resumes_to_itself_and_not_backwards(tmp_path: Path) -> None:
    run = train(tiny(iterations=3), tmp_path / "run")
    before = rows(run.path)
    assert alike(resume(run.path), run)
    assert rows(run.path) == before
    with pytest.raises(RequestError, match="has 3 iterations already, got iterations 2"):
        resume(run.path, 2)
    assert load_config(run.path / "config.yaml").iterations == 3


def test_learning_needs_a_number_of_iterations(tmp_path: Path) -> None:
    run = train(tiny(iterations=1), tmp_path / "run")
    with pytest.raises(RequestError, match="-1"):
        run.learn(-1)


# Loading -----------------------------------------------------------------------------------------


def test_a_checkpoint_is_loaded_by_best_last_or_number(tmp_path: Path) -> None:
    after = {}

    class Keep(Callback):
        def on_training_start(self, run: Any) -> None:
            self.run = run

        def on_step(self, row: Mapping[str, Any]) -> bool:
            after[row["iteration"]] = self.run.meta, row["env_steps"], row["validation/return/step_1"]
            return True

    run = train(
        tiny(seed=4, iterations=6, checkpoint_every=1, keep_checkpoints=6), tmp_path / "run", [Keep()]
    )
    best = max(after, key=lambda n: after[n][2])
    assert best < 6  # or best and last could be mistaken for one another
    for which, iteration in {"best": best, "last": 6, 2: 2, "4": 4}.items():
        loaded = load(run.path, which)
        assert loaded.iteration == iteration
        assert same(loaded.meta, after[iteration][0])
        assert loaded.standing.samples == after[iteration][1]
    assert load(run.path).iteration == best
    with pytest.raises(RequestError, match="no checkpoint 9 in"):
        load(run.path, 9)


def test_an_older_checkpoint_is_not_trained_further(tmp_path: Path) -> None:
    run = train(tiny(iterations=4), tmp_path / "run")
    files = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(RequestError, match="checkpoint 2 and has been trained to 4; load its 'last'"):
        load(run.path, 2).learn(5)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == files


def test_a_checkpoint_of_another_network_is_refused_and_both_sides_named(tmp_path: Path) -> None:
    run = train(tiny(), tmp_path / "run")
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("hidden: [8]", "hidden: [9]"))
    assert load_config(config).hidden == (9,)
    with pytest.raises(RequestError, match=r"checkpoint 2 of .* has \[8\] for meta.model.net.0.bias"):
        load(run.path)


def test_the_weights_a_run_started_from_are_needed_no_more(tmp_path: Path) -> None:
    first = train(tiny(), tmp_path / "first")
    path = first.policy.save(tmp_path / "start.safetensors")
    run = train(tiny(init_from=str(path)), tmp_path / "run")
    config = tiny(init_from=str(path))

    class Killed(Callback):
        def on_rollout_start(self, iteration: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "killed", [Killed()])
    path.unlink()
    assert same(load(run.path, "last").meta, run.meta)
    assert same(resume(tmp_path / "killed", 2).meta, run.meta)


# Signals -----------------------------------------------------------------------------------------


def test_a_signal_ends_training_after_saving(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Signal(Callback):
        def on_rollout_start(self, iteration: int) -> None:
            if iteration == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped) as caught:
        train(tiny(iterations=9, checkpoint_every=2), tmp_path / "run", [Signal()])
    assert caught.value.status == 143
    assert "saved iteration 3; go on with: metarl resume " + str(tmp_path / "run") in capsys.readouterr().err
    assert Run.resume(tmp_path / "run").iteration == len(rows(tmp_path / "run")) == 3
    assert alike(resume(tmp_path / "run", 5), train(tiny(iterations=5), tmp_path / "undisturbed"))


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_stopped_from_outside_can_be_resumed(tmp_path: Path, signum: int, status: int) -> None:
    config = tiny(iterations=100_000, checkpoint_every=1000)
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    run_dir = tmp_path / "run"
    words = ["train", "--config", "config.yaml", "--out", str(run_dir)]
    process = subprocess.Popen(
        [sys.executable, "-m", "metarl", *words], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    rows_file = run_dir / "metrics.jsonl"
    while process.poll() is None and not (rows_file.is_file() and rows_file.read_bytes().count(b"\n") > 1):
        time.sleep(0.01)
    process.send_signal(signum)
    _, told = process.communicate(timeout=60)
    assert process.returncode == status
    n = Run.resume(run_dir).iteration
    assert len(rows(run_dir)) == n >= 2
    assert f"saved iteration {n}; go on with: metarl resume {run_dir}" in told
    assert f"stopped by {signal.Signals(signum).name}" in told.splitlines()[-1]
    undisturbed = train(tiny(iterations=n + 1, checkpoint_every=1000), tmp_path / "b")
    assert alike(resume(run_dir, n + 1), undisturbed)
