"""Every meta-learner on 2-D navigation: train, evaluate on the same held-out tasks, pool the seeds.

    .venv/bin/python experiments/point_goal_algorithms.py [--algorithms maml lstm ...] [--seeds 1 2 3]

Each algorithm is trained by experiments/point-goal-ALGORITHM.yaml (a run that exists is resumed, a finished
one is used as it is; what is kept in experiments/results needs none) and measured at its best checkpoint on
the 40 published test goals, 20 episodes a step, after 0 … 3 steps. Step sizes that are not learned are chosen
on validation tasks (``pooled.CHOICE``), for the meta-learned agents as for the baselines. Those of the first
MAML run stand beside it; Reptile and the LSTM, which see more episodes an iteration, have `pretrained`
networks of their own. Beside the LSTM stands its own initialisation with plain gradient descent and the best
fixed step size.
Intervals (95 %) are over tasks and seeds; differences after one and after three steps are paired by
task.
"""

import argparse
import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
from pooled import CHOICE, HERE, Measured, adapted, cells, difference, fixed, kept, trained, with_sizes

import metarl
from metarl.core.params import Meta
from metarl.run.agent.agent import build_agent
from metarl.run.evaluate.protocol import Protocol
from metarl.run.evaluate.trained_baselines import baseline_of

ALGORITHMS = ("maml", "fomaml", "promp", "meta-sgd", "anil", "e-maml", "reptile", "lstm")
COMPARED = ("maml", "fomaml", "promp")  # closer to each other than three seeds can tell
BASELINES = {
    "maml": ("random", "pretrained", "oracle"),
    "reptile": ("pretrained",),
    "lstm": ("pretrained",),
}
PROTOCOL = Protocol(split="test", tasks=40, steps=3, episodes=20, seed=1, deterministic=False)


def measured(algorithm: str, seed: int, checkpoint: str, runs: Path, threads: int) -> Measured:
    """Returns "task step" of a run, of the first MAML run's baselines, of the LSTM's start with SGD."""
    config = HERE / f"point-goal-{algorithm}.yaml"
    run = metarl.load(trained(config, runs / f"{algorithm}-{seed}", seed, threads), checkpoint)
    found = {"meta": adapted(run.agent, run.meta, PROTOCOL, algorithm)}
    if checkpoint == "last":
        return found
    if algorithm == "lstm":
        plain = build_agent(dataclasses.replace(run.config, algorithm="fomaml", rule="sgd", inner_lr=0.1))
        start = Meta(run.meta.model, {})
        sizes = fixed(plain, start, PROTOCOL)
        found["lstm's start, sgd"] = with_sizes(plain, start, PROTOCOL, "sgd", sizes)
    if seed == 1 and algorithm in BASELINES:
        suffix = "" if algorithm == "maml" else f" for {algorithm}"
        for kind in BASELINES[algorithm]:
            baseline = baseline_of(kind, run)
            found[f"{kind}{suffix}"] = adapted(baseline.agent, baseline.meta, PROTOCOL, kind)
    return found


def main() -> None:
    """Train what is not trained yet, evaluate, print a Markdown table and the paired differences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS, choices=ALGORITHMS)
    parser.add_argument(
        "--seeds", type=int, nargs="+", help=f"default: 1 to 9 of {', '.join(COMPARED)}, else 1 to 3"
    )
    parser.add_argument("--checkpoint", default="best", choices=("best", "last"), help="which is measured")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs/point-goal"))
    options = parser.parse_args()
    pooled: dict[str, np.ndarray] = {}
    print("| agent | seeds | before | step 1 | step 2 | step 3 |\n|---|---|---|---|---|---|")
    for algorithm in options.algorithms:
        results = [
            kept(
                f"point-goal-{algorithm}-{seed}{'-last' * (options.checkpoint == 'last')}",
                HERE / f"point-goal-{algorithm}.yaml",
                dataclasses.asdict(PROTOCOL) | CHOICE,
                partial(measured, algorithm, seed, options.checkpoint, options.runs, options.threads),
            )
            for seed in options.seeds or range(1, 10 if algorithm in COMPARED else 4)
        ]
        for agent in results[0]:
            name = algorithm if agent == "meta" else agent
            pooled[name] = np.stack([result[agent] for result in results if agent in result])
            print(f"| {name} | {len(pooled[name])} | {cells(pooled[name], 1)} |", flush=True)
    pairs = [(name, "maml") for name in pooled if name != "maml"]
    pairs += [("reptile", "pretrained for reptile"), ("lstm", "pretrained for lstm")]
    for one, other in [*pairs, ("lstm", "lstm's start, sgd")]:
        if one in pooled and other in pooled:
            told = difference(pooled[one], pooled[other], (1, PROTOCOL.steps), 2)
            print(f"{one} − {other} after 1 | {PROTOCOL.steps}: {told}")


if __name__ == "__main__":
    main()
