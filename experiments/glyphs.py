"""Few-shot classification of glyphs: every meta-learner beside what learns nothing and what only pretrains.

    .venv/bin/python experiments/glyphs.py [--shots 1 5] [--algorithms maml lstm ...] [--runs DIR]

Each algorithm is trained by experiments/glyphs-SHOTSshot-ALGORITHM.yaml (a run that exists is resumed, a
finished one is used as it is; what is kept in experiments/results needs none) and measured at its best
checkpoint on the same 300 test tasks, 5-way, 15 queries a class, after as many steps as its protocol takes.
Beside MAML stand the nearest neighbour in pixels and the network that was pretrained to tell all training
classes apart, fine-tuned with its best step size. Intervals (95 %) are over tasks. Printed
last: how the validation accuracy went, in quarters of the training.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pooled import HERE, Measured, cells, columns, kept, trained

import metarl

ALGORITHMS = ("maml", "fomaml", "reptile", "lstm")
BASELINES = ("nearest", "pretrained")
SEED = 1


def protocol(algorithm: str, shots: int) -> dict[str, Any]:
    """The measurement of an algorithm: its steps are those of its paper, for MAML five."""
    steps = {"reptile": 50, "lstm": 12 if shots == 1 else 5}.get(algorithm, 5)
    return {"tasks": 300, "steps": steps, "family_arg": {"ways": 5, "shots": shots, "queries": 15}}


def measured(algorithm: str, shots: int, runs: Path) -> Measured:
    """Accuracies "task step" before the first and after the last step, and how validation went."""
    name = f"glyphs-{shots}shot-{algorithm}"
    path = trained(HERE / f"{name}.yaml", runs / name, SEED, threads=1)
    options = protocol(algorithm, shots)
    agents = metarl.load(path).evaluate(baselines=BASELINES if algorithm == "maml" else (), **options).agents
    found = {kind: columns(agent["per_task"], (0, options["steps"])) for kind, agent in agents.items()}
    return found | {"validation": [quarters(path)]}


def quarters(path: Path) -> list[float]:
    """Mean validation accuracy after the last inner step in each quarter of the training."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    last = max(
        (key for key in rows[-1] if key.startswith("validation/")), key=lambda key: int(key.split("_")[1])
    )
    values = [row[last] for row in rows if last in row]
    return [float(np.mean(part)) for part in np.array_split(values, 4)]


def main() -> None:
    """Train what is not trained yet, evaluate, print a Markdown table for each number of shots."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5], choices=[1, 5])
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS, choices=ALGORITHMS)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    for shots in options.shots:
        curves = []
        print(f"\n| 5-way {shots}-shot | steps | before | after |\n|---|---|---|---|")
        for algorithm in options.algorithms:
            name, told = f"glyphs-{shots}shot-{algorithm}", protocol(algorithm, shots)
            make = partial(measured, algorithm, shots, options.runs)
            result = kept(name, HERE / f"{name}.yaml", told, make)
            curves.append((algorithm, result.pop("validation")[0]))
            for kind, values in result.items():
                agent = algorithm if kind == "meta" else kind
                print(f"| {agent} | {told['steps']} | {cells(100 * values[None], 1)} |", flush=True)
        for algorithm, curve in curves:
            print(f"{algorithm}, validation by quarters: {' '.join(f'{100 * x:.1f}' for x in curve)}")


if __name__ == "__main__":
    main()
