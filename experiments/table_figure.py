"""The figure of full_table.py: returns on held-out tasks by episodes of the task that were consumed."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from pooled import interval
from robot_figures import COLOURS, finished

SHADES = COLOURS | {
    "sb3-pretrained": "#c44e52",
    "sb3-scratch": "#b59a3b",
    "rl2": "#5b3fd6",
}
DASHED = ("random", "pretrained", "oracle", "sb3-pretrained", "sb3-scratch")


def figure(family: str, agents: dict[str, np.ndarray], episodes: int) -> Path:
    """Draw a family's agents, and return the file.

    Args:
        agents: returns "seed task step" of each, of rl2 "seed task episode"; those without a colour are left
            out.
        episodes: a step.
    """
    name = f"{family}-episodes"
    with plt.rc_context({"font.size": 9, "svg.hashsalt": name, "svg.fonttype": "none"}):
        drawing, axes = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
        for agent in sorted(agents.keys() & SHADES.keys(), key=list(SHADES).index):
            values, shade, apart = agents[agent], SHADES[agent], 1 if agent == "rl2" else episodes
            x, bounds = apart * np.arange(values.shape[2]), interval(values)
            axes.fill_between(x, bounds[:, 0], bounds[:, 1], color=shade, alpha=0.12, linewidth=0)
            line = {"linestyle": "--" if agent in DASHED else "-", "color": shade, "label": agent}
            mark = {"marker": "o", "markersize": 3} if apart > 1 else {}
            axes.plot(x, values.mean((0, 1)), **line, **mark)
        axes.set(xlabel="episodes of the task consumed", ylabel="return on held-out tasks", title=family)
        return finished(drawing, name)
