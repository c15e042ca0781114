"""Speed of collection on HalfCheetah beside the bare engine and beside vector environments of others.

The work is that of 20 tasks × 20 episodes: 400 simulations with a 2×64 policy each task. Each contender
takes turns with ``collect`` for a few short rounds, and the median of the rounds' ratios is printed: so
whatever else the machine does disturbs both alike. The bare engine is ``mujoco.batch.Batch.step`` at the
same number of threads, without policy, rewards or records; the others are stepped by the same policy. Two
of them start a process for each simulation: 400 take about two minutes to start and several gigabytes.

    .venv/bin/python experiments/benchmarks/mujoco_families.py [--threads 2] [--steps 50] [--rounds 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import gymnasium
import mujoco
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from mujoco.batch import Batch
from stable_baselines3.common.vec_env import SubprocVecEnv

from metarl.core.params import expand
from metarl.core.process import prepare_process
from metarl.rollout import seeding
from metarl.rollout.collector import collect
from metarl.rollout.seeding import Address
from metarl.run.agent.agent import build_agent
from metarl.run.config.train_config import TrainConfig
from metarl_envs import CheetahVel
from metarl_envs.robots.engine import load

Work = Callable[[], Any]
TARGETS = {"engine": 0.85, "sync": 3.0, "async": 6.0, "subproc": 6.0}
NAMES = {
    "engine": "Batch.step alone",
    "sync": "Gymnasium's SyncVectorEnv",
    "async": "Gymnasium's AsyncVectorEnv",
    "subproc": "Stable-Baselines3's SubprocVecEnv",
}


def seconds(work: Work) -> float:
    """Return the seconds that one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def collection(agent: Any, env: Any, steps: int) -> Work:
    """``steps`` time steps of all rows of ``env`` by ``collect``."""
    c = agent.config
    policies = expand(agent.initial_meta().model, c.tasks)
    tasks = agent.family.sample_tasks(c.tasks, seeding.generator(1, "tasks", 0), "train")
    sizes = {"episodes": c.episodes, "horizon": steps}
    return lambda: collect(env, agent.apply_tasks, policies, tasks, **sizes, address=Address(1, 0))


def bare_engine(rows: int, steps: int, threads: int) -> Work:
    """The same simulations from the same starts, by random controls."""
    batch, env = Batch(load(CheetahVel.robot.xml), rows, threads), CheetahVel(threads=threads).make_vec(rows)
    control = np.random.default_rng(0).normal(size=(steps, rows, 6)).clip(-1.0, 1.0)

    def work() -> None:
        env.reset(seed=1)
        batch.reset(stage=mujoco.mjtStage.mjSTAGE_NONE)
        batch.qpos, batch.qvel = env.engine.positions, env.engine.velocities
        for u in control:
            batch.ctrl = u
            batch.step(nstep=CheetahVel.robot.frame_skip)

    return work


def driven(agent: Any, env: Any, steps: int) -> Work:
    """``steps`` time steps of a vector environment of another library, by the same policy."""
    c = agent.config
    policies, lead = expand(agent.initial_meta().model, c.tasks), (c.tasks, c.episodes)
    noise = torch.randn(steps, *lead, 6)
    start = env.reset()

    def work() -> None:
        obs = start[0] if isinstance(start, tuple) else start
        with torch.no_grad():
            for t in range(steps):
                seen = torch.from_numpy(np.asarray(obs, np.float32)).view(*lead, -1)
                action = agent.apply_tasks(policies, seen).sample(noise[t])
                obs = env.step(action.view(-1, 6).numpy().clip(-1.0, 1.0))[0]

    return work


def contender(name: str, agent: Any, rows: int, steps: int, threads: int) -> tuple[Work, Callable[[], None]]:
    """A contender's work, and what closes it."""
    if name == "engine":
        return bare_engine(rows, steps, threads), lambda: None
    make = [partial(gymnasium.make, "HalfCheetah-v5")] * rows
    if name == "sync":
        env: Any = SyncVectorEnv(make)
    elif name == "async":
        env = AsyncVectorEnv(make, context="fork")
    else:
        env = SubprocVecEnv(make, start_method="fork")
    return driven(agent, env, steps), env.close


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2, help="engine threads (default 2)")
    parser.add_argument("--tasks", type=int, default=20, help="tasks of 20 episodes each (default 20)")
    parser.add_argument("--steps", type=int, default=50, help="time steps a round (default 50)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each pair (default 5)")
    parser.add_argument("--only", nargs="*", choices=TARGETS, default=list(TARGETS), help="contenders (all)")
    options = parser.parse_args()

    prepare_process()
    mujoco.set_mju_user_warning(lambda text: None)  # of each HalfCheetah that Gymnasium compiles, to a file
    args = {"horizon": options.steps, "threads": options.threads}
    config = TrainConfig(
        algorithm="maml",
        family="cheetah-vel",
        family_arg=args,
        tasks=options.tasks,
        episodes=20,
        device="cpu",
    )
    agent = build_agent(config)
    rows = options.tasks * 20
    print(
        f"HalfCheetah, {rows} simulations, {options.threads} engine threads, rounds of {options.steps} steps"
    )
    # processes are forked from one that has not started engine threads yet
    for name in sorted(options.only, key=list(TARGETS).index, reverse=True):
        theirs, close = contender(name, agent, rows, options.steps, options.threads)
        with closing(agent.episodic.make_vec(rows)) as env:
            ours = collection(agent, env, options.steps)
            ours()
            theirs()
            pairs = [(seconds(ours), seconds(theirs)) for _ in range(options.rounds)]
        close()
        rates = [rows * options.steps / statistics.median(column) for column in zip(*pairs, strict=True)]
        ratio = statistics.median(b / a for a, b in pairs)
        met = "met" if ratio >= TARGETS[name] else "missed"
        print(
            f"{NAMES[name]:34}{rates[1]:9,.0f} steps/s, collect {rates[0]:9,.0f}, ratio {ratio:6.2f}", end=""
        )
        print(f" (target {TARGETS[name]}: {met})", flush=True)


if __name__ == "__main__":
    main()
