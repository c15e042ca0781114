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
    """A mirror that is left alone once a method of it has raised; that costs one warning."""

    def __init__(self, name: str, mirror: Mirror) -> None:
        self.failed = False
        self._name, self._mirror = name, mirror

    def start(self, config: Mapping[str, Any], run_dir: Path) -> None:
        self._call("start", config, run_dir)

    def row(self, row: Mapping[str, Any]) -> None:
        self._call("row", row)

    def evaluation(self, evaluation: Mapping[str, Any]) -> None:
        self._call("evaluation", evaluation)

    def finish(self) -> None:
        self._call("finish")

    def _call(self, method: str, *args: Any) -> None:
        if self.failed:
            return
        try:
            getattr(self._mirror, method)(*args)
        except Exception as error:  # noqa: BLE001  no failure in there is worth the run
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
        parameters = inspect.signature(loggers[name]).parameters
        settings = {key: options[f"{name}_{key}"] for key in parameters if f"{name}_{key}" in options}
        mirror = Guarded(name, loggers[name](**settings))
        mirror.start(options, run_dir)
        stack.callback(mirror.finish)
        mirrors.append(mirror)
    return mirrors
