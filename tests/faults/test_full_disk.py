"""A disk that is really full, of a few pages, where the system lets one mount it; see also test_damage.py."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metarl.run.config.train_config import to_yaml
from metarl.run.use.runs import Run, train
from tiny_runs import alike, rows, tiny

ALONE = ["unshare", "--map-root-user", "--mount"]  # with mounts of its own
SCRIPT = """
mount -t tmpfs -o size=100k none disk || exit 9
"$@" train --config tiny.yaml --out disk/run 2>told
echo $? >trained
cp -r disk/run full
mount -o remount,size=10m disk
"$@" resume disk/run 2>/dev/null
echo $? >resumed
cp -r disk/run run
"""
MOUNTS = shutil.which("unshare") and not subprocess.run([*ALONE, "true"], capture_output=True).returncode


@pytest.mark.skipif(not MOUNTS, reason="nobody may mount here")
def test_a_run_that_has_filled_its_disk_goes_on_once_there_is_room(tmp_path: Path) -> None:
    options: dict[str, Any] = {"iterations": 20, "checkpoint_every": 1, "keep_checkpoints": 30}
    Path("tiny.yaml").write_text(to_yaml(tiny(**options)))
    Path("disk").mkdir()
    metarl = [sys.executable, "-c", "import sys; from metarl.cli import main; sys.exit(main())"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([*ALONE, "sh", "-c", SCRIPT, "sh", *metarl], env=environment, check=True)

    *_, last = Path("told").read_text().splitlines()
    assert last.startswith("metarl: disk/run/") and ": No space left on device; " in last
    assert last.endswith("go on with: metarl resume disk/run")
    assert Path("trained").read_text() == "1\n" and Path("resumed").read_text() == "0\n"
    left = Run.resume("full").iteration
    assert 2 < left < 20
    assert [row["iteration"] for row in rows(Path("full"))][:left] == list(range(1, left + 1))
    assert alike(Run.resume("run"), train(tiny(**options), tmp_path / "straight"))
    assert [row["iteration"] for row in rows(Path("run"))] == list(range(1, 21))
