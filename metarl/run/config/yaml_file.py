"""The configuration as a file, ``config.yaml`` of a run or the user's own: one field a line, by its name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metarl.run.config.fields import check_names
from metarl.run.config.train_config import DEFAULTS, TrainConfig, recorded
from metarl.run.store import yaml_values as yamlfile


def layered(yaml: Mapping[str, Any], command_line: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration that a file and the words of a command line ask for; the latter win.

    Args:
        yaml: values by field name (``from_yaml``).
        command_line: likewise; a value may still be text.

    Raises:
        RequestError: an unknown name, or what ``TrainConfig`` refuses.
    """
    return TrainConfig.of({**yaml, **{name: v for name, v in command_line.items() if v is not None}})


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
    check_names(values, DEFAULTS, str(path))
    return {name: value for name, value in values.items() if value is not None and name != "trust"}
