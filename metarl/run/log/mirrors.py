"""Copies of a run's numbers elsewhere; they may fail without hurting it, ``metrics.jsonl`` is the truth."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from metarl.core.registry import Registry
from metarl.run.log.wandb_mirror import WandbMirror
from metarl.run.store.terminal import warn


@runtime_checkable
class Mirror(Protocol):
    """A copy of a run's numbers. What a method raises costs one warning and no more than the copy.

    The registered factory is called with those options of the configuration that begin with the mirror's name
    and that its signature names without it: ``wandb_project`` is the ``project`` of ``wandb``.
    """

    def start(self, config: Mapping[str, Any], run_dir: Path) -> None:
        """Open it for a run, or again for a resumed one."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Take one row of metrics.jsonl."""

    def evaluation(self, evaluation: Mapping[str, Any]) -> None:
        """Take what evaluation.json holds."""

    def finish(self) -> None:
        """Hand over what is left and close."""


loggers: Registry[Callable[..., Mirror], None] = Registry("logger", "metarl.loggers", no_facts=None)
loggers.register("wandb")(WandbMirror)


class Guarded:
    """A mirror of which nothing is asked any more once a method has raised; that costs one warning."""

    def __init__(self, name: str, mirror: Mirror) -> None:
        self.failed = False
        self._name, self._mirror = name, mirror

    def start(self, config: Mapping[str, Any], run_dir: Path) -> None:
        """See ``Mirror``."""
        self._call("start", config, run_dir)

    def row(self, row: Mapping[str, Any]) -> None:
        """See ``Mirror``."""
        self._call("row", row)

    def evaluation(self, evaluation: Mapping[str, Any]) -> None:
        """See ``Mirror``."""
        self._call("evaluation", evaluation)

    def finish(self) -> None:
        """See ``Mirror``."""
        self._call("finish")

    def _call(self, method: str, *args: Any) -> None:
        if self.failed:
            return
        try:
            getattr(self._mirror, method)(*args)
        except Exception as error:  # noqa: BLE001  whatever happens in there is not worth the run
            self.failed = True
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            warn(f"{self._name}: {line.rstrip('.')}; no longer mirrored; metrics.jsonl has every row")


def open_mirrors(
    names: Sequence[str], options: Mapping[str, Any], run_dir: Path, stack: ExitStack
) -> list[Guarded]:
    """Return the mirrors of these names, which finish with ``stack``.

    Args:
        options: the configuration by name, which mirrors keep, and of which each takes its own settings.
    """
    mirrors = []
    for name in names:
        mirror = Guarded(name, _made(name, options))
        mirror.start(options, run_dir)
        stack.callback(mirror.finish)
        mirrors.append(mirror)
    return mirrors


def _made(name: str, options: Mapping[str, Any]) -> Mirror:
    make_mirror = loggers[name]
    settings = [
        setting for setting in inspect.signature(make_mirror).parameters if f"{name}_{setting}" in options
    ]
    return make_mirror(**{setting: options[f"{name}_{setting}"] for setting in settings})
