"""Meta-World on a budget that fits two cores: train, evaluate before and after adaptation, pool the seeds.

    make .venv-metaworld/.installed
    .venv-metaworld/bin/python experiments/meta_world.py [--benchmarks ml1-reach ml10] [--seeds 1 2]

Each agent is trained by experiments/metaworld-BENCHMARK.yaml (a run that exists is resumed, a finished one is
used as it is; what is kept in experiments/results needs none). Its best checkpoint meets 50 tasks of the
training split and 50 of the test split: 10 episodes, one gradient step with training's step size, 10 more
episodes. A task's value is the share of its episodes that succeed at any step, in percent. Meta-World's own
protocol has 3 episodes after adaptation in the place of 10, which estimate the same rate less precisely.
Intervals (95 %) are over tasks and seeds.
"""

import argparse
import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
from pooled import HERE, Measured, cells, kept, trained, with_sizes

import metarl
from metarl.run.evaluate.evaluate import with_family_arg
from metarl.run.evaluate.protocol import Protocol

SPLITS = ("train", "test")
PROTOCOL = Protocol(split="test", tasks=50, steps=1, episodes=10, seed=1, deterministic=False)
# MAML with TRPO, train / test in percent, the maximum over training, 10 seeds (McLean et al. 2025).
PUBLISHED = {"ml10": "44.4 / 31.6"}


def measured(name: str, seed: int, runs: Path, threads: int, horizon: int | None) -> Measured:
    """Success "task step" of a run on both splits."""
    run = metarl.load(trained(HERE / f"{name}.yaml", runs / f"{name}-{seed}", seed, threads))
    agent = with_family_arg(run.agent, {} if horizon is None else {"horizon": horizon})
    sizes = [run.config.inner_lr]
    protocols = {split: dataclasses.replace(PROTOCOL, split=split) for split in SPLITS}
    return {split: with_sizes(agent, run.meta, told, name, sizes) for split, told in protocols.items()}


def main() -> None:
    """Train what is not trained yet, evaluate, print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    benchmarks = sorted(path.stem.removeprefix("metaworld-") for path in HERE.glob("metaworld-*.yaml"))
    parser.add_argument("--benchmarks", nargs="+", default=benchmarks, choices=benchmarks)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--horizon", type=int, help="of the evaluation; by default that of training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs/metaworld"))
    o = parser.parse_args()
    print(
        "| benchmark | tasks | seeds | before | step 1 | published, train / test |\n|---|---|---|---|---|---|"
    )
    for benchmark in o.benchmarks:
        name = f"metaworld-{benchmark}"
        results = [
            kept(
                f"{name}-{seed}" + (f"-horizon{o.horizon}" if o.horizon else ""),
                HERE / f"{name}.yaml",
                dataclasses.asdict(PROTOCOL) | {"splits": SPLITS, "horizon": o.horizon},
                partial(measured, name, seed, o.runs, o.threads, o.horizon),
            )
            for seed in o.seeds
        ]
        for split in SPLITS:
            values = 100 * np.stack([result[split] for result in results])
            told = PUBLISHED.get(benchmark, "–")
            print(f"| {benchmark} | {split} | {len(values)} | {cells(values, 1)} | {told} |", flush=True)


if __name__ == "__main__":
    main()
