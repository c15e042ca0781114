"""The agents that come with metarl: train, evaluate, pack them into ``metarl/zoo``, list them in docs/zoo.md.

    .venv/bin/python experiments/zoo.py [--agents point-goal-maml ...] [--runs runs/make-zoo]

Each is trained by experiments/NAME.yaml with seed 1 (a run that exists is resumed, a finished one is used as
it is) and evaluated as ``metarl evaluate RUN --baselines random`` does. Of the run are packed its
configuration, its best checkpoint, its evaluation, and at most about a hundred of its rows, those with a
validation among them.
"""

import argparse
import json
import shutil
from pathlib import Path

from pooled import HERE, trained

from metarl.run.evaluate.evaluate import evaluate_run
from metarl.run.log.metrics_file import read_metrics
from metarl.run.results.groups import evaluation_of
from metarl.run.results.read import read_run
from metarl.run.store import checkpoint as store
from metarl.run.store.zoo import SHIPPED, agents, shipped

AGENTS = ("bandit-promp", "cartpole-params-maml", "cheetah-dir-maml", "point-goal-maml")
PAGE = HERE.parent / "docs" / "zoo.md"
START, END = "<!-- experiments/zoo.py writes this table -->\n", "<!-- end of the table -->"
ROWS = 100


def pack(run: Path, folder: Path) -> None:
    """Copy the files of a run that are read, and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    best = store.find(run / "checkpoints", "best")
    shutil.copytree(best, folder / "checkpoints" / best.name)
    shutil.copyfile(run / "config.yaml", folder / "config.yaml")
    evaluation = json.loads((run / "evaluation.json").read_text(), parse_float=_short)
    (folder / "evaluation.json").write_text(json.dumps(evaluation) + "\n")
    rows = read_metrics(run / "metrics.jsonl")
    every = -(-len(rows) // ROWS)
    kept = [row for row in rows if row["iteration"] % every == 0 or any("validation" in key for key in row)]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in kept))


def _short(number: str) -> float:
    """A measured number with seven digits, more than a report or a float32 has."""
    return float(f"{float(number):.7g}")


def table() -> str:
    """The zoo as a Markdown table, from its own evaluations."""
    lines = ["| agent | made in | measured | before | step 1 | step 2 | step 3 | size |", "|---" * 8 + "|"]
    for name in agents():
        run = read_run(shipped(name))
        size = sum(file.stat().st_size for file in shipped(name).rglob("*") if file.is_file())
        aside = f"{run.rows[-1]['iteration']} iterations", f"{size / 1000:.0f} kB"
        for agent in evaluation_of(run).results:
            values = zip(agent.mean, agent.low, agent.high, strict=True)
            cells = [f"{mean:.1f} [{low:.1f}, {high:.1f}]".replace("-", "−") for mean, low, high in values]
            first = agent.name == "meta"
            who = [f"`{name}`", aside[0], run.config["algorithm"]] if first else ["", "", "untrained"]
            lines.append(f"| {' | '.join([*who, *cells, aside[1] if first else ''])} |")
    return "\n".join(lines)


def main() -> None:
    """Make the agents that are asked for, and the table of all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--agents", nargs="+", default=AGENTS, choices=AGENTS)
    parser.add_argument("--runs", type=Path, default=Path("runs/make-zoo"))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    for name in options.agents:
        run = trained(HERE / f"{name}.yaml", options.runs / name, seed=1, threads=options.threads)
        print(evaluate_run(run, baselines=["random"]).table(), flush=True)
        pack(run, SHIPPED / name)
    before, after = PAGE.read_text().split(START)[0], PAGE.read_text().split(END)[1]
    PAGE.write_text(f"{before}{START}\n{table()}\n\n{END}{after}")
    print(PAGE)


if __name__ == "__main__":
    main()
