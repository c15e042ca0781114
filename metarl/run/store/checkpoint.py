"""Checkpoints: a folder an iteration, which is either whole and proven by its sums, or refused.

``checkpoints/000100/`` holds ``state.safetensors`` and ``manifest.json``; nothing else is ever written or
read, and neither can carry code. A folder is written under another name, synced, then renamed, so a process
that is killed at any moment leaves the earlier checkpoints as they were. One process writes, any number read.
"""

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from metarl.core.errors import RequestError
from metarl.run.store.files import read_limited, sync_folder, to_json, write_synced
from metarl.run.store.terminal import warn

FORMAT = 1
STATE, MANIFEST = "state.safetensors", "manifest.json"
MANIFEST_LIMIT = 1 << 26  # bytes; a manifest is a few kilobytes
WHOLE = re.compile(r"(\d{6,})(\.old)?")  # .old: set aside while the same iteration is being replaced
LEFTOVER = re.compile(r"\d{6,}\.(tmp-.+|old)")


class DamagedCheckpoint(RequestError):
    """A file of a checkpoint is missing, cut short or altered; the message names the file and the problem."""


class Checkpoint(NamedTuple):
    """State after ``iteration`` finished iterations: tensors on the CPU, and what JSON can hold."""

    iteration: int
    tensors: dict[str, Tensor]
    extra: dict[str, Any]


def save(directory: Path, iteration: int, tensors: dict[str, Tensor], extra: dict[str, Any]) -> Path:
    """Write checkpoint ``iteration`` into ``directory`` and return its folder; an old one is replaced safely.

    Args:
        tensors: any shapes, devices and strides; copied. Whatever must come back bit for bit belongs here.
        extra: what JSON can hold; tuples come back as lists, floats that are not finite as None.
            ``extra["validation"]``, numbers of which more is better, decides which checkpoint is the best:
            the first one, and of equals the next.
    """
    folder = directory / f"{iteration:06d}"
    unfinished = _doomed(folder)
    directory.mkdir(exist_ok=True)  # not its parents: a run that was removed does not come back as a husk
    unfinished.mkdir()
    try:
        # safetensors refuses strides and shared storage.
        copies = {
            name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)
            for name, tensor in tensors.items()
        }
        state = safetensors.torch.save(copies)
        manifest: dict[str, Any] = {"format": FORMAT, "iteration": iteration, "extra": extra}
        manifest["tensors"] = list(tensors)
        manifest["files"] = {STATE: {"size": len(state), "sha256": hashlib.sha256(state).hexdigest()}}
        manifest["sha256"] = _manifest_sum(manifest)
        write_synced(unfinished / STATE, state)
        write_synced(unfinished / MANIFEST, to_json(manifest, indent=1).encode())
        sync_folder(unfinished)
        aside = folder.with_name(f"{folder.name}.old")  # one folder cannot replace another
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)
            folder.replace(aside)
        unfinished.replace(folder)
        sync_folder(directory)
        shutil.rmtree(aside, ignore_errors=True)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder


def load(folder: Path) -> Checkpoint:
    """Read a checkpoint and prove it whole.

    Raises:
        DamagedCheckpoint: a file is missing, cut short or altered, be it by one bit.
        RequestError: a newer metarl wrote it.
    """
    manifest, path = read_manifest(folder), folder / STATE
    stated = manifest["files"][STATE]
    state = _read(path, stated["size"])
    if hashlib.sha256(state).hexdigest() != stated["sha256"]:
        raise DamagedCheckpoint(f"{path}: is damaged: its SHA-256 sum is not the one in its manifest")
    try:
        loaded = safetensors.torch.load(state)
        tensors = {name: loaded[name] for name in manifest["tensors"]}  # the file does not keep the order
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DamagedCheckpoint(f"{path}: is damaged: not a safetensors file ({_line(error)})") from error
    return Checkpoint(manifest["iteration"], tensors, manifest["extra"])


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the checked manifest of a checkpoint, without its tensors; raises as :func:`load` does."""
    path = folder / MANIFEST
    content = _read(path, MANIFEST_LIMIT)
    try:
        manifest: dict[str, Any] = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedCheckpoint(f"{path}: is damaged: not JSON ({_line(error)})") from error
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if type(version) is not int or version < FORMAT:
        raise DamagedCheckpoint(f"{path}: is damaged: no checkpoint format in it")
    if version > FORMAT:
        raise RequestError(
            f"{path}: has checkpoint format {version}; this metarl reads up to {FORMAT}: use a newer one"
        )
    if manifest.get("sha256") != _manifest_sum(manifest):
        raise DamagedCheckpoint(f"{path}: is damaged: its SHA-256 sum is not the one it states")
    try:
        stated = manifest["files"][STATE]
        entries = manifest["iteration"], stated["size"], stated["sha256"], manifest["extra"]
        kinds = [type(entry) for entry in (*entries, manifest["tensors"])]
    except (KeyError, TypeError):
        kinds = []
    if kinds != [int, int, str, dict, list]:
        raise DamagedCheckpoint(f"{path}: is damaged: an entry is missing or of the wrong kind")
    if folder.name.isdigit() and int(folder.name) != manifest["iteration"]:
        raise DamagedCheckpoint(f"{path}: is not of this folder: it says iteration {manifest['iteration']}")
    return manifest


def available(directory: Path) -> list[int]:
    """Return the iterations with a checkpoint (whole or damaged), rising; none without the directory."""
    return sorted(_folders(directory))


def find(directory: Path, which: str | int = "last") -> Path:
    """Return the folder of a checkpoint: ``best``, ``last`` or an iteration.

    ``best`` has the highest ``extra["validation"]`` (one number, or several of which the first decides, and
    so on), the earliest of equals; it is the last one where no checkpoint has any.
    """
    # Twice, since a listing may miss both what is being put there and what is being removed.
    folders = _folders(directory) or _folders(directory)
    if not folders:
        raise RequestError(f"no checkpoint in {directory}")
    if which in ("best", "last"):
        best = _best(_validations(folders)) if which == "best" else None
        return folders[max(folders) if best is None else best]
    if not str(which).isdecimal() or int(which) not in folders:
        allowed = ", ".join(map(str, sorted(folders)))
        raise RequestError(f"no checkpoint {which!r} in {directory}; allowed: best, last, {allowed}")
    return folders[int(which)]


def load_found(directory: Path, which: str | int = "last") -> Checkpoint:
    """``load`` what ``find`` returns, also while another process trains on and removes it meanwhile."""
    while True:
        folder = find(directory, which)
        try:
            return load(folder)
        except DamagedCheckpoint as error:
            if folder.exists():
                others = [str(n) for n, other in sorted(_folders(directory).items()) if other != folder]
                where = f"other checkpoints: {', '.join(others) or 'none'}"
                raise DamagedCheckpoint(f"{error}; {where}") from error


def latest_intact(directory: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest whole checkpoint, for the process that writes the run; None: start anew.

    A damaged one costs one warning and gets another name (``000110.damaged``), so that the run, which comes
    past its iteration again, neither counts it nor keeps it instead of a whole one.

    Raises:
        RequestError: a newer metarl wrote the newest one (going back would lose its iterations).
    """
    folders = _folders(directory)
    for iteration in sorted(folders, reverse=True):
        folder = folders.pop(iteration)
        try:
            return load(folder)
        except DamagedCheckpoint as error:
            warn(f"{error}; going back to {f'checkpoint {max(folders)}' if folders else 'iteration 0'}")
            aside = directory / f"{iteration:06d}.damaged"
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
    return None


