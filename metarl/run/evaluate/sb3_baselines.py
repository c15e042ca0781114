"""Baselines trained by Stable-Baselines3's PPO.

``sb3-pretrained`` and ``sb3-oracle`` are trained once, as long as the run, and then adapt as it does;
``sb3-scratch`` learns each task from nothing, from the episodes that the others adapt to.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import PPO

from metarl.core.errors import RequestError, RunFailed
from metarl.core.params import Params, all_finite, to_device, tree_map
from metarl.rollout import seeding
from metarl.rollout.executors import Executor
from metarl.run.agent.agent import Agent, build_agent
from metarl.run.config.train_config import TrainConfig
from metarl.run.evaluate.baselines import Baseline, Trial
from metarl.run.evaluate.protocol import GRID, Protocol, best_of, consumed, result, sources
from metarl.run.evaluate.trained_baselines import adapted, baseline_config
from metarl.run.experience.gather import USES, Experience, measured
from metarl.run.experience.sources import open_executor
from metarl.run.sb3.names import check_expressible, names_of
from metarl.run.sb3.ppo import learn_from, own_randomness, ppo_of, train_on_tasks
from metarl.run.store import checkpoint as store
from metarl.run.store import tensors as state
from metarl.run.store.files import read_json, to_json, write_atomic
from metarl.run.store.lock import alone_in
from metarl.run.store.terminal import tell, warn
from metarl.run.train.run_state import RunState

# Learning rates of Adam tried for sb3-scratch, and on how many validation tasks.
RATES, RATE_TASKS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2), 20


def sb3_config(kind: str, config: TrainConfig) -> TrainConfig:
    """Return the configuration of a baseline whose weights come from Stable-Baselines3."""
    plain = baseline_config("random", config)
    return plain.replace(observe_task=kind == "sb3-oracle" or plain.observe_task)


def begin(kind: str, run: RunState, agent: Agent) -> RunState:
    """Return the network that is to be trained, once Stable-Baselines3 can express it."""
    check_expressible(agent.config, agent.family)
    return RunState(build_agent(sb3_config(kind, run.config)), run.path / "baselines" / kind)


def train(kind: str, run: RunState, begun: RunState) -> RunState:
    """Train ``sb3-pretrained`` or ``sb3-oracle`` under ``RUN_DIR/baselines`` on first use, and where the run
    has been trained further since; its weights are in our network, so that it adapts as the run does.

    Raises:
        RunFailed: whatever the environment or PPO raised, in one line.
    """
    env_steps = _env_steps(run)
    begun.path.mkdir(parents=True, exist_ok=True)
    with alone_in(begun.path):
        store.clean(begun.checkpoints)
        saved = store.latest_intact(begun.checkpoints, warn)
        if saved is None or saved.extra.get("asked", -1) < env_steps:
            saved = _trained(kind, begun, env_steps, run.config.seed)
    weights = state.restore(saved.tensors, begun.meta.model, f"baseline {kind} of {run.path}")
    begun.standing = begun.standing._replace(
        meta=begun.meta._replace(model=to_device(weights, begun.agent.device)),
        samples=int(saved.extra.get("samples", 0)),
    )
    return begun


def sb3_baseline_of(kind: str, run: RunState) -> RunState:
    """Return ``sb3-pretrained`` or ``sb3-oracle`` of a run, trained on first use."""
    return train(kind, run, begin(kind, run, run.agent))


def _trained(kind: str, baseline: RunState, env_steps: int, seed: int) -> store.Checkpoint:
    """Train PPO, and return what was saved of it."""
    tell(f"metarl: training the baseline {kind}: PPO for {env_steps:,} environment steps")
    try:
        model = train_on_tasks(baseline.agent, env_steps, seed, kind)
    except Exception as error:  # the environment's, or PPO's where weights are not finite
        line = next(iter(str(error).strip().splitlines()), "")[:400]
        raise RunFailed(f"training the baseline {kind} failed: {type(error).__name__}: {line}") from error
    weights = _weights(baseline.agent, model)
    if not all_finite(weights):  # PPO looks at numbers before it acts, and does not after its last update
        raise RunFailed(f"training the baseline {kind} failed: its weights are not finite")
    extra = {"samples": model.num_timesteps, "asked": env_steps}
    store.save(baseline.checkpoints, 1, weights, extra)
    return store.load(store.find(baseline.checkpoints))


def measure_scratch(agent: Agent, protocol: Protocol, executor: Executor | None) -> tuple[Experience, float]:
    """Return the experience of PPO from nothing on every task of a protocol, and its learning rate: the best
    of ``RATES`` on validation tasks.

    Raises:
        RequestError: weights or actions are not finite, on validation tasks with every one of the rates.
    """

    def tried(rate: float, on: Protocol) -> Experience:
        try:
            return _scratch(agent, on, executor, rate)
        except ValueError as error:
            message = f"sb3-scratch cannot be measured with learning rate {rate:g}: {error}"
            raise RequestError(message) from error

    best = RATES[0]
    if protocol.steps:
        validation = dataclasses.replace(protocol, split="validation", tasks=min(protocol.tasks, RATE_TASKS))
        on_validation = partial(tried, on=validation)
        best = best_of(RATES, on_validation, agent.metric, "sb3-scratch", "learning rate")
    return tried(best, protocol), best


def scratch_file(run_path: Path, agent: Agent, protocol: Protocol) -> Path:
    """Return the file of what ``sb3-scratch`` gave under a protocol: nothing of the run itself enters it."""
    fields = ["family", "spec", "family_arg", "hidden", "activation", "init_std", "gamma", "baseline", "seed"]
    what = dataclasses.asdict(protocol) | {name: getattr(agent.config, name) for name in fields}
    key = to_json(what | {"rates": RATES, "rate_tasks": RATE_TASKS}, sort_keys=True)
    return run_path / "baselines" / "sb3-scratch" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def kept(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a JSON file holds, or else what is computed, which it holds from then on."""
    with suppress(OSError, RequestError):  # none yet, or half of one
        entry = read_json(path)
        if entry.keys() >= {"mean", "ci95", "per_task"}:
            return entry
    entry = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, to_json(entry, indent=1))
    return entry


