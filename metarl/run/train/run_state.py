"""A run as it stands: its agent, its directory, and how far its training has come."""

import itertools
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from metarl.core.errors import RequestError
from metarl.core.params import Meta
from metarl.core.process import prepare_process
from metarl.rollout import seeding
from metarl.run.agent.agent import Agent, build_agent
from metarl.run.agent.probe import probe
from metarl.run.config.admission import Trust, command, read_config
from metarl.run.config.train_config import TrainConfig, default_path, to_yaml
from metarl.run.store import checkpoint as store
from metarl.run.store import tensors as state
from metarl.run.store.files import sync_folder, write_atomic
from metarl.run.store.lock import alone_in, check_idle, is_taken
from metarl.run.store.terminal import warn
from metarl.run.train.initial_weights import with_initial_weights
from metarl.run.train.iteration import Standing

# Not typing.Self, which the run-time type checker of the tests cannot check.
T = TypeVar("T", bound="RunState")


class RunState:
    """An agent with the meta-parameters that training has given it so far.

    Attributes:
        path: its directory.
        standing: all that changes in training.
    """

    def __init__(self, agent: Agent, path: Path) -> None:
        """Take the parameters that the seed draws, after a trial of the network.

        Raises:
            RequestError: the network or the family fails.
        """
        drawn = agent.initial_meta()
        probe(agent, drawn)
        self.agent, self.path = agent, path
        self.standing = Standing(drawn, agent.optimizer.init(drawn))
        self._policies = itertools.count()

    @classmethod
    def new(cls: type[T], config: TrainConfig, path: str | Path | None = None) -> T:
        """Return a run before training, for the directory ``path`` (``default_path``); nothing is written.

        Raises:
            RequestError: the request cannot be met, or the directory holds something.
        """
        path = default_path(config) if path is None else Path(path)
        if is_taken(path):
            check_idle(path)
            raise _taken(path)
        prepare_process()
        return cls(build_agent(config), path).with_initial_weights()

    @classmethod
    def start(cls: type[T], config: TrainConfig, out: str | Path | None = None) -> T:
        """Return ``new``, whose directory has been made.

        Raises:
            RequestError: the request cannot be met; nothing has been written.
        """
        return cls.new(config, out).make_directory()

    @classmethod
    def load(cls: type[T], path: str | Path, checkpoint: str | int = "best", trust: Trust = False) -> T:
        """Return a run at a checkpoint: ``"best"`` on validation tasks, ``"last"``, or an iteration's number.

        Raises:
            RequestError: no run there, no such checkpoint, a damaged one, or one that names code (``admit``).
        """
        config = read_config(Path(path), trust)
        if config.device == "cuda" and not torch.cuda.is_available():
            warn(f"{path} was trained on a GPU; there is none here, so it is used on the CPU")
            config = config.replace(device="cpu")
        prepare_process()
        return cls(build_agent(config), Path(path)).at_checkpoint(checkpoint)

    @classmethod
    def resume(cls: type[T], path: str | Path, trust: Trust = False) -> T:
        """Return a run at its last intact checkpoint; at iteration 0 where it has none."""
        prepare_process()
        run = cls(build_agent(read_config(Path(path), trust)), Path(path))
        with alone_in(run.path):
            saved = store.latest_intact(run.checkpoints, warn)
        return run.with_initial_weights() if saved is None else run._restored(saved)

    def __repr__(self) -> str:
        c = self.config
        return (
            f"<{type(self).__name__} {self.path}: {c.algorithm} on {c.family}, {self.iteration} iterations>"
        )

    @property
    def config(self) -> TrainConfig:
        """The configuration, with what was chosen for it."""
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
        """The directory of its checkpoints."""
        return self.path / "checkpoints"

    def action_noise(self) -> np.random.Generator:
        """Return a generator for one more policy's actions: another one in each call, and reproducible."""
        return seeding.generator(self.config.seed, "policies", next(self._policies))

    def with_initial_weights(self: T) -> T:
        """Read the weights that it starts from, once and never again, and return the run."""
        self.standing = self.standing._replace(meta=with_initial_weights(self.agent, self.meta))
        return self

    def at_checkpoint(self: T, checkpoint: str | int) -> T:
        """Move to a checkpoint (see ``load``), and return the run."""
        return self._restored(store.load_found(self.checkpoints, checkpoint))

    def make_directory(self: T) -> T:
        """Make the directory with the configuration in it, and return the run.

        Raises:
            RequestError: it cannot be made, or holds something; nothing has been written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(f"run directory {self.path} cannot be made: {error.strerror}") from error
        sync_folder(self.path.parent)
        with alone_in(self.path):
            if is_taken(self.path):  # by another process, in the meantime
                raise _taken(self.path)
            write_atomic(self.path / "config.yaml", to_yaml(self.config))
        return self

    def _restored(self: T, saved: store.Checkpoint) -> T:
        like = {"meta": self.standing.meta, "optimiser": self.standing.optimizer}
        where = f"checkpoint {saved.iteration} of {self.path}"
        trees: Any = state.restore(saved.tensors, like, where)
        for name in ("samples", "skipped"):
            count = saved.extra.get(name)
            if type(count) is not int or count < 0:
                raise RequestError(f"{where} has {name} {count!r}; allowed: whole numbers from 0")
        samples, skipped = saved.extra["samples"], saved.extra["skipped"]
        self.standing = Standing(trees["meta"], trees["optimiser"], saved.iteration, samples, skipped)
        return self


def _taken(path: Path) -> RequestError:
    again = f", or go on with: {command('resume', path)}" if (path / "config.yaml").is_file() else ""
    return RequestError(f"run directory {path} exists already; give another by --out{again}")
