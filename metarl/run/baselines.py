"""Baselines are runs: the same network, optimizer and environment steps, without meta-learning."""

import dataclasses
from pathlib import Path
from typing import Any

from gymnasium.spaces import Discrete

from metarl.core.errors import RequestError
from metarl.rollout.family import is_supervised
from metarl.rollout.registry import families, make
from metarl.run.admission import code_in
from metarl.run.agent import build_agent
from metarl.run.checkpoint import available
from metarl.run.config import TrainConfig, as_dict, default_path
from metarl.run.files import tell
from metarl.run.trainer import Trainer

TRAINED = ("random", "pretrained", "oracle")


def baseline_config(kind: str, config: TrainConfig) -> TrainConfig:
    """The configuration of a baseline of a meta-training run.

    ``random`` is the untrained initialisation, ``pretrained`` is trained on all tasks with no inner step,
    ``oracle`` likewise, and observes the task. An iteration without inner steps learns from fewer samples, so
    there are more of them. Labels of a few-shot task mean nothing to another task: there, ``pretrained``
    tells all training classes apart, and ``baseline_of`` gives it a new last layer.

    Raises:
        RequestError: an unknown kind.
    """
    if kind not in TRAINED:
        raise RequestError(f"unknown baseline {kind!r}; allowed: {', '.join(TRAINED)}")
    config = _without_meta_learning(config)
    if kind == "random":
        return dataclasses.replace(config, iterations=0, init_from=None)
    changes: dict[str, Any] = {"inner_steps": 0, "observe_task": kind == "oracle", "logger": ()}
    if kind == "oracle":
        changes["init_from"] = None
    if kind == "pretrained" and is_few_shot(config):
        # The query set is one image of each class; no step reads the support set.
        joint = {**config.family_arg, "ways": "all", "shots": 1, "queries": 1}
        return dataclasses.replace(config, family_arg=joint, tasks=1, **changes)
    # With episodes a batch an inner step and one after the last; with labelled examples support and query.
    batches = 2 if is_supervised(families[config.family]) else (config.inner_steps or 0) + 1
    changes |= {"iterations": config.iterations * batches}
    return dataclasses.replace(config, checkpoint_every=config.checkpoint_every * batches, **changes)


def is_few_shot(config: TrainConfig) -> bool:
    """Whether tasks are classifications of some of many classes, so that labels are each task's own: families
    that choose ``ways`` classes, or ``"all"``.
    """
    family = make(config.family, config.spec, **config.family_arg)
    few = isinstance(family.action_space, Discrete) and hasattr(family, "ways")
    return is_supervised(family) and few


def _without_meta_learning(config: TrainConfig) -> TrainConfig:
    """Joint training has neither a rule to learn nor adapted parameters to move to: there, MAML's parts. The
    meta-optimizer stays, but for Reptile's outer step, which is none of a loss.
    """
    names: list[str] = []
    if config.learner != "maml":
        names += ["algorithm", "learner"]
    if config.learner == "reptile":
        names += ["meta_optimizer", "meta_lr", "max_grad_norm"]
    if build_agent(config).learns_steps:
        names += ["algorithm", "rule", "inner_lr", "order"]
    given: dict[str, Any] = {"spec": config.spec, "family_arg": config.family_arg}
    if config.baseline == "value":  # which has no KL
        given["meta_optimizer"] = "adam"
    plain = TrainConfig(algorithm="maml", family=config.family, **given, baseline=config.baseline)
    return dataclasses.replace(config, **{name: getattr(plain, name) for name in names})


def train_baseline(kind: str, config: TrainConfig, out: str | Path | None = None) -> Trainer:
    """Train a baseline of what ``config`` would meta-train, in a run directory of its own."""
    baseline = baseline_config(kind, config)
    run = Trainer.start(baseline, default_path(baseline, kind) if out is None else out)
    return run.learn(run.config.iterations)


def baseline_of(kind: str, run: Trainer) -> Trainer:
    """A run's own baseline at its best checkpoint, trained under ``RUN_DIR/baselines`` on first use.

    One that was trained to tell all classes apart is taken at its last checkpoint, since validation tasks
    have other classes, and its last layer is drawn anew.
    """
    reached = max([run.iteration, *available(run.checkpoints)])
    config = baseline_config(kind, dataclasses.replace(run.config, iterations=reached))
    path = run.path / "baselines" / kind
    known = run.config.trust or code_in(as_dict(run.config)).values()
    if kind == "random":
        return Trainer(build_agent(config), path)
    if not (path / "config.yaml").is_file():
        tell(f"metarl: training the baseline {kind}: {config.iterations} iterations without inner steps")
        Trainer.start(config, path)
    if max(available(path / "checkpoints"), default=-1) < config.iterations:
        # A new one, an unfinished one, or one whose run has been trained further since.
        begun = Trainer.resume(path, known)
        begun.learn(config.iterations - begun.iteration)
    if kind == "oracle" or not is_few_shot(run.config):
        return Trainer.load(path, trust=known)
    trained = Trainer.load(path, "last", known)
    fresh = Trainer(build_agent(baseline_config("random", run.config)), path)
    model = {
        name: theirs if theirs.shape == (own := fresh.meta.model[name]).shape else own
        for name, theirs in trained.meta.model.items()
    }
    fresh.standing = trained.standing._replace(meta=fresh.meta._replace(model=model))
    return fresh
