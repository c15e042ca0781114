"""Speed of MAML-TRPO on 2-D navigation: seconds a meta-iteration, and environment steps a second.

The work is that of the established PyTorch implementation's figure: 20 tasks × 20 episodes × 100 steps, one
inner step, 2×64 tanh, second order, ten conjugate-gradient iterations (here on every fourth time step). That
one took 6.6 s a meta-iteration on two cores whose 2048×2048 float32 matrix product ran at 114 GFLOP/s, so the
same product is timed here, in the same run.

    .venv/bin/python experiments/benchmarks/navigation.py [--iterations 20] [--threads 2]
"""

import argparse
import statistics
import time
from contextlib import ExitStack, closing

import torch

from metarl.core.params import expand
from metarl.core.process import prepare_process
from metarl.rollout import seeding
from metarl.rollout.collector import collect
from metarl.rollout.seeding import Address
from metarl.run.agent.agent import build_agent
from metarl.run.config.train_config import TrainConfig
from metarl.run.experience.sources import open_executor
from metarl.run.train.iteration import Standing, iterate

ESTABLISHED_SECONDS, ESTABLISHED_GFLOPS = 6.6, 114


def matrix_product(threads: int, size: int = 2048, repeats: int = 10) -> float:
    """GFLOP/s of a square float32 product with ``threads`` threads; the median of ``repeats``."""
    a = torch.randn(size, size)
    torch.set_num_threads(threads)
    a @ a
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - began)
    torch.set_num_threads(1)
    return 2 * size**3 / statistics.median(seconds) / 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=20, help="meta-iterations to time (default 20)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    options = parser.parse_args()

    prepare_process()
    config = TrainConfig(algorithm="maml", family="point-goal", threads=options.threads, device="cpu")
    agent = build_agent(config)
    c, meta = agent.config, agent.initial_meta()
    standing = Standing(meta, agent.optimizer.init(meta))
    rows, rates = [], []
    with ExitStack() as stack:
        env = stack.enter_context(closing(agent.episodic.make_vec(c.tasks * c.episodes)))
        executor = stack.enter_context(open_executor(agent))
        standing, _ = iterate(agent, standing, executor)  # the first one imports and traces
        before = matrix_product(options.threads)
        for _ in range(options.iterations):
            standing, row = iterate(agent, standing, executor)
            rows.append(row["seconds"])
            tasks = agent.family.sample_tasks(c.tasks, seeding.generator(1, "tasks", 0), "train")
            policies, address = expand(standing.meta.model, c.tasks), Address(1, 0, standing.iteration)
            began = time.perf_counter()
            batch = collect(
                env, agent.apply_tasks, policies, tasks, episodes=c.episodes, horizon=100, address=address
            )
            rates.append(float(batch.mask.sum()) / (time.perf_counter() - began))
        gflops = statistics.median([before, matrix_product(options.threads)])

    seconds, rate = statistics.median(rows), statistics.median(rates)
    scaled = seconds * gflops / ESTABLISHED_GFLOPS
    print(f"matrix product      {gflops:8.0f} GFLOP/s with {options.threads} threads")
    print(f"meta-iteration      {seconds:8.3f} s, median of {len(rows)}, {min(rows):.3f} to {max(rows):.3f}")
    print(f"collection          {rate / 1e6:8.2f} million environment steps a second, median")
    print(f"against {ESTABLISHED_SECONDS} s       {ESTABLISHED_SECONDS / seconds:8.1f} times as fast")
    print(
        f"at {ESTABLISHED_GFLOPS} GFLOP/s      {scaled:8.3f} s, did all of it scale with the matrix product"
    )


if __name__ == "__main__":
    main()
