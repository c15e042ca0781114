"""Memory of a collection: what it takes above the idle process, as a multiple of the bytes that it returns.

    .venv/bin/python experiments/benchmarks/collection_memory.py [--family cheetah-vel] [--horizon 200]

20 tasks × 20 episodes by a 2×64 policy. The process has collected once before, so that imports, the engine
and the environment are idle memory; the peak is the kernel's own (``VmHWM``, Linux alone).
"""

import argparse
import ctypes
from pathlib import Path

from metarl.core.params import expand, leaves
from metarl.rollout import seeding
from metarl.rollout.collector import collect
from metarl.rollout.seeding import Address
from metarl.run.agent.agent import build_agent
from metarl.run.config.train_config import TrainConfig


def status(name: str) -> int:
    """A number of bytes from the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) * 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", default="cheetah-vel")
    parser.add_argument("--horizon", type=int, default=200)
    options = parser.parse_args()
    arguments = {"horizon": options.horizon}
    config = TrainConfig(algorithm="maml", family=options.family, family_arg=arguments, device="cpu")
    agent = build_agent(config)
    policies = expand(agent.initial_meta().model, config.tasks)
    tasks = agent.family.sample_tasks(config.tasks, seeding.generator(1, "tasks", 0), "train")
    env = agent.episodic.make_vec(config.tasks * config.episodes)

    def collected(i: int, horizon: int) -> int:
        address = Address(1, 0, i)
        batch = collect(
            env,
            agent.apply_tasks,
            policies,
            tasks,
            episodes=config.episodes,
            horizon=horizon,
            address=address,
        )
        return sum(leaf.numel() * leaf.element_size() for leaf in leaves(batch))

    collected(0, 5)
    ctypes.CDLL(None).malloc_trim(0)
    idle = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    size = collected(1, options.horizon)
    peak = status("VmHWM") - idle
    print(f"{options.family}, 400 episodes of {options.horizon} steps: {size / 1e6:.1f} MB in the batch")
    print(f"peak above idle {peak / 1e6:.1f} MB, {peak / size:.2f} times as much (target: at most 2)")


if __name__ == "__main__":
    main()
