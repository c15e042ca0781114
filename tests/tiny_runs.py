"""Runs small enough for tests: 4 tasks × 3 episodes × 10 steps (or 20 examples), hidden 8, on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from metarl.core.params import Meta, leaves, tree_map
from metarl.rollout.collector import Tasks
from metarl.rollout.seeding import Address
from metarl.run.agent.agent import Agent, build_agent
from metarl.run.config.train_config import TrainConfig
from metarl.run.evaluate.protocol import Protocol, measure, tuned
from metarl.run.experience.examples import ExampleSource
from metarl.run.experience.gather import USES, Experience, gather
from metarl.run.experience.sources import open_executor, source_of
from metarl.run.experience.step_sizes import Profile
from metarl.run.log.metrics_file import read_metrics
from metarl.run.store import checkpoint as store
from metarl.run.train.initial_weights import with_initial_weights
from metarl.run.train.iteration import validate
from metarl.run.use.runs import Run

TINY: dict[str, Any] = {
    "algorithm": "maml",
    "family": "point-goal",
    "family_arg": {"horizon": 10},
    "hidden": (8,),
    "seed": 3,
    "iterations": 2,
    "tasks": 4,
    "episodes": 3,
    "chunk": 2,
    "threads": 1,
    "device": "cpu",
    "meta_optimizer": "adam",  # the cheapest
    "meta_lr": 0.01,
    "checkpoint_every": 2,
    "validation_tasks": 3,
}

# The same for labelled examples: 4 tasks of 10 and 10 points.
TAUGHT: dict[str, Any] = {
    **{name: TINY[name] for name in TINY.keys() - {"episodes", "family_arg"}},
    "family": "sinusoid",
    "activation": "tanh",
    "inner_lr": 0.05,
}
IMAGES: dict[str, Any] = {
    "family": "tiny_families:Patches",
    "family_arg": {"ways": 3, "shots": 2, "queries": 4},
    "filters": 2,
    "inner_lr": 0.4,
}

ADDRESS = Address(5, USES["test"], 2)


def configured(algorithm: str = "maml", family: str = "point-goal", **asked: Any) -> TrainConfig:
    return TrainConfig.of({"algorithm": algorithm, "family": family, **asked})


def tiny(**changes: Any) -> TrainConfig:
    return TrainConfig.of(TINY | changes)


def agent(**changes: Any) -> Agent:
    return build_agent(tiny(**changes))


def taught(**changes: Any) -> TrainConfig:
    return TrainConfig.of(TAUGHT | changes)


def pupil(**changes: Any) -> Agent:
    """``agent`` for a family of labelled examples."""
    return build_agent(taught(**changes))


def rows(run_dir: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without the only thing in it that a clock decides."""
    return [
        {k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run_dir / "metrics.jsonl")
    ]


def same(a: Any, b: Any) -> bool:
    """Whether two trees of tensors are equal bit for bit."""
    return len(leaves(a)) == len(leaves(b)) and all(map(torch.equal, leaves(a), leaves(b)))


def alike(a: Run, b: Run) -> bool:
    """Equal in all that a checkpoint holds, in every number on record, and in the files themselves."""
    last = [store.find(run.checkpoints, "last") / store.STATE for run in (a, b)]
    return (
        same(a.meta, b.meta)
        and same(a.standing.optimizer, b.standing.optimizer)
        and a.standing[2:] == b.standing[2:]
        and rows(a.path) == rows(b.path)
        and last[0].read_bytes() == last[1].read_bytes()
    )


def meta_of(built: Agent) -> Meta:
    """No bias and no log_std is zero."""
    torch.manual_seed(0)
    return tree_map(lambda x: x + 0.1 * torch.randn_like(x), built.initial_meta())


def tasks_of(built: Agent, n: int = 4) -> Tasks:
    return built.family.sample_tasks(n, np.random.default_rng(1))


def gathered(
    built: Agent, rates: list[float], tasks: Tasks | None = None, deterministic: bool = False
) -> Experience:
    """Experience of one inner step for each of ``rates``."""
    tasks = tasks_of(built) if tasks is None else tasks
    with open_executor(built) as executor:
        source = source_of(built, executor, tasks, ADDRESS, episodes=3, deterministic=deterministic)
        adaptations = built.adaptations(rates, len(rates)) if rates else []
        return gather(built, meta_of(built), source, adaptations)


def measured(built: Agent, meta: Meta, profile: Profile, protocol: Protocol) -> Experience:
    """``measure`` with an executor of its own."""
    with open_executor(built) as executor:
        return measure(built, meta, profile, protocol, executor)


def tuned_rates(built: Agent, meta: Meta, profile: Profile, protocol: Protocol, name: str) -> Profile:
    """``tuned`` with an executor of its own."""
    with open_executor(built) as executor:
        return tuned(built, meta, profile, protocol, name, executor)


def validated(built: Agent, meta: Meta) -> dict[str, Any]:
    """``validate`` with an executor of its own."""
    with open_executor(built) as executor:
        return validate(built, meta, executor)


def starting_meta(built: Agent) -> Meta:
    """The meta-parameters that training begins with, those of ``init_from`` among them."""
    return with_initial_weights(built, built.initial_meta())


def examples_of(built: Agent, tasks: Tasks | None = None, address: Address = ADDRESS) -> ExampleSource:
    return ExampleSource.of_tasks(built, tasks_of(built) if tasks is None else tasks, address)
