"""The mirror on Weights & Biases."""

import json
import math
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from metarl.run.log.curve import Curve
from metarl.run.store.files import to_json, write_atomic
from metarl.run.store.terminal import warn


class WandbMirror:
    """Mirror on Weights & Biases with its files under ``run_dir/wandb``; silent, and never asks for a key.

    Values are drawn over ``iteration``; the evaluation's adaptation curves are a chart, its numbers are in
    the summary. Without a key or a network the run is kept offline (``wandb sync`` uploads it). A resumed run
    goes on under its old id, and an iteration that it repeats is not logged twice.

    Args:
        project, entity, group: where Weights & Biases puts the run; None is its own default.
        mode: online, offline or disabled; None is what WANDB_MODE says, else online.
        start_timeout, finish_timeout: seconds after which a missing network is no longer waited for.
    """

    def __init__(
        self,
        project: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        mode: str | None = None,
        start_timeout: float = 15.0,
        finish_timeout: float = 60.0,
    ) -> None:
        self._labels = {"project": project, "entity": entity, "group": group}
        self._mode = mode
        self._run: Any = None
        self._start_timeout, self._finish_timeout = start_timeout, finish_timeout

    def start(self, config: Mapping[str, Any], run_dir: Path) -> None:
        """Open it for a run, which is named as its directory."""
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
        labels: dict[str, Any] = self._labels | {"name": run_dir.absolute().name}

        def init(**options: Any) -> Any:
            return wandb.init(
                config=values, dir=run_dir, reinit="create_new", settings=settings, **labels, **options
            )

        folder = Path(run_dir) / "wandb"
        resume = "allow" if (folder / "id").is_file() and self._mode != "offline" else None
        try:
            self._run = init(mode=self._mode, id=_run_id(folder), resume=resume)
        except (wandb.errors.UsageError, wandb.errors.CommError) as error:
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            warn(f"wandb: {line.rstrip('.')}; the run is kept offline in {folder}")
            held = isinstance(error, wandb.errors.CommError)  # the failed start still occupies its id
            self._run = init(mode="offline", id=_run_id(folder, renew=held))
        self._run.define_metric("iteration")
        self._run.define_metric("env_steps")
        self._run.define_metric("*", step_metric="iteration")

    def row(self, row: Mapping[str, Any]) -> None:
        """Log the finite values; a step that the server knows already is left alone by wandb."""
        if self._run is not None:
            with _ended_if_dead():
                self._run.log(_finite(row), step=row["iteration"], commit=True)

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

    def finish(self) -> None:
        """Upload what is left; after ``finish_timeout`` it stays on the disk for ``wandb sync``."""
        run, self._run = self._run, None
        if run is not None:
            with _ended_if_dead():
                run.finish()


@contextmanager
def _ended_if_dead() -> Iterator[None]:
    """End wandb where its own process died: at exit it would print a traceback."""
    try:
        yield
    except ConnectionError:
        import wandb

        with suppress(Exception, SystemExit):
            wandb.teardown()
        raise


def _run_id(folder: Path, renew: bool = False) -> str:
    """Return the id under which wandb knows this run, kept in ``folder`` for the day it is resumed."""
    path = folder / "id"
    if renew or path.is_symlink() or not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, secrets.token_hex(8))
    return path.read_text().strip()


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what metrics.jsonl writes as null: a chart has no place for it."""
    return {key: x for key, x in row.items() if x is not None and (isinstance(x, str) or math.isfinite(x))}
