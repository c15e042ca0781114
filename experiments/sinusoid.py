"""Sinusoid regression against the published figures: train every algorithm, evaluate, pool the seeds.

    .venv/bin/python experiments/sinusoid.py [--algorithms maml meta-sgd ...] [--seeds 1 2 3] [--runs DIR]

Each algorithm is trained by experiments/sinusoid-ALGORITHM.yaml (a run that exists is resumed, a finished
one is used as it is) and measured at its best checkpoint on 600 test tasks with five shots after 0 … 10
steps; Reptile with ten shots after 0 … 32 steps, as in its own protocol. Beside MAML stands the pretrained
network of its first seed, fine-tuned on the same tasks with its best step size. Intervals are 95 %
bootstrap intervals over tasks and seeds; those of differences after five steps are paired by task, with the
mean over seeds of each task.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from point_goal_finn2017 import interval

import metarl
from metarl.run.resolve import load_config
from metarl.run.runs import resume

HERE = Path(__file__).parent
ALGORITHMS = ("maml", "fomaml", "meta-sgd", "lstm", "reptile")
PUBLISHED = {"maml": {1: 0.67, 5: 0.38, 10: 0.35}, "pretrained": {1: 2.41, 5: 2.23, 10: 2.19}}
BASELINES = ("random", "pretrained", "oracle")
OWN: dict[str, Any] = {"tasks": 600, "steps": 10, "family_arg": {"shots": 5, "queries": 100}}
REPTILE: dict[str, Any] = {"tasks": 600, "steps": 32, "family_arg": {"shots": 10, "queries": 100}}


def trained(algorithm: str, seed: int, path: Path) -> None:
    """The run of one algorithm and seed, finished."""
    if (path / "config.yaml").is_file():
        resume(path)
        return
    options = {"seed": seed, "threads": 1}
    config = load_config(HERE / f"sinusoid-{algorithm}.yaml")
    metarl.train(metarl.TrainConfig(**{**vars(config), **options}), path)


def line(name: str, values: np.ndarray, steps: tuple[int, ...]) -> str:
    """A row of the table from mean squared errors "seed task step"."""
    bounds = interval(values)
    cells = [f"{values[..., k].mean():.3f} [{bounds[k, 0]:.3f}, {bounds[k, 1]:.3f}]" for k in steps]
    published = PUBLISHED.get(name, {})
    told = " / ".join(str(published[k]) for k in steps if k in published) or "–"
    return f"| {name} | {len(values)} | {' | '.join(cells)} | {told} |"


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
        protocol, steps = (REPTILE, (0, 1, 5, 10, 32)) if algorithm == "reptile" else (OWN, (0, 1, 5, 10))
        of_seeds = []
        for seed in options.seeds:
            path = options.runs / f"sinusoid-{algorithm}-{seed}"
            trained(algorithm, seed, path)
            of_seeds.append(np.array(metarl.load(path).evaluate(**protocol).per_task))
        found[algorithm] = np.stack(of_seeds)
        if algorithm in ("maml", "reptile"):
            print(f"| | seeds | {' | '.join(f'step {k}' for k in steps)} | published |")
            print(f"|---|---|{'---|' * len(steps)}---|")
        print(line(algorithm, found[algorithm], steps), flush=True)
        if algorithm == "maml":
            path = options.runs / f"sinusoid-maml-{options.seeds[0]}"
            agents = metarl.load(path).evaluate(baselines=BASELINES, **protocol).agents
            for kind in BASELINES:
                print(line(kind, np.array(agents[kind]["per_task"])[None], steps), flush=True)
    for algorithm in ("fomaml", "meta-sgd", "lstm"):
        if algorithm in found and "maml" in found:
            difference = found[algorithm].mean(0, keepdims=True) - found["maml"].mean(0, keepdims=True)
            low, high = interval(difference)[5]
            mean = difference[..., 5].mean()
            print(f"{algorithm} − maml after 5 steps: {mean:.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
