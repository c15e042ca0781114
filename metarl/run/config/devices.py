"""The device that a run computes on, the executor that collects, and the cores."""

import os
from typing import TYPE_CHECKING

from metarl.core.errors import RequestError
from metarl.rollout.family import Family, is_supervised

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> "tuple[torch.device, str]":
    """Return the device to run on, and in a few words why.

    Args:
        name: ``auto`` (the GPU if there is one), ``cpu`` or ``cuda``.

    Raises:
        RequestError: for ``cuda`` where there is none; it is never replaced silently.
    """
    import torch

    if name == "cpu":
        return torch.device("cpu"), "asked for"
    if torch.cuda.is_available():
        why = "asked for" if name == "cuda" else "auto"
        return torch.device("cuda"), f"{why}: {torch.cuda.get_device_name()}"
    if name == "cuda":
        why = (
            "this PyTorch is built without CUDA"
            if torch.version.cuda is None
            else "PyTorch finds no CUDA device"
        )
        raise RequestError(f"device 'cuda' is not available ({why}); allowed here: auto, cpu")
    return torch.device("cpu"), "auto: no CUDA device"


def choose_executor(name: str, workers: int, family: Family) -> tuple[str, str]:
    """Return the executor that is to collect episodes, and in a few words why.

    Args:
        name: ``auto`` (processes for environments that are stepped in Python), or an executor's name.
        workers: how many processes there may be.
    """
    if name != "auto":
        return name, "asked for"
    if is_supervised(family):
        return "inline", "auto: labelled examples"
    if getattr(family, "stepped", "native") == "native":
        return "inline", "auto: all rows step together"
    if workers == 1:
        return "inline", "auto: one core"
    return "processes", "auto: environments stepped in Python"


def usable_cores() -> int:
    """Return the number of cores this process may run on, which a container or a scheduler may limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
