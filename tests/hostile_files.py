"""Files that would run code if anything opened them carelessly, and a look at whether something did."""

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import torch

# A module whose import shows; its family and its network are none, which nobody gets as far as noticing.
MODULE = "code_of_a_stranger"
SOURCE = """
from pathlib import Path
Path({ran!r}).touch()
class Thing:
    def __init__(self, *arguments, **more):
        Path({ran!r}).touch()
"""


class Sentinel:
    """Leaves a file behind wherever it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def pickled(ran: Path) -> bytes:
    return pickle.dumps({"algorithm": Sentinel(ran), "x": torch.zeros(2)})


def torch_file(path: Path, ran: Path, zipped: bool = True) -> Path:
    """What ``torch.save`` writes of weights with code among them."""
    torch.save({"log_std": Sentinel(ran)}, path, _use_new_zipfile_serialization=zipped)
    return path


def huge_header(length: int = 10 * 2**30) -> bytes:
    """A safetensors file that says its header is longer than the file, and longer than most memories."""
    return struct.pack("<Q", length) + b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' + bytes(4)


def nested(depth: int = 100_000) -> str:
    """JSON, and YAML, that no parser by recursion gets to the bottom of."""
    return "[" * depth + "]" * depth


def snapshot(folder: Path) -> dict[str, bytes]:
    """Everything that a folder holds, but for the lock, which says who held it last."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def change_config(run: Path, **changes: Any) -> None:
    """Gives a run's configuration other values; JSON is YAML."""
    path = run / "config.yaml"
    kept = [line for line in path.read_text().splitlines() if line.partition(":")[0] not in changes]
    path.write_text("\n".join([*kept, *(f"{name}: {json.dumps(value)}" for name, value in changes.items())]))
