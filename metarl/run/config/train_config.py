"""The configuration of a run, as a value and as a file: made, it is complete and possible."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from metarl.rollout.family import Family
from metarl.rollout.registry import families, make
from metarl.run.config import resolve
from metarl.run.config.fields import check_names
from metarl.run.config.train_fields import DEFAULTS, FIELDS, TrainFields
from metarl.run.store import yaml_values as yamlfile

FAMILY = ("family", "spec", "family_arg")  # the fields that say how the task family is made


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainConfig(TrainFields):
    """Everything that decides a training run. A field that is left out, or ``None``, takes its default: the
    family's, else the algorithm's, else its own. Every attribute is the value that training uses.

    ``metarl train --help`` prints every field with its unit and default. ``algorithm`` and ``family`` must be
    given.

    Raises:
        RequestError: an impossible value, or values that make no sense together; one line naming the field,
            what was given and what is allowed.
    """

    def __post_init__(self) -> None:
        self._resolve(as_dict(self))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Return the configuration of values by field name, which may still be text, as in a file.

        Raises:
            RequestError: as for any configuration, or a name that is no field's.
        """
        config = object.__new__(cls)
        config._resolve(values)
        return config

    def replace(self, **changes: Any) -> "TrainConfig":
        """Return a configuration with ``changes``, checked as a new one; other fields keep their values.

        It shares this one's ``task_family``, unless a field that says how that is made changes.

        Raises:
            RequestError: as for any configuration, or a name that is no field's.
        """
        values, config = as_dict(self) | changes, object.__new__(TrainConfig)
        if repr([values[name] for name in FAMILY]) == repr([getattr(self, name) for name in FAMILY]):
            vars(config)["task_family"] = self.task_family
        config._resolve(values)
        return config

    def _resolve(self, values: Mapping[str, Any]) -> None:
        check_names(values, FIELDS, "the configuration")
        asked = {name: value for name, value in values.items() if value is not None}
        vars(self).update(resolve.layered(asked))
        vars(self).update(resolve.settled(self.task_family, as_dict(self), asked))

    @cached_property
    def task_family(self) -> Family:
        """The task family, constructed once."""
        return make(self.family, self.spec, **self.family_arg)

    def __repr__(self) -> str:
        """Show algorithm and family, and what differs from their defaults."""
        pair = {"algorithm": self.algorithm, "family": self.family}
        usual = resolve.filled(self.task_family, resolve.layered(pair), pair)
        usual |= {"spec": next(iter(getattr(families[self.family], "specs", ())), None)}
        values = {name: value for name, value in as_dict(self).items() if value != usual[name]}
        return f"TrainConfig({', '.join(f'{name}={value!r}' for name, value in (pair | values).items())})"


def as_dict(config: TrainConfig) -> dict[str, Any]:
    """Return the fields by name, those that are ``None`` included; values are not copied."""
    return {name: getattr(config, name) for name in FIELDS}


def recorded(config: TrainConfig) -> dict[str, Any]:
    """Return the fields that files and mirrors keep: all but ``trust``, the word of whoever types it."""
    return {name: value for name, value in as_dict(config).items() if name != "trust"}


def default_path(config: TrainConfig, method: str | None = None) -> Path:
    """Return where a run goes that was given no directory; ``method`` is its algorithm or says what it is."""
    family = config.family.replace(":", ".")
    return Path("runs") / f"{family}-{config.spec}-{method or config.algorithm}-seed{config.seed}"


def to_yaml(config: TrainConfig) -> str:
    """Return the configuration as YAML, one field a line, without ``trust``, which no file can give."""
    values = recorded(config).items()
    return yamlfile.dump({name: list(v) if isinstance(v, tuple) else v for name, v in values})


def from_yaml(path: str | Path) -> dict[str, Any]:
    """Return the values of a YAML file by field name, not yet checked, without ``null`` and ``trust``.

    Raises:
        RequestError: for a file that cannot be read or is no mapping of known names to values.
    """
    values = yamlfile.read_mapping(path)
    check_names(values, DEFAULTS, str(path))
    return {name: value for name, value in values.items() if value is not None and name != "trust"}
