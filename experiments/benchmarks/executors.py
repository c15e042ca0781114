"""Speed of worker processes on an environment that is stepped in Python: Gymnasium's HalfCheetah-v5.

One process collects by itself (``inline``), worker processes share the tasks (``processes``), and Gymnasium's
AsyncVectorEnv has as many processes and is stepped by the same policies: 2×64, one for each task. They take
turns for a few rounds, and the median of the rounds' ratios is printed: so whatever else the machine does
disturbs all alike. What the first collection takes more than the others, to start processes and to make
environments, is told apart.

    .venv/bin/python experiments/benchmarks/executors.py [--workers 2] [--tasks 8] [--steps 100] [--rounds 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv

from metarl.core.models import GaussianMLP, initial_params
from metarl.core.params import Params, expand, tree_map
from metarl.core.process import prepare_process
from metarl.rollout.acting import acting
from metarl.rollout.collector import Address, to_action_space
from metarl.rollout.executors import Executor, Inline
from metarl.rollout.processes import Processes
from metarl.rollout.worker import Recipe, Setup
from metarl.run.resolve import usable_cores
from metarl_envs.single_rows import SingleRows

EPISODES = 5
TARGET_OF_CORES, TARGET_OF_ASYNC = 0.9, 2.0


def half_cheetah() -> gymnasium.Env[Any, Any]:
    """The environment, without what checks every step."""
    return gymnasium.make("HalfCheetah-v5", disable_env_checker=True)


class Named(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Takes a task, which changes nothing."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self.env.reset(seed=seed)[0], {"task": (options or {}).get("task", {"number": 0.0})}


class HalfCheetah:
    """As little of a family as collections need; what it costs is the environments' own."""

    name, specs, stepped, num_tasks = "half-cheetah", {"v5": "Gymnasium's"}, "python", None

    def __init__(self, spec: str | None = None, *, horizon: int = 100) -> None:
        self.spec, self.horizon = spec or "v5", horizon
        with closing(half_cheetah()) as env:
            self.observation_space, self.action_space = env.observation_space, env.action_space

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> dict[str, Any]:
        """Numbers that mean nothing."""
        return {"number": np.arange(float(n))}

    def task_features(self, tasks: Any) -> Any:
        """Nothing is seen of them."""
        return np.zeros((len(tasks["number"]), 0), np.float32)

    def make(self) -> gymnasium.Env[Any, Any]:
        """One environment."""
        return Named(half_cheetah())

    def make_vec(self, num_envs: int) -> SingleRows:
        """Environments stepped one after another."""
        return SingleRows(self, num_envs)


def collection(executor: Executor, policies: Params, tasks: int) -> Callable[[], Any]:
    """A collection of ``EPISODES`` episodes of each task."""
    numbers = {"number": np.arange(float(tasks))}
    return lambda: executor.collect(policies, numbers, episodes=EPISODES, address=Address(1, 0))


def stepping(env: AsyncVectorEnv, act: Any, policies: Params, tasks: int, steps: int) -> Callable[[], Any]:
    """The same episodes in the processes of ``env``, as many at a time as there are."""
    n = env.num_envs
    each = [task for task in range(tasks) for _ in range(EPISODES)]

    @torch.no_grad()
    def run() -> None:
        for first in range(0, len(each), n):
            rows = [each[min(first + i, len(each) - 1)] for i in range(n)]
            theirs = tree_map(lambda x, rows=rows: x[rows], policies)
            obs, _ = env.reset(seed=first)
            noise = torch.randn(steps, n, 1, *env.single_action_space.shape)
            for t in range(steps):
                action = act(theirs, torch.from_numpy(obs.astype(np.float32))[:, None]).sample(noise[t])[:, 0]
                obs = env.step(to_action_space(env.action_space, action.numpy()))[0]

    return run


def seconds(work: Callable[[], Any]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=usable_cores(), help="processes (default: the cores)")
    parser.add_argument("--tasks", type=int, default=8, help="tasks of 5 episodes each (default 8)")
    parser.add_argument("--steps", type=int, default=100, help="time steps of an episode (default 100)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default 5)")
    options = parser.parse_args()

    prepare_process()
    family = HalfCheetah(horizon=options.steps)
    network = GaussianMLP(17, 6, hidden=(64, 64))
    act, policies = acting(network), expand(initial_params(network), options.tasks)
    setup = Setup(Recipe(HalfCheetah, family.spec, {"horizon": options.steps}), network)
    with ExitStack() as stack:
        here = stack.enter_context(closing(Inline(family, act)))
        there = stack.enter_context(closing(Processes(setup, workers=options.workers)))
        env = stack.enter_context(closing(AsyncVectorEnv([half_cheetah] * options.workers)))
        works = {
            "inline": collection(here, policies, options.tasks),
            "processes": collection(there, policies, options.tasks),
            "AsyncVectorEnv": stepping(env, act, policies, options.tasks, options.steps),
        }
        first = {name: seconds(work) for name, work in works.items()}
        rounds = [{name: seconds(work) for name, work in works.items()} for _ in range(options.rounds)]
    total = options.tasks * EPISODES * options.steps
    for name in works:
        median = statistics.median(found[name] for found in rounds)
        told = f"first collection {first[name] - median:+.1f} s"
        print(f"{name:<15} {total / median:8,.0f} environment steps a second ({told})")
    for name, target in (("inline", TARGET_OF_CORES * options.workers), ("AsyncVectorEnv", TARGET_OF_ASYNC)):
        ratio = statistics.median(found[name] / found["processes"] for found in rounds)
        print(f"processes with {options.workers} workers is {ratio:.2f} × {name} (target {target:g})")


if __name__ == "__main__":
    main()
