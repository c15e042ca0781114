"""What the bits of a run depend on besides its configuration."""

import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch


def describe_machine(device: torch.device, threads: int) -> dict[str, Any]:
    """Processor, versions and threads, as ``machine.json`` records them."""
    return {
        "processor": _processor(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": threads,
    }


def _processor() -> str:
    """The processor's model, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
