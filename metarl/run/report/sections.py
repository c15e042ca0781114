"""The report's sections: what was read from a run, as HTML; empty where there is nothing to show.

Each takes the run and a key that is unique within the page. What a user or a file named is escaped. Those
about single tasks are in ``report_examples``.
"""

from collections.abc import Sequence
from dataclasses import fields
from html import escape

import numpy as np

from metarl.run.config.train_config import TrainConfig
from metarl.run.log.curve import VALIDATION
from metarl.run.log.measures import SAMPLES, Measure
from metarl.run.report import figures
from metarl.run.report.figures import Band
from metarl.run.report.html import cell, figure, flat, grid, legend, looks, mark, pairs, table
from metarl.run.report.words import agent_words, form, protocol_words, steps_label
from metarl.run.results.evaluation import AgentResult
from metarl.run.results.next_commands import commands, evaluate_command
from metarl.run.results.numbers import Form, count, rates, shown_steps, tick
from metarl.run.results.pictures import Array
from metarl.run.results.read import RunData, best_iteration, curve_series, series

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
OPTIONS = {field.name: field.metadata.get("text", "") for field in fields(TrainConfig)}


def adaptation(run: RunData, key: str) -> str:
    """Show every agent's mean after each step with its interval, drawn and in a table."""
    evaluation = run.evaluation
    if evaluation is None:
        command = escape(evaluate_command(run))
        return f"<p>This run has no evaluation yet. To make one:</p>\n<pre>{command}</pre>"
    agents, measure, protocol = evaluation.results, evaluation.measure, evaluation.protocol
    bands = [Band(agent.name, agent.mean, agent.low, agent.high) for agent in agents]
    interval = protocol.get("interval", "95 % interval")
    caption = f"{measure.of_tasks.capitalize()} over the tasks after each step; bars and bands: {interval}."
    caption += " Lower is better." if measure.lower_is_better else ""
    last = max(len(agent.mean) for agent in agents) - 1
    steps = shown_steps(last)
    if len(steps) <= last:
        caption += f" The table has the steps {', '.join(map(str, steps[:-1]))} and {last}."
    heads = ["agent", *(f"step {k}" for k in steps), "step sizes", run.samples_key.replace("_", " ")]
    styled = list(zip(agents, looks(len(agents)), strict=True))
    rows = [[mark(look, agent.name), *_agent_cells(agent, form(evaluation), steps)] for agent, look in styled]
    descriptions = "; ".join(f"{name}: {words}" for name, words in agent_words(evaluation).items())
    note = f'<p class="note">{escape(descriptions)}.</p>' if descriptions else ""
    drawing = adaptation_figure(f"{key}-adaptation", bands, measure, steps_label(protocol), caption)
    return f"{drawing}\n{table('numbers', heads, rows)}\n{note}"


def adaptation_figure(name: str, bands: Sequence[Band], measure: Measure, xlabel: str, caption: str) -> str:
    """Return the figure of several means over steps with its legend."""
    chosen = looks(len(bands))
    names = legend((band.name, look) for band, look in zip(bands, chosen, strict=True))
    return figure(names + figures.adaptation(name, bands, chosen, measure, xlabel), caption)


def _agent_cells(agent: AgentResult, write: Form, steps: Sequence[int]) -> list[str]:
    values = zip(agent.mean.tolist(), agent.low.tolist(), agent.high.tolist(), strict=True)
    written = [f"{write(mean)}<small>{write.interval(low, high)}</small>" for mean, low, high in values]
    cells = [written[k] if k < len(written) else "–" for k in steps]
    return [*cells, _rates(agent), "–" if agent.samples is None else tick(agent.samples)]


def _rates(agent: AgentResult) -> str:
    """Return the step sizes; an agent that was trained and adapts without any has learned them."""
    if agent.inner_lr:
        return ", then ".join(f"{rate:g}" for rate in rates(agent.inner_lr))
    return "–" if agent.samples is None or len(agent.mean) == 1 else "learned"


