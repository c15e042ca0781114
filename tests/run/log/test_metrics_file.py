"""metrics.jsonl is whole whatever happens; Weights & Biases mirrors it, or costs one warning."""

import io
import json
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarl.core.errors import RequestError
from metarl.run.log import metrics_file as loggers
from metarl.run.log.metrics_file import LINE_LIMIT, JsonlLogger, read_metrics
from metarl.run.log.mirrors import Guarded
from metarl.run.log.mirrors import loggers as registry
from metarl.run.log.wandb_mirror import WandbMirror
from strangers import forgotten_wandb

ROWS = [
    {"iteration": i, "env_steps": 100 * i, "return/step_0": -i / 3, "return/step_1": 0.1 * i}
    for i in (1, 2, 3)
]
KEY = "k" * 40
EVALUATION = {
    "metric": "return",
    "metrics": {"return/step_0": -40.0, "return/gain": None},
    "agents": {"meta": {"mean": [-40.0, -20.0]}, "random": {"mean": [-50.0, -45.0]}},
}


def write(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    with JsonlLogger(path) as logger:
        for row in rows:
            logger.row(row)
    return path


def test_rows_come_back_bit_for_bit(tmp_path: Path) -> None:
    assert read_metrics(write(tmp_path / "metrics.jsonl")) == ROWS


def test_a_row_is_readable_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with JsonlLogger(path) as logger:
        assert read_metrics(path) == []
        logger.row(ROWS[0])
        assert read_metrics(path) == ROWS[:1]
        logger.sync()


def test_a_line_without_end_is_refused_and_not_held(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.jsonl")
    with path.open("ab") as file:
        file.write(b"[" * (LINE_LIMIT + 1))
    for read in (read_metrics, JsonlLogger):
        with pytest.raises(RequestError, match=r"metrics.jsonl: is damaged: a line of it has more than"):
            read(path)


def test_rows_are_strict_json(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    row = {
        "iteration": 1,
        "loss": float("nan"),
        "kl": np.float32("inf"),
        "x": torch.tensor(0.5),
        "n": np.int64(3),
    }
    line = write(tmp_path / "metrics.jsonl", [row]).read_text()
    expected = {"iteration": 1, "loss": None, "kl": None, "x": 0.5, "n": 3}
    assert json.loads(line, parse_constant=refuse) == expected
    assert line.count("\n") == 1


@pytest.mark.parametrize("left", [1, 10, -2])
def test_a_torn_last_line_is_left_out_on_reading_and_cut_off_on_appending(tmp_path: Path, left: int) -> None:
    path = write(tmp_path / "metrics.jsonl")
    whole = path.read_bytes()
    torn = json.dumps({"iteration": 4, "x": 1}).encode()
    path.write_bytes(whole + torn[:left])
    assert read_metrics(path) == ROWS
    assert write(path, [{"iteration": 4}]).read_bytes() == whole + b'{"iteration": 4}\n'


def test_a_last_line_without_its_end_is_torn_even_if_it_can_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.jsonl", [{"iteration": 1, "env_steps": 12}])
    path.write_bytes(path.read_bytes()[:-1])  # might have become 1234
    assert read_metrics(path) == []


@pytest.mark.parametrize("line", [b"\x00\x00\xff\n", b"{\n", b"[1]\n", b'{"env_steps": 1}\n', b"\n"])
def test_damage_in_the_middle_is_refused_in_one_line(tmp_path: Path, line: bytes) -> None:
    path = write(tmp_path / "metrics.jsonl")
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, line, *rest]))
    with pytest.raises(RequestError, match="is not a row") as caught:
        read_metrics(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"metrics\.jsonl: no such file"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_resuming_drops_later_rows_keeps_the_bytes_of_the_others_and_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    with JsonlLogger(path) as logger:
        logger.truncate_after(2)
        assert path.read_bytes() == b"".join(lines[:2])
        logger.row(ROWS[2])
        assert path.read_bytes() == b"".join(lines)
        logger.truncate_after(3)
        logger.truncate_after(0)
        logger.row(ROWS[0])
    assert read_metrics(path) == ROWS[:1]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("block", [1, 7, 100, 1 << 16])
def test_only_the_end_of_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(loggers, "BLOCK", block)
    path = write(tmp_path / "metrics.jsonl")
    rows = path.read_bytes()
    path.write_bytes(b"\x00 what nobody looks at\n" + rows + b'{"iteration": 4, "x')
    with JsonlLogger(path) as logger:
        logger.truncate_after(3)
        assert path.read_bytes().endswith(b"\n" + rows)
        logger.truncate_after(1)
        logger.row(ROWS[1])
    assert path.read_bytes().endswith(b"\n" + b"".join(rows.splitlines(keepends=True)[:2]))


def test_a_damaged_end_is_refused_and_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.jsonl")
    path.write_bytes(path.read_bytes() + b"{\n")
    before = path.read_bytes()
    with JsonlLogger(path) as logger, pytest.raises(RequestError, match="is not a row"):
        logger.truncate_after(1)
    assert path.read_bytes() == before


def test_a_killed_process_loses_no_row_that_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    code = (
        "import os, signal, sys; from metarl.run.log.metrics_file import JsonlLogger\n"
        "log = JsonlLogger(sys.argv[1])\n"
        "for i in (1, 2, 3): log.row({'iteration': i})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [row["iteration"] for row in read_metrics(path)] == [1, 2, 3]


def test_loggers_are_found_by_name() -> None:
    assert registry["wandb"] is WandbMirror
    with pytest.raises(RequestError, match="unknown logger 'x'; allowed: wandb"):
        registry["x"]


# Weights & Biases --------------------------------------------------------------------------------


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run directory on a machine whose owner never heard of wandb."""
    folder = tmp_path / "run"
    folder.mkdir()
    with forgotten_wandb(tmp_path / "home", monkeypatch):
        yield folder


def mirrored(run_dir: Path, mode: str | None, rows: list[dict[str, Any]] = ROWS, **options: Any) -> Guarded:
    """A run from start to end: whatever becomes of the mirror, it must get through."""
    logger = Guarded("wandb", WandbMirror("p", None, "g", mode, **options))
    logger.start({"algorithm": "maml", "inner_lr": 0.1, "out": run_dir, "widths": (64, 64)}, run_dir)
    for row in rows:
        logger.row(row)
    logger.evaluation(EVALUATION)
    logger.finish()
    return logger


def records(run_dir: Path) -> list[Any]:
    """The records of each offline run: LevelDB's log format, blocks of 32 KiB after a header of 7 bytes."""
    import wandb
    from wandb.proto import wandb_internal_pb2

    wandb.teardown()  # its process may still be writing after finish(); at exit it is waited for
    found = []
    for path in sorted(run_dir.glob("wandb/offline-run-*/run-*.wandb")):
        content, place, message = path.read_bytes(), 7, b""
        assert content[:4] == b":W&B"
        while place + 7 <= len(content):
            if 32768 - place % 32768 < 7:
                place += 32768 - place % 32768
                continue
            _, length, kind = struct.unpack_from("<IHB", content, place)
            message += content[place + 7 : place + 7 + length]
            place += 7 + length
            if kind in (1, 4):  # the whole record, or its last part
                record = wandb_internal_pb2.Record()
                record.ParseFromString(message)
                found.append(record)
                message = b""
    return found


def history(run_dir: Path) -> list[dict[str, Any]]:
    rows = [record.history for record in records(run_dir) if record.WhichOneof("record_type") == "history"]
    return [{".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in row.item} for row in rows]


def test_an_offline_run_holds_config_rows_axes_and_evaluation(
    run_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [*ROWS[:2], ROWS[2] | {"loss": float("nan"), "kl": None}]
    mirrored(run_dir, "offline", rows)
    assert capfd.readouterr() == ("", "")
    written = records(run_dir)
    (run,) = [record.run for record in written if record.WhichOneof("record_type") == "run"]
    assert (run.project, run.display_name, run.run_group) == ("p", "run", "g")
    config = {item.key: json.loads(item.value_json) for item in run.config.update if item.key != "_wandb"}
    assert config == {"algorithm": "maml", "inner_lr": 0.1, "out": str(run_dir), "widths": [64, 64]}

    logged = history(run_dir)
    names = ("iteration", "env_steps", "return/step_0", "return/step_1")
    assert [{name: row[name] for name in names} for row in logged[:3]] == ROWS
    assert not {"loss", "kl"} & logged[2].keys()
    assert [row["_step"] for row in logged[:3]] == [1, 2, 3]
    assert any(key.startswith("evaluation/adaptation") for key in logged[3])

    metrics = [record.metric for record in written if record.WhichOneof("record_type") == "metric"]
    axes = {metric.name or metric.glob_name: metric.step_metric for metric in metrics}
    assert axes.items() >= {"iteration": "", "env_steps": "", "*": "iteration"}.items()

    updates = [record.summary.update for record in written if record.WhichOneof("record_type") == "summary"]
    summary = {item.key: json.loads(item.value_json) for update in updates for item in update}
    assert summary["evaluation/return/step_0"] == -40.0
    assert summary["evaluation/meta/return/step_1"] == -20.0
    assert summary["evaluation/random/return/step_1"] == -45.0
    assert "evaluation/return/gain" not in summary
    (table,) = run_dir.glob("wandb/offline-run-*/files/media/table/evaluation/*.json")
    assert [-20.0 in row and "meta" in row for row in json.loads(table.read_text())["data"]].count(True) == 1


def test_a_resumed_run_keeps_its_id(run_dir: Path) -> None:
    for part in (ROWS[:2], ROWS[2:]):
        mirrored(run_dir, "offline", part)
        (folder,) = run_dir.glob("wandb/offline-run-2*")
        folder.rename(folder.with_name(f"offline-run-0{len(part)}"))  # wandb names it by second and id
    ids = [record.run.run_id for record in records(run_dir) if record.WhichOneof("record_type") == "run"]
    assert len(ids) == 2
    assert ids[0] == ids[1] == (run_dir / "wandb" / "id").read_text()


def test_without_a_key_the_run_is_kept_offline(run_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Terminal:
        """Somebody sits there, and must not be asked."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        def isatty(self) -> bool:
            return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", Terminal(io.StringIO("3\n" * 9)))
        patch.setattr(sys, "stderr", Terminal(sys.stderr))
        patch.setenv("TERM", "xterm")
        mirrored(run_dir, None)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("metarl: warning: wandb: No API key configured")
    assert str(run_dir / "wandb") in err
    assert err.count("\n") == 1
    assert len(history(run_dir)) == 4


def test_without_a_network_the_run_is_kept_offline(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        mirrored(run_dir, "online", start_timeout=1.0)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("metarl: warning: wandb: ")
    assert str(run_dir / "wandb") in err
    assert err.count("\n") == 1
    assert len(history(run_dir)) == 4


def test_a_disabled_mirror_writes_nothing(run_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mirrored(run_dir, "disabled")
    assert capfd.readouterr() == ("", "")
    assert history(run_dir) == []


@pytest.mark.parametrize("method", ["log", "define_metric", "finish"])
def test_a_failure_in_mid_run_costs_one_warning(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], method: str
) -> None:
    import wandb

    calls: list[object] = []

    def broken(*args: object, **_: object) -> None:
        calls.append(args)
        raise RuntimeError("the disk is gone\nand more that nobody wants to read")

    monkeypatch.setattr(wandb.Run, method, broken)
    assert mirrored(run_dir, "offline").failed
    assert len(calls) == 1  # not asked again
    out, err = capfd.readouterr()
    assert out == ""
    assert (
        err == "metarl: warning: wandb: the disk is gone; no longer mirrored; metrics.jsonl has every row\n"
    )


def test_the_death_of_its_process_costs_one_warning_also_at_exit(run_dir: Path) -> None:
    code = f"""
import os, signal, sys, time
from pathlib import Path
from metarl.run.log.mirrors import Guarded
from metarl.run.log.wandb_mirror import WandbMirror
before = set(os.listdir("/proc"))
logger = Guarded("wandb", WandbMirror(mode="offline"))
logger.start({{}}, Path({str(run_dir)!r}))
for name in sorted(set(os.listdir("/proc")) - before):
    try:
        ours = int(Path(f"/proc/{{name}}/stat").read_text().rsplit(")")[-1].split()[1]) == os.getpid()
    except (OSError, ValueError):
        continue
    if ours:
        os.kill(int(name), signal.SIGKILL)
        os.waitpid(int(name), 0)
for i in range(1, 20):
    logger.row({{"iteration": i}})
    time.sleep(0.01)
logger.finish()
print(logger.failed)
"""
    if not Path("/proc/self/stat").exists():
        pytest.skip("finds the process through /proc")
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "True\n")
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("metarl: warning: wandb: ")


def test_a_run_that_does_not_ask_for_it_never_imports_it() -> None:
    code = "import sys, metarl.run.log.mirrors; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
