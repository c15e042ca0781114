"""Nothing half-written: a failing write leaves the old file, and JSON is read by every reader."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from metarl.core.errors import RequestError, RunFailed
from metarl.run.store import files
from metarl.run.store.files import (
    clear_leftovers,
    is_leftover,
    read_json,
    read_limited,
    resumable,
    to_json,
    write_atomic,
)
from metarl.run.store.terminal import harmless, tell, warn


@pytest.mark.parametrize("data", ["θ′ = θ − α∇L", b"\x00\xff\n", "", b""])
def test_content_arrives_unchanged(tmp_path: Path, data: str | bytes) -> None:
    path = tmp_path / "file"
    path.write_text("old and longer than what comes")
    assert write_atomic(path, data) == path
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_failure_keeps_the_old_content_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, at, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(*paths: Path) -> None:
        events.append("rename")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write_atomic(tmp_path / "file", "new")
    assert events == ["file", "rename", "folder"]


def test_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    written = write_atomic(tmp_path / "file", "x")
    assert written.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_is_strict_and_keeps_every_bit() -> None:
    third = np.float64(1) / 3
    value = {
        "nan": float("nan"),
        "inf": [np.float32("inf"), -np.inf],
        "third": third,
        "tensor": torch.tensor([1, 2]),
        "scalar": torch.tensor(0.5),
        "count": np.int64(3),
        "flag": True,
        "path": Path("a"),
    }
    assert json.loads(to_json(value)) == {
        "nan": None,
        "inf": [None, None],
        "third": float(third),
        "tensor": [1, 2],
        "scalar": 0.5,
        "count": 3,
        "flag": True,
        "path": "a",
    }


def test_json_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(TypeError, match="set"):
        to_json({"x": {1}})


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    warn("first\nsecond")
    assert capsys.readouterr() == ("", "metarl: warning: first second\n")


def test_a_line_gives_a_terminal_no_orders(capsys: pytest.CaptureFixture[str]) -> None:
    tell("a\x1b[2Jb \ud800 θ′\n  c")
    assert capsys.readouterr().err == "a\\x1b[2Jb \\ud800 θ′\n  c\n"


def test_telling_nobody_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    tell("x")
    with open(os.devnull) as closed:
        monkeypatch.setattr("sys.stderr", closed)
        tell("not writable")
    tell("closed")


def test_no_more_is_read_than_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_limited(path, 5) == b"12345"
    with pytest.raises(ValueError, match=r"^it is larger than 4 bytes$"):
        read_limited(path, 4)
    os.truncate(path, 2**40)  # more than there is room for
    with pytest.raises(ValueError, match="larger"):
        read_limited(path, 2**16)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[1]", "{} is damaged: it holds no object"),
        (b"{", "{} is damaged: Expecting property name"),
        (b"\xff", "{} is damaged: 'utf-8' codec can't decode"),
        (b'{"a": ' + b"[" * 100_000, "{} is damaged: it is nested too deeply"),
        (b'{"a": 1234567890123}', "{} is damaged: it is larger than 16 bytes"),
    ],
)
def test_json_that_is_no_object_is_refused_in_one_line(
    content: bytes, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.json"
    if "larger" in told:
        monkeypatch.setattr(files, "JSON_LIMIT", 16)
    path.write_bytes(content)
    with pytest.raises(RequestError) as refused:
        read_json(path)
    assert str(refused.value).startswith(told.format(path)) and "\n" not in str(refused.value)


def test_json_comes_back_and_what_is_missing_is_told(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / "file.json", to_json({"a": [1, None]}))
    assert read_json(path) == {"a": [1, None]}
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "absent")
    with pytest.raises(RequestError, match=f"^cannot read {tmp_path}: Is a directory"):
        read_json(tmp_path)


def test_a_write_that_fails_names_its_file_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    told = f"^{tmp_path}/file: No space left .* go on with: metarl resume x$"
    with pytest.raises(RunFailed, match=told), resumable(tmp_path, "metarl resume x"):
        write_atomic(tmp_path / "file", "content")
    with pytest.raises(RunFailed, match=f"^{tmp_path}: No space left"), resumable(tmp_path, "again"):
        full(0)
    with pytest.raises(BrokenPipeError), resumable(tmp_path, "again"):
        raise BrokenPipeError


def test_what_a_killed_writer_left_is_cleared_and_what_another_writes_is_spared(tmp_path: Path) -> None:
    kept = ["a.json", ".a.json", ".a.json.tmp-", ".a.json.tmp-1234567g", ".b.json.tmp-12345678", "x.a.json"]
    for name in (*kept, ".a.json.tmp-12345678", ".a.json.tmp-abcdef00"):
        (tmp_path / name).touch()
    clear_leftovers(tmp_path / "a.json")
    assert {path.name for path in tmp_path.iterdir()} == set(kept)
    assert is_leftover(Path(".b.json.tmp-12345678"))
    assert not any(is_leftover(Path(name)) for name in kept[:4])


def test_a_leftover_is_what_is_there_while_a_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    monkeypatch.setattr(files, "sync_file", lambda file: seen.append(Path(file.name)))
    write_atomic(tmp_path / "a.json", "{}")
    assert [is_leftover(path) for path in seen] == [True]


def test_control_characters_are_written_out_and_everything_else_stays() -> None:
    assert harmless("\x1b]0;title\x07 a\u202eb\r\x9b\udc80") == r"\x1b]0;title\x07 a\u202eb\r\x9b\udc80"
    assert harmless("− 3\u00a0µm – „é“\n  next") == "− 3\u00a0µm – „é“\n  next"
