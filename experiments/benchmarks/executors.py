"""Speed of worker processes on environments that are stepped in Python, such as Gymnasium's HalfCheetah-v5.

One process collects by itself (``inline``), worker processes share the tasks (``processes``), and Gymnasium's
AsyncVectorEnv has as many processes and is stepped by the same policies: 2×64, one for each task. They take
turns for a few rounds, and the median of the rounds' ratios is printed: so whatever else the machine does
disturbs all alike. What the first collection takes more than the others, to start processes and to make
environments, is told apart.

    .venv/bin/python experiments/benchmarks/executors.py [--workers 2] [--tasks 8] [--steps 100] [--rounds 5]
    .venv-metaworld/bin/python experiments/benchmarks/executors.py --family metaworld-ml1
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any, cast

import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv

from metarl.core.models import GaussianMLP, initial_params
from metarl.core.params import Params, expand, tree_map
from metarl.core.process import prepare_process
from metarl.rollout.acting import acting
from metarl.rollout.collector import Tasks, to_action_space
from metarl.rollout.executors import Executor
from metarl.rollout.family import TaskFamily
from metarl.rollout.inline import Inline
from metarl.rollout.processes import Processes
from metarl.rollout.registry import families, make
from metarl.rollout.seeding import Address
from metarl.rollout.worker import Recipe, Setup
from metarl.run.config.devices import usable_cores
from metarl_envs import GymFamily, Scale

EPISODES = 5
TARGET_OF_CORES, TARGET_OF_ASYNC = 0.9, 2.0


@families.register("half-cheetah")
class HalfCheetah(GymFamily):
    """Gymnasium's HalfCheetah-v5 with a motor that is weaker or stronger."""

    name, env = "half-cheetah", "HalfCheetah-v5"
    fields = {"actuator_gear": Scale(0.8, 1.2)}


def collection(executor: Executor, policies: Params, tasks: Tasks) -> Callable[[], Any]:
    """A collection of ``EPISODES`` episodes of each task."""
    return lambda: executor.collect(policies, tasks, episodes=EPISODES, address=Address(1, 0))


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
    """Return the seconds that one call takes."""
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
    parser.add_argument("--family", default="half-cheetah", help="default half-cheetah, made here")
    options = parser.parse_args()

    prepare_process()
    family = cast(TaskFamily, make(options.family, horizon=options.steps))
    (observed,), (acted,) = family.observation_space.shape or (), family.action_space.shape or ()
    network = GaussianMLP(observed, acted, hidden=(64, 64))
    act, policies = acting(network), expand(initial_params(network), options.tasks)
    tasks = family.sample_tasks(options.tasks, np.random.default_rng(0))
    setup = Setup(Recipe(type(family), family.spec, {"horizon": options.steps}), network)
    with ExitStack() as stack:
        here = stack.enter_context(closing(Inline(family, act)))
        there = stack.enter_context(closing(Processes(setup, workers=options.workers)))
        env = stack.enter_context(closing(AsyncVectorEnv([family.make] * options.workers)))
        works = {
            "inline": collection(here, policies, tasks),
            "processes": collection(there, policies, tasks),
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
