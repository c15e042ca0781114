"""The report's sections: what was read from a run, as HTML; empty where there is nothing to show.

Each takes the run and a key that is unique within the page. What a user or a file named is escaped.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from html import escape
from typing import Any

import numpy as np

from metarl.run import figures
from metarl.run.config import TrainConfig
from metarl.run.figures import NARROW, WIDE, Curve, Line
from metarl.run.report_data import (
    LOWER_IS_BETTER,
    Agent,
    RunData,
    Traces,
    best_iteration,
    better,
    series,
    step_keys,
    training_metric,
)
from metarl.run.report_words import (
    AGENTS,
    commands,
    count,
    evaluate_command,
    is_whole,
    measured,
    number,
    per_task_words,
    places,
)
from metarl.run.svg import tick

MACHINE = ("device", "chunk", "threads", "executor", "workers")
DIAGNOSTICS = {
    "loss": "meta-loss",
    "improvement": "meta-loss: decrease",
    "kl": "KL divergence (nats)",
    "entropy": "entropy (nats)",
    "line_search/step_fraction": "line search: step taken",
    "line_search/accepted": "line search: accepted",
    "grad_norm": "gradient norm",
    "explained_variance": "explained variance",
    "seconds": "seconds an iteration",
}
MEANINGS = {field.name: field.metadata.get("text", "") for field in fields(TrainConfig)}
SHAPES = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖"}  # markers as characters
SHOWN_TASKS, SHOWN_EPISODES = 6, 10  # as paths in the plane


def adaptation(run: RunData, key: str) -> str:
    """Every agent's mean after each step with its interval, drawn and in a table."""
    evaluation = run.evaluation
    if evaluation is None:
        command = escape(evaluate_command(run))
        return f"<p>This run has no evaluation yet. To make one:</p>\n<pre>{command}</pre>"
    title, names = measured(evaluation.metric), [agent.name for agent in evaluation.agents]
    curves = [Curve(agent.name, agent.mean, agent.low, agent.high) for agent in evaluation.agents]
    episodes = evaluation.protocol.get("episodes")
    xlabel = "steps of adaptation" + (f" ({count(episodes, 'episode')} each)" if is_whole(episodes) else "")
    interval = evaluation.protocol.get("interval", "95 % interval")
    caption = f"{title.capitalize()} over the tasks after each step; bars and bands: {interval}."
    caption += " Lower is better." if evaluation.metric in LOWER_IS_BETTER else ""
    about = [f"{name}: {AGENTS[name]}" for name in names if name in AGENTS]
    digits, steps = places(evaluation), max(len(agent.mean) for agent in evaluation.agents)
    heads = ["agent", *(f"step {k}" for k in range(steps)), "step sizes", "env steps"]
    table = _table("numbers", heads, [_agent_row(agent, names, digits, steps) for agent in evaluation.agents])

    def draw(salt: str, width: int) -> str:
        return figures.adaptation(salt, curves, title, xlabel, width)

    note = f'<p class="note">{escape("; ".join(about))}.</p>' if about else ""
    return f"{_figure(_both(f'{key}-adaptation', draw), caption)}\n{table}\n{note}"


def _agent_row(agent: Agent, names: Sequence[str], digits: int, steps: int) -> list[str]:
    style = figures.agent_style(agent.name, names)
    look = f'class="mark" style="color: var(--{style.role})" aria-hidden="true"'
    values = zip(agent.mean.tolist(), agent.low.tolist(), agent.high.tolist(), strict=True)
    shown = [[number(value, digits) for value in three] for three in values]
    cells = [f"{mean}<small>{low} to {high}</small>" for mean, low, high in shown]
    cells += ["–"] * (steps - len(cells))
    cells += [", ".join(f"{rate:g}" for rate in agent.inner_lr) or "–"]
    cells += ["–" if agent.env_steps is None else tick(agent.env_steps)]
    return [f"<span {look}>{SHAPES[style.marker]}</span>{escape(agent.name)}", *cells]


def paths(run: RunData, key: str) -> str:
    """The trained agent's episodes in the plane, a figure a task."""
    traces = run.evaluation.traces if run.evaluation else None
    if traces is None or not traces.before:
        return ""
    box, labels = _box(traces), ("before", f"after {count(traces.steps, 'step')}")
    tasks = zip(traces.before[:SHOWN_TASKS], traces.after, traces.goals, strict=False)
    drawn = []
    for i, (before, after, goal) in enumerate(tasks, 1):
        shown = before[:SHOWN_EPISODES], after[:SHOWN_EPISODES]
        drawn += [f"<div><p>task {i}</p>{figures.trace(f'{key}-path-{i}', *shown, goal, box, labels)}</div>"]
    ranges = [" to ".join(number(float(v), 2) for v in box[:, axis]) for axis in (0, 1)]
    caption = (
        "Each line is an episode, faint where it begins (ring) and strong where it ends (dot); the cross is "
        f"the goal. Every panel shows x from {ranges[0]} and y from {ranges[1]}."
    )
    return _figure(f'<div class="grid paths">{"".join(drawn)}</div>', caption)


def _box(traces: Traces) -> figures.Array:
    """The square that holds every shown point, with a margin: [[left, bottom], [right, top]]."""
    shown = [*traces.before[:SHOWN_TASKS], *traces.after[:SHOWN_TASKS]]
    points = [path for task in shown for path in task[:SHOWN_EPISODES]]
    goals = [goal[None] for goal in traces.goals[:SHOWN_TASKS] if goal is not None]
    every = np.concatenate([*points, *goals, np.zeros((0, 2))])
    if not len(every):
        return np.array([[-1.0, -1.0], [1.0, 1.0]])
    low, high = every.min(axis=0), every.max(axis=0)
    half = 0.55 * (max(float((high - low).max()), 1e-6))
    return np.stack([(low + high) / 2 - half, (low + high) / 2 + half])


