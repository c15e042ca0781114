"""Sinusoid regression against the published figures: train every algorithm, evaluate, pool the seeds.

    .venv/bin/python experiments/sinusoid.py [--algorithms maml meta-sgd ...] [--seeds 1 2 3] [--runs DIR]

Each algorithm is trained by experiments/sinusoid-ALGORITHM.yaml (a run that exists is resumed, a finished
one is used as it is; what is kept in experiments/results needs none) and measured at its best checkpoint on
600 test tasks with five shots after 0 … 10 steps; Reptile with ten shots after 0 … 32 steps, as in its own
protocol. Beside MAML stand the baselines of its first seed, on the same tasks with their best step sizes.
Intervals (95 %) are over tasks and seeds; differences after five steps are paired by task.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pooled import HERE, Measured, cells, columns, difference, kept, trained

import metarl

ALGORITHMS = ("maml", "fomaml", "meta-sgd", "lstm", "reptile")
PUBLISHED = {"maml": {1: 0.67, 5: 0.38, 10: 0.35}, "pretrained": {1: 2.41, 5: 2.23, 10: 2.19}}
BASELINES = ("random", "pretrained", "oracle")
OWN: dict[str, Any] = {"tasks": 600, "steps": 10, "family_arg": {"shots": 5, "queries": 100}}
REPTILE: dict[str, Any] = {"tasks": 600, "steps": 32, "family_arg": {"shots": 10, "queries": 100}}


def protocol(algorithm: str) -> tuple[dict[str, Any], tuple[int, ...]]:
    """The measurement of an algorithm, and the steps that are reported."""
    return (REPTILE, (0, 1, 5, 10, 32)) if algorithm == "reptile" else (OWN, (0, 1, 5, 10))


def measured(algorithm: str, seed: int, runs: Path) -> Measured:
    """Mean squared errors "task step" of a run, and of the first MAML run's baselines."""
    path = trained(HERE / f"sinusoid-{algorithm}.yaml", runs / f"sinusoid-{algorithm}-{seed}", seed)
    options, steps = protocol(algorithm)
    baselines = BASELINES if (algorithm, seed) == ("maml", 1) else ()
    agents = metarl.load(path).evaluate(baselines=baselines, **options).agents
    return {name: columns(agent["per_task"], steps) for name, agent in agents.items()}


def line(name: str, values: np.ndarray, steps: tuple[int, ...]) -> str:
    """A row of the table from mean squared errors "seed task step"."""
    published = PUBLISHED.get(name, {})
    told = " / ".join(str(published[k]) for k in steps if k in published) or "–"
    return f"| {name} | {len(values)} | {cells(values, 3)} | {told} |"


def main() -> None:
    """Train what is not trained yet, evaluate, print Markdown tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS, choices=ALGORITHMS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    found: dict[str, np.ndarray] = {}
    for algorithm in options.algorithms:
        told, steps = protocol(algorithm)
        results = [
            kept(
                f"sinusoid-{algorithm}-{seed}",
                HERE / f"sinusoid-{algorithm}.yaml",
                {**told, "reported": steps},
                partial(measured, algorithm, seed, options.runs),
            )
            for seed in options.seeds
        ]
        found[algorithm] = np.stack([result["meta"] for result in results])
        if algorithm in ("maml", "reptile"):
            print(f"| | seeds | {' | '.join(f'step {k}' for k in steps)} | published |")
            print(f"|---|---|{'---|' * len(steps)}---|")
        print(line(algorithm, found[algorithm], steps), flush=True)
        for kind in BASELINES:
            if kind in results[0]:
                print(line(kind, results[0][kind][None], steps), flush=True)
    for algorithm in ("fomaml", "meta-sgd", "lstm"):
        if algorithm in found and "maml" in found:
            told = difference(found[algorithm], found["maml"], (OWN_STEPS.index(5),), 3)
            print(f"{algorithm} − maml after 5 steps: {told}")


OWN_STEPS = protocol("maml")[1]

if __name__ == "__main__":
    main()
