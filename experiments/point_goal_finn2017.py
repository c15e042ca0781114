"""2-D navigation against the published figures: train, choose on validation tasks, evaluate, pool the seeds.

    .venv/bin/python experiments/point_goal_finn2017.py [--seeds 1 2 3] [--threads 2] [--runs DIR]

Each seed is trained by experiments/point-goal-finn2017.yaml (a run that exists is resumed, a finished one is
used as it is). Two agents are made of it, both chosen on 40 validation tasks by the return after the last
step: the best of CHECKPOINTS with the published step sizes 0.5 / 0.25, and the best of CHECKPOINTS and LATER
together, where the size of the later steps is chosen too. They are evaluated on the 40 published test goals,
40 episodes a step, beside the first seed's baselines. Intervals are 95 % bootstrap intervals over tasks, for
MAML over seeds too.
"""

import argparse
import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

import metarl
from metarl.run.resolve import load_config
from metarl.run.runs import resume

HERE = Path(__file__).parent
PUBLISHED = {1: -11.7, 2: -3.3, 3: -3.2}
PUBLISHED_SIZES, TUNED_SIZES = "MAML, 0.5 / 0.25", "MAML, 0.5 / tuned"
CHECKPOINTS = range(50, 501, 50)
LATER = (0.25, 0.15, 0.1, 0.05)
BASELINES = ("random", "pretrained", "oracle")
PROTOCOL: dict[str, Any] = {"tasks": 40, "steps": 3, "episodes": 40}


def trained(seed: int, threads: int, path: Path) -> None:
    """The run of one seed, finished."""
    if (path / "config.yaml").is_file():
        resume(path)
        return
    config = load_config(HERE / "point-goal-finn2017.yaml")
    metarl.train(dataclasses.replace(config, seed=seed, threads=threads), path)


def chosen(path: Path) -> dict[str, tuple[int, float]]:
    """Checkpoint and later step size of each agent, by validation return; remembered in the run."""
    memory = path / "selected.json"
    if not memory.is_file():
        scores = []
        for n, later in itertools.product(CHECKPOINTS, LATER):
            run = metarl.load(path, n)
            options = {"split": "validation", "inner_lr": (0.5, later), "seed": run.config.seed}
            scores.append((run.evaluate(**options, **PROTOCOL).mean[-1], n, later))
        best = {PUBLISHED_SIZES: max(s for s in scores if s[2] == 0.25), TUNED_SIZES: max(scores)}
        memory.write_text(json.dumps(best))
        print(
            f"{path}: (validation return after the last step, checkpoint, later step size) {best}", flush=True
        )
    found = json.loads(memory.read_text())
    return {name: (n, later) for name, (_, n, later) in found.items()}


def evaluated(path: Path) -> dict[str, np.ndarray]:
    """Returns "task step" of each agent on the test tasks."""
    return {
        name: np.array(metarl.load(path, n).evaluate(inner_lr=(0.5, later), **PROTOCOL).per_task)
        for name, (n, later) in chosen(path).items()
    }


def baselines(path: Path) -> dict[str, np.ndarray]:
    """Returns "task step" of the run's baselines on the test tasks."""
    run = metarl.load(path, "last")
    agents = run.evaluate(inner_lr=(0.5, 0.25), baselines=BASELINES, **PROTOCOL).agents
    return {kind: np.array(agents[kind]["per_task"]) for kind in BASELINES}


def interval(values: np.ndarray, resamples: int = 10_000) -> np.ndarray:
    """95 % bootstrap intervals "step 2" of the mean of "seed task step", over both seeds and tasks."""
    rng = np.random.default_rng(0)
    seeds, tasks, _ = values.shape
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    counts = rng.multinomial(tasks, np.full(tasks, 1 / tasks), resamples) / tasks
    means = np.einsum("rs,rt,stk->rk", weights, counts, values)
    return np.percentile(means, [2.5, 97.5], axis=0).T


def main() -> None:
    """Train what is not trained yet, evaluate, print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs/point-goal-finn2017"))
    options = parser.parse_args()
    results = []
    for seed in options.seeds:
        path = options.runs / f"seed-{seed}"
        trained(seed, options.threads, path)
        results.append(evaluated(path))
    print("| agent | before | step 1 | step 2 | step 3 |\n|---|---|---|---|---|")
    print(f"| published MAML | -40.4 | {' | '.join(str(value) for value in PUBLISHED.values())} |")
    for name in results[0]:
        print(line(name, np.stack([result[name] for result in results])), flush=True)
    for seed, result in zip(options.seeds, results, strict=True):
        for name in result:
            means = ", ".join(f"{m:.2f}" for m in result[name].mean(0))
            print(f"seed {seed}, {name}: {means}", flush=True)
    for name, values in baselines(options.runs / f"seed-{options.seeds[0]}").items():
        print(line(name, values[None]), flush=True)


def line(name: str, values: np.ndarray) -> str:
    """A row of the table from returns "seed task step"."""
    pairs = zip(values.mean((0, 1)), interval(values), strict=True)
    return f"| {name} | {' | '.join(f'{mean:.1f} [{low:.1f}, {high:.1f}]' for mean, (low, high) in pairs)} |"


if __name__ == "__main__":
    main()