def prune(directory: Path, keep: int, every: int = 1) -> None:
    """Remove leftovers and checkpoints but the newest ``keep``, the best, and the best multiple of ``every``.

    The last iteration is validated whatever its number, and forgets it where the run is trained for longer:
    then the best is what it would have been in one go.
    """
    if keep < 1:
        raise RequestError(f"checkpoints to keep must be at least 1, not {keep}")
    clean(directory)
    folders = _folders(directory)
    values = _validations(folders)
    regular = {iteration: value for iteration, value in values.items() if iteration % every == 0}
    spared = {*sorted(folders)[-keep:], _best(values), _best(regular)}
    for folder in (folder for iteration, folder in folders.items() if iteration not in spared):
        # Renamed first: killed half-way, it is a leftover and not a damaged checkpoint.
        shutil.rmtree(folder.replace(_doomed(folder)))


def clean(directory: Path) -> None:
    """Remove what killed processes left behind; only the process that writes the run may call this."""
    for iteration, folder in _folders(directory).items():
        folder.rename(directory / f"{iteration:06d}")  # set aside, and the replacement did not arrive
    for folder in directory.glob("*"):
        if LEFTOVER.fullmatch(folder.name):
            shutil.rmtree(folder)


def _doomed(folder: Path) -> Path:
    """Return another name of a folder, under which the next ``clean`` removes it."""
    return folder.with_name(f"{folder.name}.tmp-{secrets.token_hex(4)}")


def _best(values: dict[int, list[float]]) -> int | None:
    return max(values, key=lambda iteration: values[iteration]) if values else None  # the first of equals


def _validations(folders: dict[int, Path]) -> dict[int, list[float]]:
    """Return the numbers of each validated iteration, rising."""
    values: dict[int, list[float]] = {}
    for iteration, folder in sorted(folders.items()):
        try:
            value = read_manifest(folder)["extra"].get("validation")
        except RequestError as error:
            if folder.exists():  # else it is not the best any more, or the process that trains keeps fewer
                warn(f"{error}; it is passed over in the choice of the best")
            continue
        numbers = value if isinstance(value, list) else [value]  # one number, in older checkpoints
        if numbers and all(isinstance(number, (int, float)) for number in numbers):
            values[iteration] = numbers
    return values


def _folders(directory: Path) -> dict[int, Path]:
    """Return the folder of each iteration; one set aside counts where its replacement did not arrive."""
    folders: dict[int, Path] = {}
    for folder in directory.glob("*"):
        match = WHOLE.fullmatch(folder.name)
        if match and folder.is_dir() and (match[2] is None or int(match[1]) not in folders):
            folders[int(match[1])] = folder
    return folders


def _manifest_sum(manifest: dict[str, Any]) -> str:
    """SHA-256 over the other entries in canonical JSON, the same in every format version."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(to_json(rest, sort_keys=True).encode()).hexdigest()


def _read(path: Path, limit: int) -> bytes:
    try:
        content = read_limited(path, limit) if path.is_file() else None
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DamagedCheckpoint(f"{path}: is damaged: {error}") from error
    if content is None:
        raise DamagedCheckpoint(f"{path}: is missing")
    return content


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
