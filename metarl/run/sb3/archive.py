"""Weights out of a Stable-Baselines3 zip, without running anything that stands in it.

``PPO.load`` unpickles parts of the entry ``data``, which runs whatever code its author put there. Here only
two entries are read: ``policy.pth``, by torch's reader of plain tensors, and the texts that stand beside the
pickles in ``data``, which is JSON.
"""

import io
import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from metarl.core.errors import RequestError
from metarl.core.params import Params
from metarl.run.admission import ASK

POLICY, DATA = "policy.pth", "data"
LIMIT = 1 << 30  # bytes of an entry once unpacked; a policy has a few megabytes at most


def is_archive(path: Path) -> bool:
    """Whether a file is a zip, as Stable-Baselines3's models are."""
    return zipfile.is_zipfile(path)


def read_archive(path: Path, trusted: bool) -> tuple[Params, str]:
    """The state of a policy, by Stable-Baselines3's names, and its activation ("tanh", "relu", …).

    Raises:
        RequestError: it is not trusted; no such model in it, one with gSDE, or one with more than tensors.
    """
    if not trusted:
        raise RequestError(
            f"init-from file {path} is a zip of Stable-Baselines3, and such files name code, which "
            f"Stable-Baselines3 runs; {ASK}"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            data: Any = json.loads(_entry(archive, DATA))
            weights = io.BytesIO(_entry(archive, POLICY))
            with zipfile.ZipFile(weights) as tensors:  # as torch writes them
                _check_size(POLICY, sum(info.file_size for info in tensors.infolist()))
            weights.seek(0)
            state = torch.load(weights, map_location="cpu", weights_only=True)
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, RuntimeError) as error:
        raise RequestError(
            f"init-from file {path} is no model of Stable-Baselines3: {_line(error)}"
        ) from error
    except pickle.UnpicklingError as error:
        raise RequestError(
            f"init-from file {path}: {POLICY} holds more than tensors; it was not run"
        ) from error
    if not isinstance(data, dict) or not _is_state(state):
        raise RequestError(f"init-from file {path} is no model of Stable-Baselines3: no weights of a policy")
    if data.get("use_sde"):
        raise RequestError(f"init-from file {path} explores by gSDE, the network by independent normals")
    return dict(state), _activation(data)


def _activation(data: dict[str, Any]) -> str:
    """That of ``policy_kwargs``, whose classes are written as text beside their pickles."""
    kwargs = data.get("policy_kwargs")
    told = kwargs.get("activation_fn") if isinstance(kwargs, dict) else None
    name = re.search(r"(\w+)'>$", str(told))
    return "tanh" if told is None else name[1].lower() if name else str(told)


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    _check_size(name, archive.getinfo(name).file_size)
    return archive.read(name)


def _check_size(name: str, size: int) -> None:
    if size > LIMIT:
        raise ValueError(f"{name} is larger than {LIMIT} bytes")


def _is_state(state: Any) -> bool:
    return isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(x, torch.Tensor) for name, x in state.items()
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
