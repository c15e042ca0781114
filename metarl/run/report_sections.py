"""The report's sections: what was read from a run, as HTML; empty where there is nothing to show.

Each takes the run and a key that is unique within the page. What a user or a file named is escaped. Those
about single tasks are in ``report_examples``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from html import escape
from typing import Any

import numpy as np

from metarl.run import figures
from metarl.run.config import TrainConfig
from metarl.run.figures import Curve
from metarl.run.measures import measure_of
from metarl.run.report_axes import Line
from metarl.run.report_data import (
    DRAWN,
    Agent,
    RunData,
    best_iteration,
    better,
    drawn_key,
    series,
    step_keys,
    training_metric,
)
from metarl.run.report_html import both, figure, table
from metarl.run.report_numbers import Form, count, is_whole, rates, shown_steps
from metarl.run.report_protocol import agent_words, procedure
from metarl.run.report_words import commands, evaluate_command, form, per_task_words
from metarl.run.svg import tick

MACHINE = ("device", "chunk", "threads", "executor", "workers")
DIAGNOSTICS = {
    "loss": "meta-loss",
    "improvement": "meta-loss: decrease",
    "kl": "KL divergence (nats)",
    "entropy": "entropy (nats)",
    "line_search/step_fraction": "line search: step taken",
    "line_search/accepted": "line search: accepted",
    "sampling_kl": "KL, unadapted (nats)",
    "kl_coefficient": "weight of that KL",
    "grad_norm": "gradient norm",
    "grad_variance": "gradient variance",
    "step_size/mean": "learned step sizes",
    "gate/move": "learned input gate",
    "explained_variance": "explained variance",
    "seconds": "seconds an iteration",
}
MEANINGS = {field.name: field.metadata.get("text", "") for field in fields(TrainConfig)}
SHAPES = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖", "*": "★"}  # as characters


def adaptation(run: RunData, key: str) -> str:
    """Every agent's mean after each step with its interval, drawn and in a table."""
    evaluation = run.evaluation
    if evaluation is None:
        command = escape(evaluate_command(run))
        return f"<p>This run has no evaluation yet. To make one:</p>\n<pre>{command}</pre>"
    measure, names = measure_of(evaluation.metric), [agent.name for agent in evaluation.agents]
    curves = [Curve(agent.name, agent.mean, agent.low, agent.high) for agent in evaluation.agents]
    episodes = evaluation.protocol.get("episodes")
    xlabel = "steps of adaptation" + (f" ({count(episodes, 'episode')} each)" if is_whole(episodes) else "")
    interval = evaluation.protocol.get("interval", "95 % interval")
    caption = f"{measure.of_tasks.capitalize()} over the tasks after each step; bars and bands: {interval}."
    caption += " Lower is better." if measure.lower_is_better else ""
    last = max(len(agent.mean) for agent in evaluation.agents) - 1
    steps, drawn = shown_steps(last), drawn_key(run).replace("_", " ")
    if len(steps) <= last:
        caption += f" The table has the steps {', '.join(map(str, steps[:-1]))} and {last}."
    heads = ["agent", *(f"step {k}" for k in steps), "step sizes", drawn]
    rows = [_agent_row(agent, names, form(evaluation), steps) for agent in evaluation.agents]

    def draw(salt: str, width: int) -> str:
        return figures.adaptation(salt, curves, measure, xlabel, width)

    about = "; ".join(f"{name}: {words}" for name, words in agent_words(evaluation).items())
    note = f'<p class="note">{escape(about)}.</p>' if about else ""
    return f"{figure(both(f'{key}-adaptation', draw), caption)}\n{table('numbers', heads, rows)}\n{note}"


def _agent_row(agent: Agent, names: Sequence[str], form: Form, steps: Sequence[int]) -> list[str]:
    style = figures.agent_style(agent.name, names)
    look = f'class="mark" style="color: var(--{style.role})" aria-hidden="true"'
    values = zip(agent.mean.tolist(), agent.low.tolist(), agent.high.tolist(), strict=True)
    shown = [f"{form(mean)}<small>{form.interval(low, high)}</small>" for mean, low, high in values]
    cells = [shown[k] for k in steps if k < len(shown)]
    cells += ["–"] * (len(steps) - len(cells))
    cells += [_rates(agent), "–" if agent.samples is None else tick(agent.samples)]
    return [f"<span {look}>{SHAPES[style.marker]}</span>{escape(agent.name)}", *cells]


