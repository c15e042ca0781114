"""``metrics.jsonl``, where the numbers of a run go.

A row is a flat dict, one a finished iteration: ``{"iteration": 7, "env_steps": 840, "return/step_0": -3.5}``.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from metarl.core.errors import RequestError
from metarl.run.store.files import named, sync_file, to_json
from metarl.run.store.terminal import warn

BLOCK = 1 << 16  # bytes read at a time
LINE_LIMIT = 1 << 20  # bytes of a row, which has some hundreds


class JsonlLogger:
    """Append strict JSON (a value that is not finite becomes null), one line a row, flushed line by line.

    A last line that a killed process left unfinished is cut off on opening. What is cut off goes in one step,
    and only the end of the file is read: a long run opens as fast as a short one.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._file = self._path.open("a+b")
        try:
            start, line = next(_from_the_end(self._file), (0, b"\n"))
        except RequestError:
            self._file.close()
            raise
        if not line.endswith(b"\n"):
            self._file.truncate(start)

    def row(self, row: Mapping[str, Any]) -> None:
        """Append one row; when this returns, a killed process no longer loses it (a power cut may)."""
        with named(self._path):
            self._file.write(to_json(dict(row)).encode() + b"\n")
            self._file.flush()

    def sync(self) -> None:
        """Wait until the disk has every row; call it before saving the checkpoint that stands for them."""
        with named(self._path):
            sync_file(self._file)

    def truncate_after(self, iteration: int, usual: int | None = None) -> None:
        """Drop, in one step, the rows after ``iteration``: a resumed run writes them again.

        Args:
            iteration: the checkpoint that the run goes on from.
            usual: how many rows a kill can cost; that it is more is told, for checkpoints are missing then.

        Raises:
            RequestError: what would be dropped is no row.
        """
        end, last = None, iteration
        for start, line in _from_the_end(self._file):
            number = _row(self._path, line)["iteration"]
            last = max(last, number)
            if number <= iteration:
                break
            end = start
        if usual is not None and last - iteration > usual:
            rows = f"{self._path}: has rows to {last}"
            warn(f"{rows}, but the last checkpoint is {iteration}: going on from it")
        if end is not None:
            self._file.truncate(end)

    def close(self) -> None:
        with named(self._path):  # what a full disk refused is tried again
            self._file.close()

    def __enter__(self) -> "JsonlLogger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a ``metrics.jsonl``, also while a run writes it, without an unfinished last line.

    Raises:
        RequestError: no such file, or a line in it is not a row.
    """
    path = Path(path)
    if not path.is_file():
        raise RequestError(f"{path}: no such file")
    with path.open("rb") as file:
        lines = iter(lambda: file.readline(LINE_LIMIT), b"")
        return [_row(path, line) for line in lines if line.endswith(b"\n") or _too_long(path, line)]


def _too_long(path: Path, line: bytes) -> bool:
    """Return False for an unfinished line; refuse one that is longer than any row."""
    if len(line) >= LINE_LIMIT:
        raise RequestError(f"{path}: is damaged: a line of it has more than {LINE_LIMIT} bytes")
    return False


def _from_the_end(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file, the last one first, each with the place at which it begins."""
    start, held = file.seek(0, os.SEEK_END), b""
    while start or held:
        before = held.rfind(b"\n", 0, -1)  # the end of the line before the last one held
        if before < 0 and start:
            _too_long(Path(file.name), held)
            size = min(BLOCK, start)
            start -= size
            file.seek(start)
            held = file.read(size) + held
        else:
            yield start + before + 1, held[before + 1 :]
            held = held[: before + 1]


def _row(path: Path, line: bytes) -> dict[str, Any]:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    number = row.get("iteration") if isinstance(row, dict) else None
    if type(number) is not int or not 0 <= number < 1 << 63:
        shown = line[:40].decode(errors="replace").strip()
        raise RequestError(f"{path}: is damaged: {shown!r} is not a row (a JSON object with an iteration)")
    return dict(row)