def per_task(run: RunData, key: str) -> str:
    """Show each task before and after adaptation, drawn and in a table that folds."""
    values = run.evaluation.results[0].per_task if run.evaluation else None
    if run.evaluation is None or values is None or not np.isfinite(values[:, -1] - values[:, 0]).any():
        return ""
    if values.shape[1] < 2:
        return ""
    before, after, measure, write = values[:, 0], values[:, -1], run.evaluation.measure, form(run.evaluation)
    good, steps = (
        (after <= before) if measure.lower_is_better else (after >= before),
        shown_steps(values.shape[1] - 1),
    )
    heads = ["task", *(f"step {k}" for k in steps), "change"]
    rows = [
        [str(i), *(write(row[k]) for k in steps), write.change(row[-1] - row[0])]
        for i, row in enumerate(values.tolist(), 1)
    ]
    caption = "A triangle marks a task that became worse."
    if len(values) > figures.MANY:
        caption += " Before adaptation: the median and the middle 80 % of neighbouring tasks."
    names = legend([("before", figures.BEFORE), ("after", figures.AFTER), ("worse", figures.WORSE)])
    drawing = figure(names + figures.per_task(f"{key}-tasks", before, after, good, measure), caption)
    folded = f"<details><summary>All tasks in numbers</summary>{table('numbers', heads, rows)}</details>"
    return f"{_gains(before, after, measure, write)}\n{drawing}\n{folded}"


def _gains(before: Array, after: Array, measure: Measure, write: Form) -> str:
    """Return how many tasks gain, by how much in the middle, and which ends worst; some values are finite."""
    gained = int((after < before if measure.lower_is_better else after > before).sum())
    worst = int(np.nanargmax(after) if measure.lower_is_better else np.nanargmin(after))
    ends = f"{write(float(before[worst]))} → {write(float(after[worst]))}"
    values = {
        "tasks that improve": f"{gained} of {len(after)}",
        "median change": write.change(float(np.nanmedian(after - before))),
        f"worst after: task {worst + 1}": ends,
    }
    return pairs("Before → after", values)


def learning(run: RunData, key: str) -> str:
    """Show the training tasks' values over iterations, with validation and the best checkpoint."""
    metric, measure = run.training_metric, run.training_measure
    lines, held_out = curve_series(run.rows, metric), curve_series(run.rows, metric, VALIDATION)
    last = len(lines) - 1
    steps = sorted({0, 1, last // 2, last} & set(range(len(lines))))
    if not any(len(lines[k].x) for k in steps):
        return ""
    validation = held_out[-1] if held_out else None
    best, samples = best_iteration(run, metric), series(run.rows, run.samples_key)
    names = [(f"step {k}", look) for k, look in zip(steps, figures.learning_looks(len(steps)), strict=True)]
    names += [("validation", figures.VALIDATION)] if validation else []
    names += [(f"best checkpoint: {best}", figures.BEST)] if best is not None else []
    drawing = figures.learning(
        f"{key}-learning",
        [lines[k] for k in steps],
        validation,
        best,
        samples,
        SAMPLES[run.samples_key],
        measure,
    )
    caption = f"{measure.of_tasks.capitalize()} of the training tasks; step 0 is before adaptation."
    caption += f" Validation: other tasks, after {count(len(held_out) - 1, 'step')}." if held_out else ""
    return figure(legend(names) + drawing, caption)


def diagnostics(run: RunData, key: str) -> str:
    """Show small figures of the keys of `DIAGNOSTICS` that some row has."""
    lines = {title: series(run.rows, name) for name, title in DIAGNOSTICS.items()}
    known = {title: line for title, line in lines.items() if len(line.x)}
    panels = [figures.small(f"{key}-small-{i}", title, line) for i, (title, line) in enumerate(known.items())]
    caption = "All over iterations; of a long run the median and the middle 80 % of neighbouring ones."
    return figure(grid(panels), caption) if panels else ""


def protocol(run: RunData, key: str) -> str:
    """Show how it was measured, on what machine, with which configuration, and how to make it again."""
    machine = {name: run.config[name] for name in MACHINE if name in run.config} | dict(run.machine)
    config = flat(run.config)
    rows = [[escape(name), cell(value), escape(OPTIONS.get(name, ""))] for name, value in config.items()]
    measured = ""
    if run.evaluation:
        entries = {"metric": run.evaluation.metric} | run.evaluation.protocol
        measured = pairs("Evaluation", entries, protocol_words(run.evaluation))
    return "\n".join(
        [
            f'<div class="tables">{measured}{pairs("Machine", machine)}</div>',
            "<p>To make this run, its evaluation and this page again:</p>",
            f"<pre>{escape(chr(10).join(commands(run)))}</pre>",
            f'<details class="printed"><summary>Configuration ({count(len(rows), "value")})</summary>'
            f"{table('pairs', ['option', 'value', 'meaning'], rows)}</details>",
        ]
    )
