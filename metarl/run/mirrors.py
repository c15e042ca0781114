"""Copies of a run's numbers elsewhere; they may fail without hurting it, ``metrics.jsonl`` is the truth."""

import functools
import json
import math
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from metarl.run.curve import Curve
from metarl.run.files import to_json, warn, write_atomic


@runtime_checkable
class Mirror(Protocol):
    """No method raises: the first failure costs one warning and no more than the copy."""

    def start(
        self,
        config: Mapping[str, Any],
        run_dir: Path,
        project: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        mode: str | None = None,
        name: str | None = None,
    ) -> None:
        """Open it for a run, or again for a resumed one."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Take one row of metrics.jsonl."""

    def evaluation(self, evaluation: Mapping[str, Any]) -> None:
        """Take what evaluation.json holds."""

    def finish(self) -> None:
        """Hand over what is left and close."""


Method = TypeVar("Method", bound=Callable[..., None])


def guarded(method: Method) -> Method:
    """For a mirror's methods: once ``self.failed``, nothing; what is raised goes to ``self.fail(error)``."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> None:
        if not self.failed:
            try:
                method(self, *args, **kwargs)
            except Exception as error:  # noqa: BLE001  whatever happens in there is not worth the run
                self.fail(error)

    return cast(Method, call)


class WandbLogger:
    """Mirror on Weights & Biases with its files under ``run_dir/wandb``; silent, and never asks for a key.

    Values are drawn over ``iteration``; the evaluation's adaptation curves are a chart, its numbers are in
    the summary. Without a key or a network the run is kept offline (``wandb sync`` uploads it). A resumed run
    goes on under its old id, and an iteration that it repeats is not logged twice.

    Args:
        start_timeout, finish_timeout: seconds after which a missing network is no longer waited for.
    """

    def __init__(self, start_timeout: float = 15.0, finish_timeout: float = 60.0) -> None:
        self.failed = False
        self._warned = False
        self._run: Any = None
        self._start_timeout, self._finish_timeout = start_timeout, finish_timeout

    @guarded
    def start(
        self,
        config: Mapping[str, Any],
        run_dir: Path,
        project: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        mode: str | None = None,
        name: str | None = None,
    ) -> None:
        """``mode``: online, offline or disabled; None is what WANDB_MODE says, else online."""
        import wandb  # takes half a second, hence only where it is wanted

        settings = wandb.Settings(
            silent=True,  # which includes that it asks for nothing
            quiet=True,
            console="off",
            init_timeout=self._start_timeout,
            finish_timeout=self._finish_timeout,
            finish_timeout_raises=True,
        )
        wandb.setup(settings=settings)  # or the first lines would be printed before init has read them
        values = json.loads(to_json(dict(config)))
        labels: dict[str, Any] = {"project": project, "entity": entity, "group": group, "name": name}

        def init(**options: Any) -> Any:
            return wandb.init(
                config=values, dir=run_dir, reinit="create_new", settings=settings, **labels, **options
            )

        folder = Path(run_dir) / "wandb"
        resume = "allow" if (folder / "id").is_file() and mode != "offline" else None
        try:
            self._run = init(mode=mode, id=_run_id(folder), resume=resume)
        except (wandb.errors.UsageError, wandb.errors.CommError) as error:
            self._warn(error, f"the run is kept offline in {folder}")
            held = isinstance(error, wandb.errors.CommError)  # the failed start still occupies its id
            self._run = init(mode="offline", id=_run_id(folder, renew=held))
        self._run.define_metric("iteration")
        self._run.define_metric("env_steps")
        self._run.define_metric("*", step_metric="iteration")

    @guarded
    def row(self, row: Mapping[str, Any]) -> None:
        """Log the finite values; a step that the server knows already is left alone by wandb."""
        if self._run is not None:
            self._run.log(_finite(row), step=row["iteration"], commit=True)

    @guarded
    def evaluation(self, evaluation: Mapping[str, Any]) -> None:
        """Chart the adaptation curve of each agent; numbers go to the summary as ``evaluation/...``."""
        if self._run is None:
            return
        import wandb

        metric, agents = evaluation["metric"], evaluation["agents"]
        summary = {f"evaluation/{key}": value for key, value in evaluation.get("metrics", {}).items()}
        for agent, result in agents.items():
            summary |= Curve(metric, result["mean"], f"evaluation/{agent}").to_row()
        self._run.summary.update(_finite(summary))
        chart = wandb.plot.line_series(
            xs=[list(range(len(result["mean"]))) for result in agents.values()],
            ys=[list(result["mean"]) for result in agents.values()],
            keys=list(agents),
            title=f"{metric} after each inner step",
            xname="inner step",
        )
        self._run.log({"evaluation/adaptation": chart})

    @guarded
    def finish(self) -> None:
        """Upload what is left; after ``finish_timeout`` it stays on the disk for ``wandb sync``."""
        run, self._run = self._run, None
        if run is not None:
            run.finish()

    def fail(self, error: Exception) -> None:
        """Give the mirror up; the run does not notice."""
        self.failed, self._run = True, None
        self._warn(error, "no longer mirrored; metrics.jsonl has every row")
        if isinstance(error, ConnectionError):  # wandb's own process died; at exit it would print a traceback
            import wandb

            with suppress(Exception, SystemExit):
                wandb.teardown()

    def _warn(self, error: Exception, consequence: str) -> None:
        if not self._warned:
            self._warned = True
            lines = str(error).strip().splitlines() or [type(error).__name__]
            warn(f"wandb: {lines[0].rstrip('.')}; {consequence}")


def _run_id(folder: Path, renew: bool = False) -> str:
    """The id under which wandb knows this run, kept in ``folder`` for the day it is resumed."""
    path = folder / "id"
    if renew or path.is_symlink() or not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, secrets.token_hex(8))
    return path.read_text().strip()


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Without what metrics.jsonl writes as null: a chart has no place for it."""
    return {
        key: value
        for key, value in row.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }
