"""Baselines that are runs: the same network, optimizer and environment steps, without meta-learning."""

from functools import partial
from pathlib import Path
from typing import Any

from gymnasium.spaces import Discrete

from metarl.core.errors import RequestError
from metarl.learn.learners import learners
from metarl.run.agent.agent import Agent, build_agent, rule_of, with_family_arg
from metarl.run.agent.data_kinds import EXAMPLES, kind_of
from metarl.run.config.admission import code_in
from metarl.run.config.train_config import TrainConfig, as_dict, default_path
from metarl.run.evaluate.baselines import Baseline, Trial
from metarl.run.evaluate.protocol import GRID, measure, result, tuned
from metarl.run.experience.sources import open_executor
from metarl.run.experience.step_sizes import step_sizes
from metarl.run.store.checkpoint import available
from metarl.run.store.terminal import tell
from metarl.run.train.run_state import RunState
from metarl.run.train.training import learn

TRAINED = ("random", "pretrained", "oracle")


def baseline_config(kind: str, config: TrainConfig) -> TrainConfig:
    """Return the configuration of a baseline of a meta-training run.

    ``random`` is the untrained initialisation, ``pretrained`` is trained on all tasks with no inner step,
    ``oracle`` likewise, and observes the task. An iteration without inner steps learns from fewer samples, so
    there are more of them. Labels of a few-shot task mean nothing to another task: there, ``pretrained``
    tells all training classes apart, and is given a new last layer.

    Raises:
        RequestError: an unknown kind.
    """
    if kind not in TRAINED:
        raise RequestError(f"unknown baseline {kind!r}; allowed: {', '.join(TRAINED)}")
    config = _without_meta_learning(config)
    if kind == "random":
        return config.replace(iterations=0, init_from=None)
    changes: dict[str, Any] = {"inner_steps": 0, "observe_task": kind == "oracle", "logger": ()}
    changes |= {"init_from": None} if kind == "oracle" else {}
    if kind == "pretrained" and is_few_shot(config):
        # The query set is one image of each class; no step reads the support set.
        joint = {**config.family_arg, "ways": "all", "shots": 1, "queries": 1}
        return config.replace(family_arg=joint, tasks=1, **changes)
    # With episodes a batch an inner step and one after the last; with labelled examples support and query.
    batches = 2 if kind_of(config.task_family) is EXAMPLES else config.inner_steps + 1
    changes |= {name: getattr(config, name) * batches for name in ("iterations", "checkpoint_every")}
    return config.replace(**changes)


def is_few_shot(config: TrainConfig) -> bool:
    """Return whether tasks are classifications of some of many classes, so that labels are each task's own:
    families that choose ``ways`` classes, or ``"all"``.
    """
    family = config.task_family
    classifies = kind_of(family) is EXAMPLES and isinstance(family.action_space, Discrete)
    return classifies and hasattr(family, "ways")


def _without_meta_learning(config: TrainConfig) -> TrainConfig:
    """Return the configuration with MAML's parts where joint training has no use for its own: there is
    neither a rule to learn, nor are there adapted parameters to move to. The meta-optimizer stays, but for
    one whose step is none of a loss.
    """
    names = set() if config.learner == "maml" else {"learner"}
    if not learners.facts(config.learner).has_loss:
        names |= {"meta_optimizer", "meta_lr", "max_grad_norm"}
    if rule_of(config, config.inner_lr).learns:
        names |= {"rule", "inner_lr", "order"}
    return config.replace(algorithm="maml", **dict.fromkeys(names)) if names else config


def train_baseline(kind: str, config: TrainConfig, out: str | Path | None = None) -> RunState:
    """Train a baseline of what ``config`` would meta-train, in a run directory of its own."""
    config = baseline_config(kind, config)
    run = RunState.start(config, default_path(config, kind) if out is None else out)
    return learn(run, config.iterations)


