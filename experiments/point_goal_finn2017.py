"""2-D navigation against the published figures: train, choose on validation tasks, evaluate, pool the seeds.

    .venv/bin/python experiments/point_goal_finn2017.py [--seeds 1 2 3] [--threads 2] [--runs DIR]

Each seed is trained by experiments/point-goal-finn2017.yaml (a run that exists is resumed, a finished one is
used as it is). Its checkpoint is the one with the best mean return over the adapted steps on 40 validation
tasks, with the published step sizes 0.5 / 0.25; with that checkpoint the step size of the later steps is
chosen on the same validation tasks from LATER. Both are evaluated on the 40 published test goals, 40 episodes
a step. The first seed's baselines stand beside them. Intervals are 95 % bootstrap intervals over tasks, and
for MAML over seeds too.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import metarl
from metarl.run.checkpoint import available
from metarl.run.resolve import load_config
from metarl.run.runs import resume

HERE = Path(__file__).parent
PUBLISHED = {1: -11.7, 2: -3.3, 3: -3.2}
LATER = (0.25, 0.15, 0.1, 0.05)
BASELINES = ("random", "pretrained", "oracle")
PROTOCOL: dict[str, Any] = {"tasks": 40, "steps": 3, "episodes": 40}


def trained(seed: int, threads: int, path: Path) -> None:
    """The run of one seed, finished."""
    if (path / "config.yaml").is_file():
        resume(path)
        return
    import dataclasses

    config = load_config(HERE / "point-goal-finn2017.yaml")
    metarl.train(dataclasses.replace(config, seed=seed, threads=threads), path)


def score(run: metarl.Run, later: float) -> float:
    """Mean return over the adapted steps on validation tasks."""
    evaluation = run.evaluate(split="validation", inner_lr=(0.5, later), seed=run.config.seed, **PROTOCOL)
    return float(np.mean(evaluation.mean[1:]))


def chosen(path: Path) -> tuple[int, float]:
    """The checkpoint and the later step size that do best on validation tasks; remembered in the run."""
    memory = path / "chosen.json"
    if not memory.is_file():
        by_checkpoint = {n: score(metarl.load(path, n), 0.25) for n in available(path / "checkpoints")}
        best = max(by_checkpoint, key=lambda n: by_checkpoint[n])
        by_later = {later: score(metarl.load(path, best), later) for later in LATER}
        later = max(by_later, key=lambda lr: by_later[lr])
        memory.write_text(json.dumps({"checkpoint": best, "later": later, "scores": by_checkpoint}))
        print(f"{path}: checkpoint {best}; later step size by validation return {by_later}", flush=True)
    found = json.loads(memory.read_text())
    return found["checkpoint"], found["later"]


def evaluated(path: Path) -> dict[str, np.ndarray]:
    """Returns "task step" of the agent on the test tasks, by the step sizes."""
    checkpoint, later = chosen(path)
    run = metarl.load(path, checkpoint)
    sizes = {"MAML, 0.5 / 0.25": (0.5, 0.25), "MAML, 0.5 / tuned": (0.5, later)}
    return {name: np.array(run.evaluate(inner_lr=lr, **PROTOCOL).per_task) for name, lr in sizes.items()}


def baselines(path: Path) -> dict[str, np.ndarray]:
    """Returns "task step" of the run's baselines on the test tasks."""
    run = metarl.load(path, chosen(path)[0])
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
