"""Training: a run directory with a life, from its first iteration to its last."""

import dataclasses
import signal
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch

from metarl.core.errors import EnvironmentFailed, RequestError, RunFailed
from metarl.core.params import Meta
from metarl.core.process import prepare_process
from metarl.run import checkpoint as store
from metarl.run import state
from metarl.run.admission import Trust, command, read_config
from metarl.run.agent import Agent, build_agent
from metarl.run.callbacks import Callback
from metarl.run.config import TrainConfig, as_dict, default_path
from metarl.run.config_file import to_yaml
from metarl.run.experience import Serve
from metarl.run.files import clear_leftovers, resumable, sync_folder, tell, to_json, warn, write_atomic
from metarl.run.iteration import Row, Standing, iterate, validate
from metarl.run.lock import alone_in, check_idle, is_taken
from metarl.run.loggers import JsonlLogger, open_mirrors
from metarl.run.machine import describe_machine
from metarl.run.measures import LOWER_IS_BETTER
from metarl.run.progress import Progress
from metarl.run.signals import GracefulStop, OutOfTime, Stopped
from metarl.run.worlds import world_of
from metarl.run.zoo import check_out, check_trainable, place, source

# Not typing.Self, which the run-time type checker of the tests cannot check.
T = TypeVar("T", bound="Trainer")

FAILURE, MACHINE = "failure.txt", "machine.json"