def _config(kind: str, run: RunState) -> TrainConfig:
    """Return the configuration of a run's own baseline, which is trained as long as the run was."""
    reached = max([run.iteration, *available(run.checkpoints)])
    return baseline_config(kind, run.config.replace(iterations=reached))


def _checkpoint(kind: str, run: RunState) -> str:
    # Of one that tells all classes apart the last: validation tasks have other classes.
    return "last" if kind == "pretrained" and is_few_shot(run.config) else "best"


def begin(kind: str, run: RunState, agent: Agent) -> RunState:
    """Return a run's own baseline under ``RUN_DIR/baselines`` as far as it is; nothing is written."""
    config, path = _config(kind, run), run.path / "baselines" / kind
    if kind == "random":
        return RunState(build_agent(config), path)
    if not (path / "config.yaml").is_file():
        return RunState.new(config, path)
    trust = run.config.trust or code_in(as_dict(run.config))
    if _is_trained(path, config):
        return RunState.load(path, _checkpoint(kind, run), trust)
    return RunState.resume(path, trust)


def train(kind: str, run: RunState, begun: RunState) -> RunState:
    """Train a run's own baseline on first use, and where the run has been trained further since."""
    if kind == "random":
        return begun
    config = _config(kind, run)
    if not (begun.path / "config.yaml").is_file():
        tell(f"metarl: training the baseline {kind}: {config.iterations} iterations without inner steps")
        begun.make_directory()
    if not _is_trained(begun.path, config):
        learn(begun, config.iterations - begun.iteration).at_checkpoint(_checkpoint(kind, run))
    return _with_new_last_layer(run, begun) if _checkpoint(kind, run) == "last" else begun


def baseline_of(kind: str, run: RunState) -> RunState:
    """Return a run's own baseline at its best checkpoint, trained on first use."""
    return train(kind, run, begin(kind, run, run.agent))


def _is_trained(path: Path, config: TrainConfig) -> bool:
    return max(available(path / "checkpoints"), default=-1) >= config.iterations


def _with_new_last_layer(run: RunState, trained: RunState) -> RunState:
    """Return the run's network with the trained weights where they have its shapes, and its own elsewhere."""
    fresh = RunState(build_agent(baseline_config("random", run.config)), trained.path)
    weights = trained.meta.model
    model = {
        name: weights[name] if weights[name].shape == x.shape else x for name, x in fresh.meta.model.items()
    }
    fresh.standing = trained.standing._replace(meta=fresh.meta._replace(model=model))
    return fresh


def adapted(trained: RunState, trial: Trial) -> dict[str, Any]:
    """Return what a baseline that adapts does on the trial's tasks, with its best step sizes."""
    agent = with_family_arg(trained.agent, trial.agent.config.family_arg)
    profile = step_sizes(None if trial.agent.rule.learns else trial.inner_lr, trial.protocol.steps, agent)
    with open_executor(agent) as executor:
        best = tuned(agent, trained.meta, profile, trial.protocol, trial.name, executor, trial.done)
        experience = measure(agent, trained.meta, best, trial.protocol, executor)
    return result(experience, best, trial.protocol, trained)


def _measure_pretrained(trained: RunState, trial: Trial) -> dict[str, Any]:
    """Return ``adapted``, described by how it was trained where tasks give labelled examples."""
    entry = adapted(trained, trial)
    if trial.agent.kind is EXAMPLES:
        training, layer = "on all tasks together without inner steps", ""
        if is_few_shot(trial.run.config):
            training, layer = "to tell all training classes apart", " with its last layer drawn anew"
        entry["description"] = f"the same network trained {training}, then fine-tuned on each task{layer}"
    return entry


def _baseline(kind: str, description: str, measured: Any = adapted) -> Baseline:
    return Baseline(description, measured, partial(begin, kind), partial(train, kind), len(GRID) + 1)


random = _baseline("random", "the untrained initialisation")
pretrained = _baseline(
    "pretrained", "the same network trained on the same tasks without inner steps", _measure_pretrained
)
oracle = _baseline("oracle", "like pretrained, and it observes which task it is in")
