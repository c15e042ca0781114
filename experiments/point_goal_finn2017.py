"""2-D navigation against the published figures: train, choose on validation tasks, evaluate, pool the seeds.

    .venv/bin/python experiments/point_goal_finn2017.py [--seeds 1 2 3] [--threads 2] [--runs DIR]

Each seed is trained by experiments/point-goal-finn2017.yaml (a run that exists is resumed, a finished one is
used as it is; what is kept in experiments/results needs none). Two agents are made of it, both chosen on 40
validation tasks by the return after the last step: the best of CHECKPOINTS with the published step sizes
0.5 / 0.25, and the best of CHECKPOINTS and LATER together, where the size of the later steps is chosen too.
They are evaluated on the 40 published test goals, 40 episodes a step, beside the first seed's baselines.
Intervals (95 %) are over tasks, for MAML over seeds too.
"""

import argparse
import itertools
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pooled import HERE, Measured, cells, kept, trained

import metarl

CONFIG = HERE / "point-goal-finn2017.yaml"
PUBLISHED = {1: -11.7, 2: -3.3, 3: -3.2}
PUBLISHED_SIZES, TUNED_SIZES = "MAML, 0.5 / 0.25", "MAML, 0.5 / chosen"
CHECKPOINTS = range(50, 501, 50)
LATER = (0.25, 0.15, 0.1, 0.05)
BASELINES = ("random", "pretrained", "oracle")
PROTOCOL: dict[str, Any] = {"tasks": 40, "steps": 3, "episodes": 40}


def chosen(path: Path) -> dict[str, tuple[float, int, float]]:
    """Validation return, checkpoint and later step size of each agent."""
    scores = []
    for n, later in itertools.product(CHECKPOINTS, LATER):
        run = metarl.load(path, n)
        options = {"split": "validation", "inner_lr": (0.5, later), "seed": run.config.seed}
        scores.append((run.evaluate(**options, **PROTOCOL).mean[-1], n, later))
    best = {PUBLISHED_SIZES: max(s for s in scores if s[2] == 0.25), TUNED_SIZES: max(scores)}
    print(f"{path}: (validation return after the last step, checkpoint, later step size) {best}", flush=True)
    return best


def measured(seed: int, runs: Path, threads: int) -> Measured:
    """Returns "task step" of each agent of a seed on the test tasks; the first seed's baselines too."""
    path = trained(CONFIG, runs / f"seed-{seed}", seed, threads)
    found = {
        name: metarl.load(path, n).evaluate(inner_lr=(0.5, later), **PROTOCOL).per_task
        for name, (_, n, later) in chosen(path).items()
    }
    if seed == 1:
        run = metarl.load(path, "last")
        agents = run.evaluate(inner_lr=(0.5, 0.25), baselines=BASELINES, **PROTOCOL).agents
        found |= {kind: agents[kind]["per_task"] for kind in BASELINES}
        print({kind: agents[kind]["inner_lr"] for kind in BASELINES}, flush=True)
    return found


def main() -> None:
    """Train what is not trained yet, evaluate, print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs/point-goal-finn2017"))
    options = parser.parse_args()
    told = PROTOCOL | {"checkpoints": list(CHECKPOINTS), "later": LATER, "baselines": BASELINES}
    results = [
        kept(
            f"point-goal-finn2017-{seed}",
            CONFIG,
            told,
            partial(measured, seed, options.runs, options.threads),
        )
        for seed in options.seeds
    ]
    print("| agent | before | step 1 | step 2 | step 3 |\n|---|---|---|---|---|")
    print(f"| published MAML | -40.4 | {' | '.join(str(value) for value in PUBLISHED.values())} |")
    for name in (PUBLISHED_SIZES, TUNED_SIZES):
        print(f"| {name} | {cells(np.stack([result[name] for result in results]), 1)} |")
    for kind in BASELINES:
        if kind in results[0]:
            print(f"| {kind} | {cells(results[0][kind][None], 1)} |")
    for seed, result in zip(options.seeds, results, strict=True):
        for name in (PUBLISHED_SIZES, TUNED_SIZES):
            means = ", ".join(f"{m:.2f}" for m in result[name].mean(0))
            print(f"seed {seed}, {name}: {means}")


if __name__ == "__main__":
    main()
