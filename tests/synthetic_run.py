"""A run directory made of numbers that look like a run, for whatever reads one."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from metarl.run.results.comparable import protocol_hash

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


SHOTS = {"shots": 10, "queries": 10, "statistics": "batch"}


def make_lessons(
    path: Path, metric: str, agents: dict[str, list[float]] | None = None, **protocol: Any
) -> Path:
    """A run of labelled examples: 25 tasks of 20 examples an iteration, ten steps of adaptation.

    Args:
        metric: ``mse`` with fits, or ``accuracy`` with samples.
        agents: names with their means; by default two, and for accuracy the nearest neighbour too.
        protocol: what the evaluation's protocol says otherwise; `...` takes an entry away.
    """
    share = metric == "accuracy"
    after = np.arange(11.0)
    curves = {"meta": 1 - 0.8 * 0.7**after, "pretrained": 0.2 + 0.02 * after, "nearest": np.full(11, 0.55)}
    if not share:
        curves = {"meta": 4 * 0.7**after, "pretrained": 4 - 0.1 * after}
    means = {name: curve.tolist() for name, curve in curves.items()} if agents is None else agents
    told = {
        key: value for key, value in PROTOCOL.items() if key not in ("episodes", "deterministic", "horizon")
    }
    told |= {"family": "sinusoid", "tasks": 8, "steps": 10, **SHOTS, **protocol}
    told = {key: value for key, value in told.items() if value is not ...}
    evaluation: dict[str, Any] = {"metric": metric, "protocol": told, "agents": {}}
    for name, mean in means.items():
        ci = [[0.9 * value, 1.05 * value] for value in mean]
        per_task = [[value * (0.6 + 0.1 * task) for value in mean] for task in range(8)]
        found = {"mean": mean, "ci95": ci, "per_task": per_task, "inner_lr": [0.01] * (len(mean) - 1)}
        evaluation["agents"][name] = found | {"examples": 15_000}
    if share and "nearest" in means:
        evaluation["agents"]["nearest"]["inner_lr"] = []
        del evaluation["agents"]["nearest"]["examples"]
    evaluation |= {"samples": make_samples()} if share else {"fits": make_fits()}
    path = make_run(path, 0, evaluation, family="sinusoid", tasks=25, inner_lr=0.01)
    rows = [_lesson_row(i, metric) for i in range(1, 31)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _lesson_row(i: int, metric: str) -> dict[str, Any]:
    first, last = (0.2, 0.3 + 0.02 * i) if metric == "accuracy" else (4.0, 3 * 0.9**i)
    row = {"iteration": i, "examples": 500 * i, "seconds": 0.01, "loss": 1 / i, "grad_norm": 1.0}
    row |= {f"{metric}/step_0": first, f"{metric}/step_1": last}
    validation = {f"validation/{metric}/step_0": first, f"validation/{metric}/step_1": last}
    return row | (validation if i % 10 == 0 else {})


def make_fits(tasks: int = 2) -> dict[str, Any]:
    """Waves of amplitude 1, 2, …: predicted as 0 before, half as high after one step, exactly after ten."""
    x = np.linspace(-5, 5, 21)
    found = []
    for amplitude in range(1, tasks + 1):
        truth = amplitude * np.sin(x)
        points = [[value, amplitude * float(np.sin(value))] for value in (-4.0, 0.5, 3.0)]
        predictions = {"0": 0 * x, "1": truth / 2, "10": truth}
        curves = {step: values.tolist() for step, values in predictions.items()}
        found.append({"support": points, "truth": truth.tolist(), "predictions": curves})
    return {"x": x.tolist(), "tasks": found}


def make_samples() -> dict[str, Any]:
    """One task of two classes and three queries; images are 2 high and 4 wide, the n-th all of value n."""
    images = np.broadcast_to(np.arange(6, dtype=np.uint8)[:, None, None], (6, 2, 4))
    queries = [
        {"image": 3, "label": 0, "before": 0, "after": 0},
        {"image": 4, "label": 1, "before": 0, "after": 1},
        {"image": 5, "label": 1, "before": 0, "after": 0},
    ]
    packed = base64.b64encode(images.tobytes()).decode()
    tasks = [{"support": [[0, 1], [2]], "queries": queries}]
    return {"height": 2, "width": 4, "images": packed, "tasks": tasks}


def _traces(rng: np.random.Generator) -> dict[str, Any]:
    """Two tasks, three episodes each, which wander at first and walk to the goal after adaptation."""
    goals = rng.uniform(-0.5, 0.5, (2, 2))
    wander = [
        [rng.normal(0, 0.05, (30, 2)).cumsum(axis=0).round(4).tolist() for _ in range(3)] for _ in goals
    ]
    walk = [[np.linspace(0, goal, 5 + e).round(4).tolist() for e in range(3)] for goal in goals]
    return {"marks": goals.tolist(), "agents": {"meta": {"0": wander, "3": walk}}}


def make_measured(
    path: Path,
    per_task: Any,
    others: dict[str, Any] | None = None,
    told: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """A run that was evaluated: values "task step" of it and of ``others`` by name, under one protocol.

    Args:
        told: what the protocol says otherwise, or the metric.
        config: what the configuration says otherwise, such as the algorithm and the seed.
    """
    protocol = {**PROTOCOL, "name": "metarl-v1", "family_arg": {}, "step_sizes": "own", "tasks_in_all": None}
    protocol |= {"tasks": len(per_task), "steps": len(per_task[0]) - 1, **(told or {})}
    metric = protocol.pop("metric", "return")
    protocol["hash"] = protocol_hash(metric, protocol)
    agents = {}
    for name, values in {"meta": per_task, **(others or {})}.items():
        mean = np.mean(values, 0)
        agents[name] = {"mean": mean.tolist(), "ci95": [[m - 1, m + 1] for m in mean.tolist()]}
        agents[name] |= {"per_task": np.asarray(values).tolist(), "inner_lr": [0.5] * (len(mean) - 1)}
        counts = [20 * k for k in range(len(mean))]
        agents[name] |= {"episodes": counts, "episode_env_steps": [10.0 * n for n in counts]}
    return make_run(path, 30, {"metric": metric, "protocol": protocol, "agents": agents}, **config)
