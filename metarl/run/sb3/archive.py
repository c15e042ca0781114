"""Weights out of a Stable-Baselines3 zip, without running anything that stands in it.

``PPO.load`` unpickles parts of the entry ``data``, which runs whatever code its author put there. Here only
two entries are read, and nothing is unpacked: ``policy.pth``, by torch's reader of plain tensors, and the
texts that stand beside the pickles in ``data``, which is JSON.
"""

import io
import json
import pickle
import re
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from gymnasium import Space
from torch import Tensor

from metarl.core.errors import RequestError
from metarl.core.params import Params

POLICY, DATA = "policy.pth", "data"
MEMBERS = re.compile(r"data|_stable_baselines3_version|system_info\.txt|\w+(\.\w+)*\.pth")
LIMIT = 1 << 28  # bytes of an entry once unpacked; a policy has a few million at most
HIDDEN, ACTIONS = re.compile(r"mlp_extractor\.policy_net\.(\d{1,4})\.weight"), "action_net.weight"
SIZES = {"Discrete": "n", "MultiDiscrete": "nvec", "MultiBinary": "n"}  # of kinds of actions


class Architecture(NamedTuple):
    """The properties that two policies of the same weights share.

    Attributes:
        widths: numbers that each layer reads, and those that the last one gives.
        activation: "tanh", "relu", …
        actions: their space's kind and, of choices, among how many: ``Box``, ``MultiDiscrete([3 4])``.
        bounds: of a Box, as text; they may differ.
    """

    widths: tuple[int, ...]
    activation: str
    actions: str
    bounds: str = ""

    def __str__(self) -> str:
        between = f" with {self.activation}" if len(self.widths) > 2 else ""
        return f"layers {'-'.join(map(str, self.widths))}{between} for actions in {self.actions}"


def architecture(weights: Sequence[Tensor], activation: str, actions: Space[Any]) -> Architecture:
    """Return that of a policy with these matrices, from the observations' to the actions'."""
    return _architecture(weights, activation, type(actions).__name__, vars(actions))


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip, as Stable-Baselines3's models are."""
    return zipfile.is_zipfile(path)


def read_archive(path: Path) -> tuple[Params, Architecture]:
    """Return the state of a policy, by Stable-Baselines3's names, and its architecture; nothing of it is run.

    Raises:
        RequestError: entries that no model has; no such model in it, another algorithm's,
            one with gSDE, or one with more than tensors.
    """
    no_model = f"init-from file {path} is no model of Stable-Baselines3"
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive)
            data: Any = json.loads(archive.read(DATA))
            weights = io.BytesIO(archive.read(POLICY))
        with zipfile.ZipFile(weights) as inner:  # what torch saved is a zip, whose entries may be packed
            if sum(entry.file_size for entry in inner.infolist()) > LIMIT:
                raise ValueError(f"{POLICY} is larger than {LIMIT} bytes")
        weights.seek(0)
        state: Any = torch.load(weights, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RequestError(
            f"init-from file {path}: {POLICY} holds more than tensors; it was not run"
        ) from error
    except Exception as error:  # whatever a stranger's bytes make the readers raise
        raise RequestError(f"{no_model}: {_line(error)}") from error
    if not isinstance(data, dict) or not _is_state(state):
        raise RequestError(f"{no_model}: no weights of a policy")
    if ACTIONS not in state:
        first = next(iter(state), "nothing")
        raise RequestError(f"init-from file {path} has {first} and no {ACTIONS}; allowed: PPO and A2C")
    if data.get("use_sde"):
        raise RequestError(f"init-from file {path} explores by gSDE, the network by independent normals")
    layers = {int(match[1]): x for name, x in state.items() if (match := HIDDEN.fullmatch(name))}
    matrices = [*(layers[i] for i in sorted(layers)), state[ACTIONS]]
    kwargs, actions = (
        x if isinstance(x := data.get(key), dict) else {} for key in ("policy_kwargs", "action_space")
    )  # of which only the texts beside the pickles of classes are read
    activation = _class(kwargs.get("activation_fn", "<class 'Tanh'>")).lower()
    return dict(state), _architecture(matrices, activation, _class(actions.get(":type:")), actions)


def _check_members(archive: zipfile.ZipFile) -> None:
    """Refuse all but what ``save`` puts into a model, each once: no path and no link."""
    seen: set[str] = set()
    for entry in archive.infolist():
        name = entry.filename
        if not MEMBERS.fullmatch(name) or name in seen or stat.S_ISLNK(entry.external_attr >> 16):
            raise ValueError(f"its entry {name[:80]!r} is none of a model's")
        if entry.file_size > LIMIT:
            raise ValueError(f"{name} is larger than {LIMIT} bytes")
        seen.add(name)


def _is_state(state: Any) -> bool:
    return isinstance(state, dict) and all(
        isinstance(name, str)
        and isinstance(x, Tensor)
        and x.layout == torch.strided
        and x.device.type == "cpu"  # "meta" ones have no numbers, wherever they are mapped to
        and x.is_floating_point()
        and x.ndim
        and x.is_contiguous()  # not one number that is said to be many
        for name, x in state.items()
    )


def _architecture(
    weights: Sequence[Tensor], activation: str, kind: str, space: Mapping[str, Any]
) -> Architecture:
    widths = (weights[0].shape[-1], *(len(x) for x in weights))
    if kind in SIZES:
        return Architecture(widths, activation, f"{kind}({_line(space.get(SIZES[kind]))})")
    return Architecture(widths, activation, kind, f"{_line(space.get('low'))} to {_line(space.get('high'))}")


def _class(text: Any) -> str:
    """Return the name of a class written as ``<class 'torch.nn.modules.activation.ReLU'>``."""
    name = re.search(r"(\w+)'>$", str(text))
    return name[1] if name else _line(text)


def _line(value: Any) -> str:
    return " ".join(str(value).split())[:200]
