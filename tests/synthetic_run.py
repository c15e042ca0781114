"""A run directory made of numbers that look like a run, for whatever reads one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

AGENTS = {
    "meta": (-40.1, -12.3, -8.2, -7.4),
    "random": (-82.7, -58.0, -53.8, -46.8),
    "pretrained": (-40.0, -35.6, -34.5, -33.9),
    "oracle": (-3.1, -2.9, -2.6, -2.3),
}
PROTOCOL = {
    "algorithm": "maml",
    "family": "point-goal",
    "spec": "finn2017",
    "split": "test",
    "tasks": 8,
    "steps": 3,
    "episodes": 20,
    "seed": 1,
    "deterministic": False,
    "checkpoint": "best (iteration 20)",
    "horizon": 100,
    "tasks_seen_in_training": False,
    "interval": "95 % bootstrap over tasks",
    "inner_lr_grid": [0.1, 0.25, 0.5],
}


def make_run(
    path: Path, iterations: int = 30, evaluation: dict[str, Any] | None = None, **config: Any
) -> Path:
    """Write config.yaml, machine.json, metrics.jsonl and, unless `evaluation` is empty, evaluation.json."""
    path.mkdir(parents=True)
    values = {"algorithm": "maml", "family": "point-goal", "spec": "finn2017", "family_arg": {}, "seed": 1}
    values |= {"tasks": 20, "episodes": 20, "inner_lr": 0.5, "hidden": [64, 64], "device": "auto"}
    (path / "config.yaml").write_text(yaml.safe_dump({**values, **config}, sort_keys=False))
    machine = {"processor": "Some CPU at 3 GHz", "torch": "2.13.0", "device": "cpu", "threads": 2}
    (path / "machine.json").write_text(json.dumps(machine))
    rows = "".join(json.dumps(row) + "\n" for row in make_rows(iterations))
    (path / "metrics.jsonl").write_text(rows)
    evaluation = make_evaluation() if evaluation is None else evaluation
    if evaluation:
        (path / "evaluation.json").write_text(json.dumps(evaluation))
    return path


def make_rows(iterations: int) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl, every tenth with a validation; the best of those is the twentieth."""
    rng = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for i in range(1, iterations + 1):
        gain = 26 * (1 - np.exp(-i / 10))
        row = {"iteration": i, "env_steps": 80_000 * i, "seconds": 1.4 + 0.1 * rng.random()}
        row |= {"return/step_0": -40 + rng.normal(), "return/step_1": -39 + gain + rng.normal()}
        row |= {"loss": rng.normal(-0.02, 0.01), "kl": 0.01 - 0.001 * rng.random(), "entropy": 2.8 - 0.01 * i}
        row |= {"grad_norm": rng.gamma(2, 0.3), "line_search/step_fraction": 0.8 ** int(rng.integers(0, 3))}
        row |= {"line_search/accepted": True, "explained_variance": 1 - 0.5 * float(np.exp(-i / 20))}
        if i % 10 == 0:
            row |= {"validation/return/step_0": -40.0, "validation/return/step_1": -15.0 - abs(i - 20)}
        rows.append(row)
    return rows


def make_evaluation(tasks: int = 8, traces: bool = True) -> dict[str, Any]:
    """evaluation.json of four agents whose means are exactly `AGENTS`."""
    rng = np.random.default_rng(5)
    agents = {}
    for name, means in AGENTS.items():
        noise = rng.normal(0, 3, (tasks, len(means)))
        per_task = np.array(means) + noise - noise.mean(axis=0)
        ci = [[mean - 2.05, mean + 1.95] for mean in means]
        agents[name] = {"mean": list(means), "ci95": ci, "per_task": per_task.tolist()}
        agents[name] |= {"inner_lr": [0.5, 0.25, 0.25], "env_steps": 8_000_000}
    found: dict[str, Any] = {"metric": "return", "protocol": {**PROTOCOL, "tasks": tasks}, "agents": agents}
    found["metrics"] = {f"return/step_{k}": mean for k, mean in enumerate(AGENTS["meta"])}
    return found | ({"traces": _traces(rng)} if traces else {})


def _traces(rng: np.random.Generator) -> dict[str, Any]:
    """Two tasks, three episodes each, which wander at first and walk to the goal after adaptation."""
    goals = rng.uniform(-0.5, 0.5, (2, 2))
    wander = [
        [rng.normal(0, 0.05, (30, 2)).cumsum(axis=0).round(4).tolist() for _ in range(3)] for _ in goals
    ]
    walk = [[np.linspace(0, goal, 5 + e).round(4).tolist() for e in range(3)] for goal in goals]
    return {"marks": goals.tolist(), "agents": {"meta": {"0": wander, "3": walk}}}