def per_task(run: RunData, key: str) -> str:
    """Each task before and after adaptation, drawn and in a table that folds."""
    values = run.evaluation.agents[0].per_task if run.evaluation else None
    if run.evaluation is None or values is None or not np.isfinite(values[:, -1] - values[:, 0]).any():
        return ""
    if values.shape[1] < 2:
        return ""
    before, after, metric, digits = values[:, 0], values[:, -1], run.evaluation.metric, places(run.evaluation)
    good = better(metric, after, before)
    heads = ["task", *(f"step {k}" for k in range(values.shape[1])), "change"]
    rows = [
        [str(i), *(number(value, digits) for value in [*row, row[-1] - row[0]])]
        for i, row in enumerate(values.tolist(), 1)
    ]

    def draw(salt: str, width: int) -> str:
        return figures.per_task(salt, before, after, good, metric, width)

    caption = "Ring: before adaptation; dot: after; a triangle marks a task that became worse."
    figure = _figure(_both(f"{key}-tasks", draw), caption)
    folded = f"<details><summary>All tasks in numbers</summary>{_table('numbers', heads, rows)}</details>"
    return f"<p>{per_task_words(before, after, metric, digits)}</p>\n{figure}\n{folded}"


def learning(run: RunData, key: str) -> str:
    """The training tasks' values over iterations, with validation and the best checkpoint."""
    metric = training_metric(run)
    title, keys, held_out = (
        measured(metric),
        step_keys(run.rows, metric),
        step_keys(run.rows, f"validation/{metric}"),
    )
    chosen = sorted({0, 1, (len(keys) - 1) // 2, len(keys) - 1} & set(range(len(keys))))
    lines = [Line(f"step {k}", *series(run.rows, keys[k])) for k in chosen]
    if not any(len(line.x) for line in lines):
        return ""
    validation = Line("validation", *series(run.rows, held_out[-1])) if held_out else None
    best, used = best_iteration(run, metric), Line("env_steps", *series(run.rows, "env_steps"))

    def draw(salt: str, width: int) -> str:
        return figures.learning(salt, lines, validation, best, used, title, width)

    caption = f"{title.capitalize()} of the training tasks; step 0 is before adaptation."
    caption += f" Validation: other tasks, after {count(len(held_out) - 1, 'step')}." if held_out else ""
    caption += f" Best checkpoint: iteration {best}." if best is not None else ""
    return _figure(_both(f"{key}-learning", draw), caption)


def diagnostics(run: RunData, key: str) -> str:
    """Small figures of the keys of `DIAGNOSTICS` that some row has."""
    lines = [Line(title, *series(run.rows, name)) for name, title in DIAGNOSTICS.items()]
    present = [line for line in lines if len(line.x)]
    drawn = [f"<div>{figures.small(f'{key}-small-{i}', line)}</div>" for i, line in enumerate(present)]
    return (
        _figure(
            f'<div class="grid">{"".join(drawn)}</div>',
            "All over iterations; of a long run the median and the middle 80 % of neighbouring ones.",
        )
        if drawn
        else ""
    )


def protocol(run: RunData, key: str) -> str:
    """How it was measured, on what machine, with which configuration, and how to make it again."""
    evaluation = dict(run.evaluation.protocol) if run.evaluation else {}
    machine = {name: run.config[name] for name in MACHINE if name in run.config} | dict(run.machine)
    config = _flat(run.config)
    rows = [[escape(name), _value(value), escape(MEANINGS.get(name, ""))] for name, value in config.items()]
    return "\n".join(
        [
            f'<div class="tables">{_pairs("Evaluation", evaluation)}{_pairs("Machine", machine)}</div>',
            "<p>To make this run, its evaluation and this page again:</p>",
            f"<pre>{escape(chr(10).join(commands(run)))}</pre>",
            f'<details class="printed"><summary>Configuration ({count(len(rows), "value")})</summary>'
            f"{_table('pairs', ['option', 'value', 'meaning'], rows)}</details>",
        ]
    )


def _pairs(title: str, values: Mapping[str, Any]) -> str:
    rows = [[escape(name.replace("_", " ")), _value(value)] for name, value in _flat(values).items()]
    return _table("pairs", [title, ""], rows) if rows else ""


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, dict) and value
        flat |= _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def _value(value: Any) -> str:
    """A configuration value as people write it."""
    words = {None: "–", True: "yes", False: "no"}
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(entry) for entry in value) or "–"
    if isinstance(value, dict):
        return "–"
    return words[value] if value is None or isinstance(value, bool) else escape(str(value))


def _table(kind: str, heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells that are HTML already; the first cell is the row's name. A wide table scrolls alone."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heads)
    cells = [(first, "".join(f"<td>{cell}</td>" for cell in rest)) for first, *rest in rows]
    body = "".join(f'<tr><th scope="row">{first}</th>{rest}</tr>\n' for first, rest in cells)
    table = f'<table class="{kind}"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _both(salt: str, draw: Callable[[str, int], str]) -> str:
    """A figure for a desktop's column and one for a phone's; the style sheet shows one of them."""
    wide, narrow = draw(f"{salt}-wide", WIDE), draw(f"{salt}-narrow", NARROW)
    return f'<div class="wide">{wide}</div>\n<div class="narrow">{narrow}</div>'


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}\n<figcaption>{escape(caption)}</figcaption></figure>"
