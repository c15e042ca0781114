"""The figures of robots.py: how training went, and adaptation beside the baselines, a row of two panels."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pooled import KEPT, interval

FIGURES = Path(__file__).parent / "figures"
SPAN = 5  # iterations that a point of a training curve averages over
COLOURS = {
    "maml": "#1f5fa8",
    "fomaml": "#d1731d",
    "promp": "#8c5a45",
    "meta-sgd": "#c9a500",
    "anil": "#1797a8",
    "e-maml": "#7a8f3a",
    "reptile": "#2d8a57",
    "lstm": "#a13b7c",
    "pretrained": "#6b6b6b",
    "random": "#a9a9a9",
    "oracle": "#111111",
}

Training = dict[str, list[float]]  # "iteration", and "step_k" for the return after k steps


def training(name: str, run: Path) -> Training:
    """A run's training curve, means of ``SPAN`` iterations: of the run if it is there, else as kept."""
    path = KEPT / f"{name}-training.json"
    if not (run / "metrics.jsonl").is_file():
        return dict(json.loads(path.read_text()))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    blocks = [rows[i : i + SPAN] for i in range(0, len(rows) - SPAN + 1, SPAN)]
    found: Training = {"iteration": [block[-1]["iteration"] for block in blocks]}
    steps = [key for key in rows[0] if key.startswith("return/step_")]
    for key in steps:
        means = [np.nanmean([row[key] for row in block]) for block in blocks]
        found[key.removeprefix("return/")] = [float(f"{mean:.5g}") for mean in means]
    path.write_text(json.dumps(found) + "\n")
    return found


def figure(family: str, curves: dict[str, list[Training]], agents: dict[str, np.ndarray]) -> Path:
    """Draw a family's figure.

    Args:
        curves: the training curves of each algorithm, one a seed.
        agents: returns "seed task step" of each agent.
    """
    with plt.rc_context({"font.size": 9, "svg.hashsalt": family, "svg.fonttype": "none"}):
        drawing, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.3), layout="constrained")
        for agent, runs in curves.items():
            _training(left, agent, runs)
        left.set(xlabel="iteration", ylabel="return in training", title=f"{family}: before (thin), after")
        for agent, values in agents.items():
            _adaptation(right, agent, values)
        steps = max(values.shape[2] for values in agents.values())
        right.set(xlabel="gradient steps", ylabel="return on held-out tasks", title="adaptation")
        right.set_xticks(range(steps))
        return finished(drawing, family)


def finished(drawing: Figure, name: str) -> Path:
    """Dress a drawing, with a legend beside its last axes, and put it among the figures."""
    drawing.axes[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for axes in drawing.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#dddddd", linewidth=0.6)
    FIGURES.mkdir(exist_ok=True)
    path = FIGURES / f"{name}.svg"
    drawing.savefig(path, metadata={"Date": None}, facecolor="white")
    plt.close(drawing)
    return path


def _training(axes: Axes, agent: str, runs: list[Training]) -> None:
    """Mean over seeds, and each seed where there are several."""
    last = max(key for key in runs[0] if key.startswith("step_"))
    points = min(len(run["iteration"]) for run in runs)
    x = runs[0]["iteration"][:points]
    for key, width in (("step_0", 0.8), (last, 1.8)):
        values = np.array([run[key][:points] for run in runs])
        axes.plot(x, values.mean(0), color=COLOURS[agent], linewidth=width)
        if len(runs) > 1 and key == last:
            axes.plot(x, values.T, color=COLOURS[agent], linewidth=0.6, alpha=0.35)


def _adaptation(axes: Axes, agent: str, values: np.ndarray) -> None:
    """Mean over seeds and tasks with its interval."""
    dashes = "--" if agent in ("pretrained", "random", "oracle") else "-"
    x, bounds = np.arange(values.shape[2]), interval(values)
    shade = COLOURS[agent]
    axes.fill_between(x, bounds[:, 0], bounds[:, 1], color=shade, alpha=0.12, linewidth=0)
    label = f"{agent} ({len(values)} seeds)" if len(values) > 1 else agent
    axes.plot(x, values.mean((0, 1)), color=shade, linestyle=dashes, marker="o", markersize=3, label=label)
