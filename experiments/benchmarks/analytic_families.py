"""Environment steps a second of every analytic family, with a 2×64 policy, through the collector.

20 tasks × 20 episodes, hence 400 rows in one vector environment; training tasks, untrained tanh policies, one
thread a process. A step is counted if its episode was still under way; "all rows" also counts those that are
frozen, which cost as much: it is the rate of a policy whose episodes last.

Each family is measured in one process, by its processor time, so that a busy machine counts little; then in
two at the same time, by the clock, whose steps are added up. The time of a step of all rows is told apart:
the environment's, the policy's with its draw, and the rest, which is the collector's; what a collection costs
once (seeds, starts, noise, log-probabilities) is spread over its steps.

    .venv/bin/python experiments/benchmarks/analytic_families.py [--repeats 7] [--families maze chain ...]
    .venv/bin/python experiments/benchmarks/analytic_families.py --runs RUN_DIR
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import nn

import metarl
from metarl.core.models import MLP, GaussianMLP, initial_params, policy_of_tasks
from metarl.core.params import Params, expand
from metarl.core.process import prepare_process
from metarl.rollout.acting import for_rollouts
from metarl.rollout.collector import collect, to_action_space
from metarl.rollout.registry import make
from metarl.rollout.seeding import Address

TASKS, EPISODES = 20, 20
ROWS = TASKS * EPISODES
FAMILIES = (
    "point-goal",
    "bandit",
    "chain",
    "tabular-mdp",
    "maze",
    "cartpole-params",
    "pendulum-params",
    "acrobot-params",
    "mountain-car-params",
    "mountain-car-params/discrete",
)


class Speed(NamedTuple):
    """Steps a second, of episodes under way and of all rows; microseconds a step of all rows, and parts."""

    counted: float
    all_rows: float
    total: float
    environment: float
    policy: float


def microseconds(call: Callable[[], object], repeats: int) -> float:
    """The median of one call, in groups of a hundred."""
    found = []
    for _ in range(repeats):
        began = time.process_time()
        for _ in range(100):
            call()
        found.append((time.process_time() - began) * 1e4)
    return statistics.median(found)


def untrained(name: str) -> tuple[Any, nn.Module, Params]:
    """A family by name or name/spec, and a 2×64 policy for it."""
    torch.manual_seed(0)
    family: Any = make(*name.split("/"))
    space, inputs = family.action_space, family.observation_space.shape[0]
    discrete = isinstance(space, Discrete)
    module = MLP(inputs, (64, 64), int(space.n)) if discrete else GaussianMLP(inputs, space.shape[0])
    return family, module, initial_params(module)


def trained(run: str) -> tuple[Any, nn.Module, Params]:
    """A run's family and its policy."""
    loaded = metarl.load(run)
    return loaded.agent.family, loaded.agent.module, loaded.meta.model


def measured(name: str, repeats: int, clock: Callable[[], float], is_run: bool) -> Speed:
    """The speed of one family in this process: collections by ``clock``, parts by processor time."""
    prepare_process()
    family, module, policy_params = trained(name) if is_run else untrained(name)
    act, params = policy_of_tasks(for_rollouts(module)), expand(policy_params, TASKS)
    space = family.action_space
    discrete = isinstance(space, Discrete)
    tasks = family.sample_tasks(TASKS, np.random.default_rng(0))
    env = family.make_vec(ROWS)
    rows = []
    for i in range(repeats + 1):
        began = clock()
        batch = collect(
            env,
            act,
            params,
            tasks,
            episodes=EPISODES,
            horizon=family.horizon,
            address=Address(0, 0, i),
        )
        seconds, steps = clock() - began, int(batch.mask.sum(-1).max())
        rows.append((float(batch.mask.sum()) / seconds, ROWS * steps / seconds, seconds / steps * 1e6))
    counted, all_rows, total = (statistics.median(column) for column in zip(*rows[1:], strict=True))

    env.reset(seed=1, options={"task": {key: np.repeat(x, EPISODES, axis=0) for key, x in tasks.items()}})
    noise = torch.rand(TASKS, EPISODES) if discrete else torch.randn(TASKS, EPISODES, *space.shape)
    obs = batch.obs[:, :, 0]
    with torch.no_grad():
        action = act(params, obs).sample(noise)
        flat = to_action_space(env.action_space, action.reshape(ROWS, *action.shape[2:]).numpy())
        environment = microseconds(lambda: env.step(flat), repeats)
        policy = microseconds(lambda: act(params, obs).sample(noise), repeats)
    return Speed(counted, all_rows, total, environment, policy)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7, help="collections to time (default 7)")
    parser.add_argument("--families", nargs="+", default=FAMILIES, help="name or name/spec (default: all)")
    parser.add_argument("--runs", nargs="+", default=[], help="measure trained policies instead")
    options = parser.parse_args()

    print(
        "million environment steps/s         one process    two processes    microseconds a step of 400 rows"
    )
    print("family                           counted  all rows  counted  all rows    all  environment  policy")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for name in options.runs or options.families:
            work = measured, name, options.repeats
            alone = pool.submit(*work, time.process_time, bool(options.runs)).result()
            both = [pool.submit(*work, time.perf_counter, bool(options.runs)) for _ in range(2)]
            counted, all_rows = (sum(f.result()[i] for f in both) / 1e6 for i in range(2))
            print(
                f"{name:31} {alone.counted / 1e6:8.2f} {alone.all_rows / 1e6:9.2f} {counted:8.2f} "
                f"{all_rows:9.2f} {alone.total:6.0f} {alone.environment:12.0f} {alone.policy:7.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
