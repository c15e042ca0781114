"""Weights & Biases without a key, without a network or failing in mid-run costs one warning and no bit.

What of the mirror itself survives is tested in ``tests/run/log/test_metrics_file.py``.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import wandb

from metarl.cli import main
from metarl.run.config.train_config import to_yaml
from metarl.run.log.mirrors import loggers
from metarl.run.log.wandb_mirror import WandbMirror
from metarl.run.use.runs import Run, train
from strangers import forgotten_wandb
from tiny_runs import alike, tiny

Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def unmirrored(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny(iterations=3, checkpoint_every=2), tmp_path_factory.mktemp("mirror") / "run")


@pytest.fixture(autouse=True)
def stranger(tmp_path: Path, monkeypatch: Patch) -> Iterator[None]:
    """A machine whose owner never heard of wandb."""
    quick = partial(WandbMirror, start_timeout=1.0, finish_timeout=5.0)
    monkeypatch.setitem(loggers._parts, "wandb", quick)
    with forgotten_wandb(tmp_path / "home", monkeypatch):
        yield


def no_key(monkeypatch: Patch) -> None:
    """Nothing to do: there is none."""


def no_network(monkeypatch: Patch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)


def fails_in_mid_run(monkeypatch: Patch) -> None:
    works, calls = wandb.Run.log, []

    def log(*arguments: Any, **options: Any) -> None:
        calls.append(1)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        works(*arguments, **options)

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(wandb.Run, "log", log)


def cannot_begin(monkeypatch: Patch) -> None:
    """Not even offline."""

    def init(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("its server is of another version")

    monkeypatch.setattr(wandb, "init", init)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (no_key, "wandb: No API key configured"),
        (no_network, "the run is kept offline in run/wandb"),
        (
            fails_in_mid_run,
            "wandb: [Errno 28] No space left on device; no longer mirrored; ",
        ),
        (cannot_begin, "wandb: its server is of another version; no longer mirrored; "),
    ],
)
def test_the_run_is_what_it_would_have_been(
    trouble: Callable[[Patch], None],
    told: str,
    unmirrored: Run,
    monkeypatch: Patch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trouble(monkeypatch)
    Path("tiny.yaml").write_text(to_yaml(tiny(iterations=3, checkpoint_every=2)))
    assert main(["train", "--config", "tiny.yaml", "--logger", "wandb", "--out", "run"]) == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert told in warning
    assert alike(Run.resume("run"), unmirrored)