class Trainer:
    """A configuration, its run directory and how far its training has come.

    Made by ``start``, ``load`` and ``resume``; ``called`` is its directory as it was named, or ``zoo:NAME``.
    """

    def __init__(self, agent: Agent, path: Path) -> None:
        meta = agent.initial_meta()
        world_of(agent.family).probe(agent, meta)
        self.agent, self.called = agent, path
        self.standing = Standing(meta, agent.optimizer().init(meta))

    @classmethod
    def start(cls: type[T], config: TrainConfig, out: str | Path | None = None) -> T:
        """A new run in the directory ``out`` (``default_path``), which must not hold anything yet.

        Raises:
            RequestError: the request cannot be met; nothing has been written.
        """
        path = default_path(config) if out is None else Path(out)
        check_out(path)
        again = f", or go on with: {command('resume', path)}" if (path / "config.yaml").is_file() else ""
        taken = RequestError(f"run directory {path} exists already; give another by --out{again}")
        if is_taken(path):
            check_idle(path)
            raise taken
        prepare_process()
        run = cls(build_agent(config), path)._begun()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(f"run directory {path} cannot be made: {error.strerror}") from error
        sync_folder(path.parent)
        with alone_in(path):
            if is_taken(path):  # by another process, in the meantime
                raise taken
            write_atomic(path / "config.yaml", to_yaml(run.config))
        return run

    @classmethod
    def load(cls: type[T], path: str | Path, checkpoint: str | int = "best", trust: Trust = False) -> T:
        """A run at a checkpoint: ``"best"`` on validation tasks, ``"last"``, or an iteration's number.

        Raises:
            RequestError: no run there, no such checkpoint, a damaged one, or one that names code (``admit``).
        """
        config = read_config(Path(path), trust)
        if config.device == "cuda" and not torch.cuda.is_available():
            warn(f"{path} was trained on a GPU; there is none here, so it is used on the CPU")
            config = dataclasses.replace(config, device="cpu")
        prepare_process()
        run = cls(build_agent(config), Path(path))
        return run._restored(store.load_found(run.checkpoints, checkpoint))

    @classmethod
    def resume(cls: type[T], path: str | Path, trust: Trust = False) -> T:
        """A run at its last intact checkpoint; at iteration 0 where it has none."""
        check_trainable(path)
        prepare_process()
        run = cls(build_agent(read_config(Path(path), trust)), Path(path))
        with alone_in(run.path):
            saved = store.latest_intact(run.checkpoints, warn)
        return run._begun() if saved is None else run._restored(saved)

    def __repr__(self) -> str:
        c = self.config
        return (
            f"<{type(self).__name__} {self.called}: {c.algorithm} on {c.family}, {self.iteration} iterations>"
        )

    @property
    def path(self) -> Path:
        """Where what is made of it goes."""
        return place(self.called)

    @property
    def config(self) -> TrainConfig:
        """Every resolved value."""
        return self.agent.config

    @property
    def meta(self) -> Meta:
        """The meta-parameters."""
        return self.standing.meta

    @property
    def iteration(self) -> int:
        """Finished meta-iterations."""
        return self.standing.iteration

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are."""
        return source(self.called) / "checkpoints"

    @property
    def _again(self) -> str:
        """What one types to go on."""
        return command("resume", self.path, opens=as_dict(self.config))

    def learn(self: T, iterations: int, callbacks: Sequence[Callback] = ()) -> T:
        """Train ``iterations`` more meta-iterations, from where the run stands.

        Raises:
            RequestError: the run stands at an older checkpoint than its last.
            RunFailed: no step was finite ``max_skipped`` times in a row; the last good state is saved.
            Stopped: a signal asked for it; the state is saved.
        """
        check_trainable(self.called)
        with ExitStack() as stack:
            stack.enter_context(resumable(self.path, self._again))
            check_held = stack.enter_context(alone_in(self.path))
            total = self._total(iterations)
            self._prepare_directory()
            c = self.config
            tell(f"metarl: {self.path}: {c.algorithm} on {c.family} ({c.spec}), {self.agent.where}")
            stop = stack.enter_context(GracefulStop(c.grace))
            log = stack.enter_context(JsonlLogger(self.path / "metrics.jsonl"))
            log.truncate_after(self.iteration, c.checkpoint_every)
            sync_folder(self.path)
            mirrors = open_mirrors(c, self.path, stack)
            world = world_of(self.agent.family)
            serve = stack.enter_context(world.open(self.agent))
            progress = stack.enter_context(Progress(total, self.iteration, self.path.absolute().name))
            for callback in callbacks:
                callback.on_training_start(self)
            going = True
            while going and self.iteration < total:
                try:
                    with stop.interruptible():
                        advanced = self._advance(serve, callbacks, total)
                except OutOfTime:
                    check_held()
                    log.sync()
                    self._stop(stop)
                # Not within what may be given up: an iteration that counts has its row.
                check_held()
                self.standing, row, validation = advanced
                due = self.iteration % self.config.checkpoint_every == 0
                # The last iteration is a candidate for the best; its row is that of a run that goes on.
                row |= validation if due else {}
                log.row(row)
                for mirror in mirrors:
                    mirror.row(row)
                progress.update(self.iteration, row)
                answers = [callback.on_step(row) for callback in callbacks]
                going = all(answers)
                failed = self.standing.skipped >= c.max_skipped
                if due or failed or not going or stop.requested is not None or self.iteration == total:
                    log.sync()
                    self._save(validation)
                if stop.requested is not None:
                    self._stop(stop)
                if failed:
                    told = f"{c.max_skipped} steps in a row were not finite"
                    raise RunFailed(f"{told}; the last good state is in {self.path}; smaller steps may help")
            self._save_if_new()  # no iteration was asked for
            for callback in callbacks:
                callback.on_training_end()
        return self

    def _prepare_directory(self) -> None:
        """Without what an earlier process left half-done, or failed of."""
        (self.path / FAILURE).unlink(missing_ok=True)
        for name in ("config.yaml", MACHINE, FAILURE):
            clear_leftovers(self.path / name)
        self.checkpoints.mkdir(exist_ok=True)
        self._prune()
        if not (self.path / MACHINE).is_file():
            machine = describe_machine(self.agent.device, self.agent.chunking.threads)
            write_atomic(self.path / MACHINE, to_json(machine, indent=1))
        if self.iteration == 0 and self.config.init_from:
            self._save_if_new()  # the file it starts from may be gone by the time it is resumed

    def _advance(self, serve: Serve, callbacks: Sequence[Callback], total: int) -> tuple[Standing, Row, Row]:
        """``iterate``, and ``validate`` where it is due and at the end.

        Whatever fails, the last good state is saved and one line says how to go on.
        """
        try:
            standing, row = iterate(self.agent, self.standing, serve, callbacks)
            due = standing.iteration % self.config.checkpoint_every == 0 or standing.iteration == total
            return standing, row, validate(self.agent, standing.meta, serve) if due else {}
        except Exception as error:
            self._save_if_new()
            write_atomic(self.path / FAILURE, traceback.format_exc())
            line = next(iter(str(error).strip().splitlines()), "")[:400]
            kind = "" if isinstance(error, (RunFailed, EnvironmentFailed)) else f"{type(error).__name__}: "
            raise RunFailed(
                f"iteration {self.iteration + 1} failed: {kind}{line} (all of it: "
                f"{self.path / FAILURE}); go on with: {self._again}"
            ) from error

    def _stop(self, stop: GracefulStop) -> NoReturn:
        """What a signal asked for: the last finished iteration is saved, and training ends."""
        self._save_if_new()
        tell(f"metarl: saved iteration {self.iteration}; go on with: {self._again}")
        raise Stopped(stop.requested or signal.SIGTERM)

    def _total(self, iterations: int) -> int:
        """The iteration at which training is to end; the configuration learns of it."""
        if iterations < 0:
            raise RequestError(f"iterations must be at least 0, got {iterations}")
        newer = [n for n in store.available(self.checkpoints) if n > self.iteration]
        if newer:
            raise RequestError(
                f"{self.path} stands at checkpoint {self.iteration} and has been trained to {newer[-1]}; "
                "load its 'last' checkpoint to go on"
            )
        total = self.iteration + iterations
        if iterations and self.iteration and self.iteration % self.config.checkpoint_every:
            self._save({})  # validated as an end, which it no longer is: in one go it would not have been
        if total > self.config.iterations:
            config = dataclasses.replace(self.config, iterations=total)
            self.agent = dataclasses.replace(self.agent, config=config)
            write_atomic(self.path / "config.yaml", to_yaml(config))
        return total

    def _save(self, validation: Row) -> None:
        s = self.standing
        tensors = state.flatten({"meta": s.meta, "optimiser": s.optimizer})
        last = self.config.inner_steps
        score = [
            validation[key] * (-1 if metric in LOWER_IS_BETTER else 1)  # the best checkpoint has the highest
            for metric in self.agent.metrics
            if (key := f"validation/{metric}/step_{last}") in validation
        ]
        decides = (score[0] if len(score) == 1 else score) if score else None
        extra = {"samples": s.samples, "skipped": s.skipped, "validation": decides}
        store.save(self.checkpoints, s.iteration, tensors, extra)
        self._prune()

    def _prune(self) -> None:
        store.prune(self.checkpoints, self.config.keep_checkpoints, self.config.checkpoint_every)

    def _save_if_new(self) -> None:
        """Save an iteration that has no checkpoint yet; one that has may know of a validation."""
        if self.iteration not in store.available(self.checkpoints):
            self._save({})

    def _begun(self: T) -> T:
        """Before training; the weights it starts from are read here, and never again."""
        self.standing = self.standing._replace(meta=self.agent.starting_meta())
        return self

    def _restored(self: T, saved: store.Checkpoint) -> T:
        like = {"meta": self.standing.meta, "optimiser": self.standing.optimizer}
        where = f"checkpoint {saved.iteration} of {self.called}"
        found: Any = state.restore(saved.tensors, like, where)
        for name in ("samples", "skipped"):
            count = saved.extra.get(name)
            if type(count) is not int or count < 0:
                raise RequestError(f"{where} has {name} {count!r}; allowed: whole numbers from 0")
        samples, skipped = saved.extra["samples"], saved.extra["skipped"]
        self.standing = Standing(found["meta"], found["optimiser"], saved.iteration, samples, skipped)
        return self