def _scratch(agent: Agent, protocol: Protocol, executor: Executor | None, rate: float) -> Experience:
    """Train one policy a task. Each update learns from the episodes that measured the policy before it."""
    (source,) = sources(agent, protocol, executor)
    # A seed for the first weights and for each update of each task, so that no task depends on others.
    seeds = [
        seeding.seeds(agent.config.seed, "baselines", USES["sb3"], t, n=protocol.steps + 1).tolist()
        for t in range(source.tasks)
    ]
    models = [ppo_of(agent, None, init_seed=first % 2**32, learning_rate=rate) for first, *_ in seeds]
    path, support = [_together(agent, models)], []
    for k in range(protocol.steps):
        support.append(source.support(path[-1], k))
        episodes = to_device(support[-1], "cpu")
        for t, model in enumerate(models):
            with own_randomness(seeds[t][k + 1]):
                learn_from(model, tree_map(lambda x, t=t: x[t], episodes))
        path.append(_together(agent, models))
    return measured(agent, source, tuple(path), tuple(support))


def _together(agent: Agent, models: Sequence[PPO]) -> Params:
    """Return the models' weights under our names, with the task axis first."""
    of_models = [_weights(agent, model) for model in models]
    return to_device(tree_map(lambda *xs: torch.stack(xs), *of_models), agent.device)


def _weights(agent: Agent, model: PPO) -> Params:
    """Return the model's weights under our names, and in our order."""
    names = names_of(agent.config, agent.family, agent.module, agent.critic is not None)
    weights = names.from_sb3({name: x.detach().clone() for name, x in model.policy.state_dict().items()})
    return {name: weights[name] for name in agent.param_names}


def _env_steps(run: RunState) -> int:
    """Return the environment steps of the run's training, up to its last checkpoint."""
    steps = [run.standing.samples]
    for iteration in store.available(run.checkpoints):
        with suppress(RequestError):  # one that is damaged, or that went meanwhile
            manifest = store.read_manifest(store.find(run.checkpoints, iteration))
            steps.append(int(manifest["extra"]["samples"]))
    return max(steps)


def _measure_scratch(begun: None, trial: Trial) -> dict[str, Any]:
    """Return what PPO learns of each task from nothing; kept in the run's directory: it takes long."""
    agent, protocol = trial.agent, trial.protocol

    def compute() -> dict[str, Any]:
        with open_executor(agent) as executor:
            experience, rate = measure_scratch(agent, protocol, executor)
        entry = result(experience, [rate] * protocol.steps, protocol)
        return entry | {"env_steps": 0} | consumed(experience, protocol.episodes)

    return kept(scratch_file(trial.run.path, agent, protocol), compute)


def _baseline(kind: str, description: str) -> Baseline:
    return Baseline(description, adapted, partial(begin, kind), partial(train, kind), len(GRID) + 1)


pretrained = _baseline(
    "sb3-pretrained", "the same network trained by Stable-Baselines3’s PPO on the same tasks"
)
oracle = _baseline("sb3-oracle", "like sb3-pretrained, and it observes which task it is in")
scratch = Baseline(
    "the same network trained by Stable-Baselines3’s PPO on each task alone, from nothing",
    _measure_scratch,
    lambda run, agent: check_expressible(agent.config, agent.family),
)
