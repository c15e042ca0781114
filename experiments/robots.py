"""MuJoCo robots on a budget that fits two cores: train, evaluate on held-out tasks, pool the seeds, draw.

    .venv/bin/python experiments/robots.py [--families cheetah-dir ...] [--algorithms maml ...] [--seeds 1 2]

Each agent is trained by experiments/FAMILY-ALGORITHM.yaml (a run that exists is resumed, a finished one is
used as it is; what is kept in experiments/results needs none) and measured at its best checkpoint, 10
episodes a step, after 0 … 3 steps, with step sizes chosen on validation tasks, as those of the baselines are.
Beside the first MAML run stand `random`, `pretrained` and `oracle` (cheetahs; others fewer). Each family's
figure goes to experiments/figures, drawn of the algorithms and seeds asked for. Intervals (95 %)
are over tasks and seeds. Two directions are two tasks: each is measured twenty times.
"""

import argparse
import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
from pooled import CHOICE, HERE, Measured, adapted, cells, kept, trained
from robot_figures import Training, figure, training

import metarl
from metarl.run.evaluate.protocol import Protocol
from metarl.run.evaluate.trained_baselines import TRAINED, baseline_of

FAMILIES = ("cheetah-dir", "cheetah-vel", "ant-dir", "walker-params")
ALGORITHMS = ("maml", "fomaml", "promp", "meta-sgd", "anil", "e-maml", "reptile", "lstm")
# Seeds where none are asked for; elsewhere the first alone.
SEEDS = {"cheetah-dir-maml": (1, 2, 3), "cheetah-vel-maml": (1, 2, 3)}
# Beside the first MAML run; where an iteration takes long, what the question needs.
BASELINES = {"ant-dir": ("random",), "walker-params": ("random", "pretrained")}
PROTOCOL = Protocol(split="test", tasks=40, steps=3, episodes=10, seed=1, deterministic=False)


def measured(name: str, seed: int, runs: Path, threads: int) -> Measured:
    """Returns "task step" of a run, and of the first MAML run's baselines."""
    config = HERE / f"{name}.yaml"
    run = metarl.load(trained(config, runs / f"{name}-{seed}", seed, threads))
    found = {"meta": adapted(run.agent, run.meta, PROTOCOL, name)}
    if name in (f"{family}-maml" for family in FAMILIES) and seed == 1:  # and not e-maml's
        for kind in BASELINES.get(name.removesuffix("-maml"), TRAINED):
            baseline = baseline_of(kind, run)
            found[kind] = adapted(baseline.agent, baseline.meta, PROTOCOL, kind)
    return found


def main() -> None:
    """Train what is not trained yet, evaluate, print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", nargs="+", default=FAMILIES, choices=FAMILIES)
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS, choices=ALGORITHMS)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 1 2 3 of cheetahs by MAML, else 1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs/robots"))
    options = parser.parse_args()
    print("| family | agent | seeds | before | step 1 | step 2 | step 3 |\n|---|---|---|---|---|---|---|")
    for family in options.families:
        curves: dict[str, list[Training]] = {}
        agents: dict[str, np.ndarray] = {}
        for algorithm in options.algorithms:
            name = f"{family}-{algorithm}"
            config = HERE / f"{name}.yaml"
            if not config.is_file():
                continue
            told = dataclasses.asdict(PROTOCOL) | CHOICE
            results = []
            for seed in options.seeds or SEEDS.get(name, (1,)):
                make = partial(measured, name, seed, options.runs, options.threads)
                results.append(kept(f"{name}-{seed}", config, told, make))
                run = training(f"{name}-{seed}", options.runs / f"{name}-{seed}")
                curves.setdefault(algorithm, []).append(run)
            for agent in results[0]:
                shown = algorithm if agent == "meta" else agent
                agents[shown] = np.stack([result[agent] for result in results if agent in result])
                row = cells(agents[shown], 1)
                print(f"| {family} | {shown} | {len(agents[shown])} | {row} |", flush=True)
        figure(family, curves, agents)


if __name__ == "__main__":
    main()
