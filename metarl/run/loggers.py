"""Where the numbers of a run go: ``metrics.jsonl``, which is the truth, and the mirrors by name.

A row is a flat dict, one a finished iteration: ``{"iteration": 7, "env_steps": 840, "return/step_0": -3.5}``.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from metarl.core.errors import RequestError
from metarl.core.registry import Registry
from metarl.run.files import sync_file, to_json, write_atomic
from metarl.run.mirrors import Mirror, WandbLogger

__all__ = ["LOGGERS", "JsonlLogger", "Mirror", "WandbLogger", "read_metrics"]

LOGGERS: Registry[Callable[[], Mirror]] = Registry("logger")
LOGGERS.register("wandb")(WandbLogger)


class JsonlLogger:
    """Appends strict JSON (a value that is not finite becomes null), one line a row, flushed line by line.

    A last line that a killed process left unfinished is cut off on opening.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        whole, torn = _lines(self._path)
        if torn:
            write_atomic(self._path, b"".join(whole))
        self._file = self._path.open("ab")

    def row(self, row: Mapping[str, Any]) -> None:
        """Append one row; when this returns, a killed process no longer loses it (a power cut may)."""
        self._file.write(to_json(dict(row)).encode() + b"\n")
        self._file.flush()

    def sync(self) -> None:
        """Wait until the disk has every row; call it before saving the checkpoint that stands for them."""
        sync_file(self._file)

    def truncate_after(self, iteration: int) -> None:
        """Drop, in one step, the rows after ``iteration``: a resumed run writes them again."""
        lines, _ = _lines(self._path)
        kept = [line for line in lines if _row(self._path, line)["iteration"] <= iteration]
        if len(kept) < len(lines):
            self._file.close()
            write_atomic(self._path, b"".join(kept))
            self._file = self._path.open("ab")

    def close(self) -> None:
        """No rows after this."""
        self._file.close()

    def __enter__(self) -> "JsonlLogger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl``, of a run that still goes on too; an unfinished last line is left out.

    Raises:
        RequestError: no such file, or a line in it is not a row.
    """
    path = Path(path)
    if not path.is_file():
        raise RequestError(f"{path}: no such file")
    return [_row(path, line) for line in _lines(path)[0]]


def _lines(path: Path) -> tuple[list[bytes], bool]:
    """The finished lines of a file, and whether an unfinished one follows them."""
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    torn = bool(lines) and not lines[-1].endswith(b"\n")
    return (lines[:-1] if torn else lines), torn


def _row(path: Path, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or type(row.get("iteration")) is not int:
        shown = line[:40].decode(errors="replace").strip()
        raise RequestError(f"{path}: is damaged: {shown!r} is not a row (a JSON object with an iteration)")
    return row
