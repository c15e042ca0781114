"""The configuration as a file, ``config.yaml`` of a run or the user's own: one field a line, by its name."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metarl.core.errors import RequestError
from metarl.run import yamlfile
from metarl.run.config import DEFAULTS, TrainConfig, recorded


def check_names(values: Mapping[str, Any], source: str) -> None:
    """Every key is the name of a field.

    Raises:
        RequestError: naming ``source``, the first key that is none, and what comes close or else is allowed.
    """
    for key in values:
        if key not in DEFAULTS:
            close = difflib.get_close_matches(str(key).replace("-", "_"), DEFAULTS, cutoff=0.7)
            hint = f"did you mean {' or '.join(close)}?" if close else f"allowed: {', '.join(DEFAULTS)}"
            raise RequestError(f"unknown option {key!r} in {source}; {hint}")


def to_yaml(config: TrainConfig) -> str:
    """The configuration as YAML, one field a line, without ``trust``, which no file can give."""
    values = recorded(config).items()
    return yamlfile.dump({name: list(v) if isinstance(v, tuple) else v for name, v in values})


def from_yaml(path: str | Path) -> dict[str, Any]:
    """The values a YAML file gives, by field name and not yet checked; ``null`` and ``trust`` are left out.

    Raises:
        RequestError: for a file that cannot be read or is no mapping of known names to values.
    """
    values = yamlfile.read_mapping(path)
    check_names(values, str(path))
    return {name: value for name, value in values.items() if value is not None and name != "trust"}
