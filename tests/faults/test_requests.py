"""Requests that cannot be met: status 2, one line that says why, and nothing written or lost."""

from pathlib import Path

import pytest
import torch

from hostile_files import snapshot
from metarl.cli import main
from metarl.run.config.train_config import to_yaml
from tiny_runs import tiny

BAD = {
    "tasks: 3\nhidden: [64}\n": "is not valid YAML: line 4: ",
    "tasks: 3\ntaskz: 4\n": "taskz",
    "tasks: three\n": "tasks must be a whole number of at least 1, got 'three'",
    "meta_lr: .nan\n": "meta_lr must be a ",
}


@pytest.mark.parametrize("text", BAD)
def test_a_file_that_asks_for_what_cannot_be_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a new run, and as the configuration of one that is there."""
    Path("good.yaml").write_text(to_yaml(tiny(iterations=1)))
    assert main(["train", "--config", "good.yaml", "--out", "run"]) == 0
    for path in (Path("bad.yaml"), Path("run/config.yaml")):
        path.write_text(f"algorithm: maml\nfamily: point-goal\n{text}")
    before = snapshot(tmp_path)
    capsys.readouterr()
    for line in ("train --config bad.yaml --out new", "resume run --iterations 2", "evaluate run"):
        assert main(line.split()) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1
        assert err.startswith("metarl: ") and BAD[text] in err
    assert snapshot(tmp_path) == before


def test_a_gpu_that_is_not_there_is_never_replaced_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of one is evaluated without, which a warning tells."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    Path("good.yaml").write_text(to_yaml(tiny(iterations=1)))
    assert main(["train", "--config", "good.yaml", "--out", "run"]) == 0
    config = Path("run/config.yaml")
    config.write_text(config.read_text().replace("device: cpu", "device: cuda"))
    before = snapshot(tmp_path)
    capsys.readouterr()
    for line in ("train --config good.yaml --device cuda --out new", "resume run --iterations 2"):
        assert main(line.split()) == 2
        assert capsys.readouterr().err.startswith("metarl: device 'cuda' is not available")
    assert snapshot(tmp_path) == before
    assert main(["evaluate", "run", "--tasks", "2", "--steps", "1", "--episodes", "2"]) == 0
    assert "run was trained on a GPU; there is none here, so it is used on the CPU" in capsys.readouterr().err
