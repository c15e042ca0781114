"""Runs small enough for tests: 4 tasks × 3 episodes × 10 steps, hidden 8, on the CPU."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metarl.core.params import Meta, leaves, tree_map
from metarl.rollout.collector import Address, Tasks
from metarl.run.agent import Agent, build_agent
from metarl.run.config import TrainConfig
from metarl.run.experience import USES, Experience, collector, gather
from metarl.run.loggers import read_metrics
from metarl.run.resolve import resolved

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


ADDRESS = Address(5, USES["test"], 2)


def tiny(**changes: Any) -> TrainConfig:
    return TrainConfig(**TINY | changes)


def agent(**changes: Any) -> Agent:
    return build_agent(resolved(tiny(**changes)))


def rows(run_dir: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without the only thing in it that a clock decides."""
    return [
        {k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run_dir / "metrics.jsonl")
    ]


def same(a: Any, b: Any) -> bool:
    """Whether two trees of tensors are equal bit for bit."""
    return len(leaves(a)) == len(leaves(b)) and all(map(torch.equal, leaves(a), leaves(b)))


def meta_of(built: Agent) -> Meta:
    """No bias and no log_std is zero."""
    torch.manual_seed(0)
    return tree_map(lambda x: x + 0.1 * torch.randn_like(x), built.initial_meta())


def tasks_of(built: Agent, n: int = 4) -> Tasks:
    return built.family.sample_tasks(n, np.random.default_rng(1))


def gathered(built: Agent, rates: list[float], tasks: Tasks | None = None, **options: Any) -> Experience:
    """Experience of one inner step for each of ``rates``."""
    tasks = tasks_of(built) if tasks is None else tasks
    n = len(tasks["goal"])
    with closing(built.family.make_vec(n * 3)) as env:
        collect_all = collector(built, tasks, env, 3)
        adaptations = built.adaptations(rates, len(rates)) if rates else []
        return gather(built, meta_of(built), n, collect_all, adaptations, ADDRESS, **options)
