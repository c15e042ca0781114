"""Checkpoints cut short or altered, disks that are full, runs of a newer metarl or of something else."""

import json
import os
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import metarl
from hostile_files import change_config, snapshot
from metarl.cli import main
from metarl.run.config.train_config import to_yaml
from metarl.run.log.metrics_file import JsonlLogger
from metarl.run.store import checkpoint as store
from metarl.run.store.checkpoint import MANIFEST, STATE
from metarl.run.use.runs import Run, train
from tiny_runs import alike, rows, tiny

Capture = pytest.CaptureFixture[str]
Change = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Four iterations, with a checkpoint after each."""
    return train(tiny(iterations=4, checkpoint_every=1), tmp_path_factory.mktemp("damage") / "run")


@pytest.fixture
def run(whole: Run, tmp_path: Path) -> Path:
    shutil.copytree(whole.path, "run")
    return Path("run")


def flipped(place: float) -> Change:
    """With one bit other than it was."""

    def change(data: bytes) -> bytes:
        at = int(place * len(data))
        return data[:at] + bytes([data[at] ^ 8]) + data[at + 1 :]

    return change


def cut(part: float) -> Change:
    return lambda data: data[: min(int(part * len(data)), len(data) - 1)]


DAMAGE = {"0 %": cut(0), "10 %": cut(0.1), "50 %": cut(0.5), "99.9 %": cut(0.999)}
DAMAGE |= {"a bit of the header": flipped(0.02), "a bit of the weights": flipped(0.9)}


@pytest.mark.parametrize("name", [STATE, MANIFEST])
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    name: str, how: str, run: Path, whole: Run, capsys: Capture
) -> None:
    """Resumed from the one before, the run ends with the bits that it had."""
    file = run / "checkpoints" / "000004" / name
    file.write_bytes(DAMAGE[how](file.read_bytes()))
    assert main(["evaluate", "run", "--checkpoint", "4"]) == 2
    told = capsys.readouterr().err
    assert f"metarl: run/checkpoints/000004/{name}: " in told and "; other checkpoints: 1, 2, 3\n" in told
    assert main(["resume", "run"]) == 0
    told = capsys.readouterr().err
    assert told.count("warning") == 1
    assert f"warning: run/checkpoints/000004/{name}: " in told and "going back to checkpoint 3" in told
    assert alike(Run.resume("run"), whole)


def test_without_a_whole_one_the_run_starts_over(run: Path, whole: Run, capsys: Capture) -> None:
    for folder in (run / "checkpoints").iterdir():
        os.truncate(folder / STATE, 10)
    assert main(["resume", "run"]) == 0
    told = capsys.readouterr().err
    assert [f"going back to {where}" in told for where in ("checkpoint 3", "iteration 0")] == [True, True]
    assert alike(Run.resume("run"), whole)


# A full disk -----------------------------------------------------------------------------------------------


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file grows beyond ``size`` bytes, as on a disk that is full: the system refuses to write more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def full_from(call: int, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the given call of a function on, the disk is full for it."""
    works, calls = getattr(owner, name), []

    def called(*args: Any, **options: Any) -> Any:
        calls.append(name)
        with files_of_at_most(10**9 if len(calls) < call else 300):
            return works(*args, **options)

    monkeypatch.setattr(owner, name, called)


@pytest.mark.parametrize(
    ("owner", "name", "call", "left", "told"),
    [
        (store, "save", 2, 2, rf"run/checkpoints/000004.tmp-\w+/{STATE}: File too large"),
        (JsonlLogger, "row", 4, 2, "run/metrics.jsonl: File too large"),
    ],
)
def test_a_full_disk_ends_training_with_1_and_the_run_goes_on_where_there_is_room(
    owner: Any,
    name: str,
    call: int,
    left: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    options: dict[str, Any] = {"iterations": 6, "checkpoint_every": 2}
    Path("tiny.yaml").write_text(to_yaml(tiny(**options)))
    with monkeypatch.context() as patch:
        full_from(call, owner, name, patch)
        assert main(["train", "--config", "tiny.yaml", "--out", "run"]) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert re.match(rf"metarl: {told}; .*go on with: metarl resume run$", last)
    assert [path.name for path in Path("run/checkpoints").iterdir()] == [f"{left:06d}"]
    store.load(store.find(Path("run/checkpoints")))
    assert main(["resume", "run"]) == 0
    assert alike(Run.resume("run"), train(tiny(**options), tmp_path / "straight"))
    assert [row["iteration"] for row in rows(Path("run"))] == [1, 2, 3, 4, 5, 6]


def test_on_a_full_disk_nothing_that_stood_there_is_lost(run: Path, capsys: Capture) -> None:
    evaluate = ["evaluate", "run", "--tasks", "2", "--steps", "1", "--episodes", "2"]
    assert main(evaluate) == 0
    assert main(["report", "run"]) == 0
    before = snapshot(run)
    capsys.readouterr()
    with files_of_at_most(300):
        status = main(evaluate), main(["report", "run"])
    told = capsys.readouterr().err
    assert status == (1, 2)  # the agent was measured in vain; a page has another place where it can go
    assert "metarl: run/evaluation.json: File too large\n" in told
    assert "metarl: cannot write run/report.html: File too large\n" in told
    assert snapshot(run) == before


def test_a_run_that_cannot_begin_can_be_begun_again(tmp_path: Path, capsys: Capture) -> None:
    Path("tiny.yaml").write_text(to_yaml(tiny(iterations=1)))
    line = ["train", "--config", "tiny.yaml", "--out", "run"]
    for size in (0, 300):  # without room for the lock's few bytes, and with
        with files_of_at_most(size):
            assert main(line) == 1
        assert "metarl: run/config.yaml: File too large" in capsys.readouterr().err
    assert [path.name for path in Path("run").iterdir()] == [".lock"]
    assert main(line) == 0


# Runs of something else ------------------------------------------------------------------------------------

OTHERS = {
    "a wider network": (
        {"hidden": [9]},
        "checkpoint 4 of run has [8] for meta.model.net.0.bias, this configuration has [9]",
    ),
    "another optimizer": ({"meta_optimizer": "sgd"}, "checkpoint 4 of run has "),
    "another rule": ({"rule": "meta-sgd"}, "checkpoint 4 of run has nothing for meta.rule."),
    "another family": ({"family": "bandit", "spec": None, "family_arg": {}}, "checkpoint 4 of run has "),
    "a family of examples": ({"family": "sinusoid", "spec": None, "family_arg": {}}, ""),
}


@pytest.mark.parametrize("which", OTHERS)
def test_a_configuration_that_is_not_the_checkpoint_s_is_refused(
    which: str, run: Path, capsys: Capture
) -> None:
    changes, told = OTHERS[which]
    change_config(run, **changes)
    before = snapshot(run)
    for line in (["resume", "run"], ["evaluate", "run", "--checkpoint", "last"]):
        assert main(line) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and told in err
    assert snapshot(run) == before


def test_a_newer_checkpoint_is_refused_with_both_versions_and_nothing_is_lost(
    run: Path, capsys: Capture
) -> None:
    manifest = run / "checkpoints" / "000004" / MANIFEST
    manifest.write_text(json.dumps({"format": store.FORMAT + 1, "anything": "else"}))
    before = snapshot(run)
    for line in (["resume", "run"], ["evaluate", "run", "--checkpoint", "last"]):
        assert main(line) == 2
        told = capsys.readouterr().err
        assert f"has checkpoint format {store.FORMAT + 1}; this metarl reads up to {store.FORMAT}" in told
    assert snapshot(run) == before
    assert metarl.load("run", 3).iteration == 3  # the others are read as ever