def _rates(agent: Agent) -> str:
    """The step sizes; an agent that was trained and adapts without any has learned them."""
    if agent.inner_lr:
        return ", then ".join(f"{rate:g}" for rate in rates(agent.inner_lr))
    return "–" if agent.samples is None or len(agent.mean) == 1 else "learned"


def per_task(run: RunData, key: str) -> str:
    """Each task before and after adaptation, drawn and in a table that folds."""
    values = run.evaluation.agents[0].per_task if run.evaluation else None
    if run.evaluation is None or values is None or not np.isfinite(values[:, -1] - values[:, 0]).any():
        return ""
    if values.shape[1] < 2:
        return ""
    before, after, metric, shown = values[:, 0], values[:, -1], run.evaluation.metric, form(run.evaluation)
    good, steps = better(metric, after, before), shown_steps(values.shape[1] - 1)
    heads = ["task", *(f"step {k}" for k in steps), "change"]
    rows = [
        [str(i), *(shown(row[k]) for k in steps), shown.change(row[-1] - row[0])]
        for i, row in enumerate(values.tolist(), 1)
    ]

    def draw(salt: str, width: int) -> str:
        return figures.per_task(salt, before, after, good, measure_of(metric), width)

    many = "Grey: before adaptation, the median and the middle 80 % of neighbouring tasks; line: after"
    caption = many if len(values) > figures.MANY else "Ring: before adaptation; dot: after"
    caption += "; a triangle marks a task that became worse."
    drawing = figure(both(f"{key}-tasks", draw), caption)
    folded = f"<details><summary>All tasks in numbers</summary>{table('numbers', heads, rows)}</details>"
    return f"<p>{per_task_words(before, after, metric, shown)}</p>\n{drawing}\n{folded}"


def learning(run: RunData, key: str) -> str:
    """The training tasks' values over iterations, with validation and the best checkpoint."""
    metric, drawn = training_metric(run), drawn_key(run)
    measure, keys = measure_of(metric), step_keys(run.rows, metric)
    held_out = step_keys(run.rows, f"validation/{metric}")
    chosen = sorted({0, 1, (len(keys) - 1) // 2, len(keys) - 1} & set(range(len(keys))))
    lines = [Line(f"step {k}", *series(run.rows, keys[k])) for k in chosen]
    if not any(len(line.x) for line in lines):
        return ""
    validation = Line("validation", *series(run.rows, held_out[-1])) if held_out else None
    best, used = best_iteration(run, metric), Line(DRAWN[drawn], *series(run.rows, drawn))

    def draw(salt: str, width: int) -> str:
        return figures.learning(salt, lines, validation, best, used, measure, width)

    caption = f"{measure.of_tasks.capitalize()} of the training tasks; step 0 is before adaptation."
    caption += f" Validation: other tasks, after {count(len(held_out) - 1, 'step')}." if held_out else ""
    caption += f" Best checkpoint: iteration {best}." if best is not None else ""
    return figure(both(f"{key}-learning", draw), caption)


def diagnostics(run: RunData, key: str) -> str:
    """Small figures of the keys of `DIAGNOSTICS` that some row has."""
    lines = [Line(title, *series(run.rows, name)) for name, title in DIAGNOSTICS.items()]
    present = [line for line in lines if len(line.x)]
    drawn = [f"<div>{figures.small(f'{key}-small-{i}', line)}</div>" for i, line in enumerate(present)]
    return (
        figure(
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
    words = procedure(run)
    return "\n".join(
        [
            *([f"<p>{escape(words)}</p>"] if words else []),
            f'<div class="tables">{pairs("Evaluation", evaluation)}{pairs("Machine", machine)}</div>',
            "<p>To make this run, its evaluation and this page again:</p>",
            f"<pre>{escape(chr(10).join(commands(run)))}</pre>",
            f'<details class="printed"><summary>Configuration ({count(len(rows), "value")})</summary>'
            f"{table('pairs', ['option', 'value', 'meaning'], rows)}</details>",
        ]
    )


def pairs(title: str, values: Mapping[str, Any]) -> str:
    """A table of names and values, nested ones by dotted names."""
    rows = [[escape(name.replace("_", " ")), _value(value)] for name, value in _flat(values).items()]
    return table("pairs", [title, ""], rows) if rows else ""


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
