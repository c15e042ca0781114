"""Baselines are runs: the same network, optimiser and environment steps, without meta-learning."""

import dataclasses
from pathlib import Path

from metarl.core.errors import RequestError
from metarl.run.agent import build_agent
from metarl.run.checkpoint import available
from metarl.run.config import TrainConfig
from metarl.run.files import tell
from metarl.run.options import BASELINES
from metarl.run.resolve import resolved
from metarl.run.trainer import Trainer, default_path


def baseline_config(kind: str, config: TrainConfig) -> TrainConfig:
    """The configuration of a baseline of a meta-training run.

    ``random`` is the untrained initialisation, ``pretrained`` is trained on all tasks with no inner step,
    ``oracle`` likewise, and observes the task. An iteration without inner steps takes fewer environment
    steps, so there are more of them.

    Raises:
        RequestError: an unknown kind.
    """
    if kind not in BASELINES:
        raise RequestError(f"unknown baseline {kind!r}; allowed: {', '.join(BASELINES)}")
    config = resolved(config)
    if kind == "random":
        return dataclasses.replace(config, iterations=0, init_from=None)
    collections = (config.inner_steps or 0) + 1
    return dataclasses.replace(
        config,
        inner_steps=0,
        iterations=config.iterations * collections,
        checkpoint_every=config.checkpoint_every * collections,
        observe_task=kind == "oracle",
        init_from=None if kind == "oracle" else config.init_from,
        logger=(),
    )


def train_baseline(kind: str, config: TrainConfig, out: str | Path | None = None) -> Trainer:
    """Train a baseline of what ``config`` would meta-train, in a run directory of its own."""
    baseline = baseline_config(kind, config)
    named = default_path(dataclasses.replace(baseline, algorithm=kind))
    run = Trainer.start(baseline, named if out is None else out)
    return run.learn(run.config.iterations)


def baseline_of(kind: str, run: Trainer) -> Trainer:
    """A run's own baseline at its best checkpoint, trained under ``RUN_DIR/baselines`` on first use."""
    reached = max([run.iteration, *available(run.checkpoints)])
    config = baseline_config(kind, dataclasses.replace(run.config, iterations=reached))
    path = run.path / "baselines" / kind
    if kind == "random":
        return Trainer(build_agent(config), path)
    if not (path / "config.yaml").is_file():
        tell(f"metarl: training the baseline {kind}: {config.iterations} iterations without inner steps")
        Trainer.start(config, path)
    if max(available(path / "checkpoints"), default=-1) < config.iterations:
        # A new one, an unfinished one, or one whose run has been trained further since.
        begun = Trainer.resume(path)
        begun.learn(config.iterations - begun.iteration)
    return Trainer.load(path)
