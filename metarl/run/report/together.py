"""The report's part on runs of one configuration together: adaptation, training and tasks over seeds."""

from collections.abc import Sequence
from html import escape

import numpy as np

from metarl.core.errors import RequestError
from metarl.run.report import figures
from metarl.run.report.figures import Band
from metarl.run.report.html import figure, grid, looks, mark, section, table
from metarl.run.report.panels import one_task
from metarl.run.report.sections import adaptation_figure
from metarl.run.report.words import steps_label
from metarl.run.results.comparison import better_words, seeds_words
from metarl.run.results.groups import Group, check_comparable, evaluation_of, find_groups
from metarl.run.results.numbers import count, number, shown_steps
from metarl.run.results.pooled import Pooled, about, form, interval_words, pooled
from metarl.run.results.read import RunData, Series, curve_series
from metarl.run.results.statistics import mean, t_interval

PANELS = 24  # tasks that are shown one by one
POINTS = 150  # of a curve over iterations
INTERVALS = (
    "IQM: interquartile mean, without the lowest and the highest quarter of all values (Agarwal et al. "
    "2021). Intervals are Student’s t, from leaving out seeds and tasks one by one. Used: what of each task "
    "an agent has adapted to before."
)


def together(runs: Sequence[RunData]) -> list[str]:
    """Return an article for each configuration with several runs; where that cannot be, why not."""
    try:
        groups = [group for group in find_groups(runs) if len(group.runs) > 1]
    except RequestError as error:
        return [f'<p class="note">Not put together: {escape(str(error))}.</p>']
    articles = []
    for i, group in enumerate(groups, 1):
        try:
            check_comparable(group.runs)
        except RequestError as error:
            words = f"{group.label}: not put together: {error}"
            articles += [f'<p class="note">{escape(words)}.</p>']
            continue
        key = f"group-{i}"
        parts = [
            f"<h2>{escape(group.label)}, {escape(seeds_words(group))} together</h2>",
            section("Adaptation", 3, _adaptation(group, key)),
            section("Learning", 3, _learning(group, key)),
            section("Task by task", 3, _tasks(group, key)),
        ]
        articles += [f'<article id="{key}">', *filter(None, parts), "</article>"]
    return articles


def _adaptation(group: Group, key: str) -> str:
    measure, agents = group.evaluation.measure, [pooled(group, name) for name in group.names]
    caption = f"{measure.of_tasks.capitalize()} {about(group)}; {better_words(measure)}. "
    caption += f"Bars and bands: {interval_words(agents[0].covers)}. {INTERVALS}"
    every = dict.fromkeys(agent.name for run in group.runs for agent in evaluation_of(run).results)
    missing = [name for name in every if name not in group.names]
    caption += f" Not beside every run, hence left out: {', '.join(missing)}." if missing else ""
    return pooled_adaptation(f"{key}-adaptation", group, group.names, agents, caption)


def pooled_adaptation(
    name: str, group: Group, labels: Sequence[str], agents: Sequence[Pooled], caption: str
) -> str:
    """Return figure and table of several agents or groups under one protocol."""
    evaluation, steps = group.evaluation, shown_steps(len(agents[0].mean) - 1)
    bands = [Band(label, agent.mean, *agent.ci.T) for label, agent in zip(labels, agents, strict=True)]
    xlabel = steps_label(evaluation.protocol)
    drawing = adaptation_figure(name, bands, evaluation.measure, xlabel, caption)
    write, rows = form(agents, evaluation.measure), []
    for label, agent, look in zip(labels, agents, looks(len(agents)), strict=True):
        for row, values, ci in (
            (mark(look, label), agent.mean, agent.ci),
            ("<small>IQM</small>", agent.iqm, agent.iqm_ci),
        ):
            rows += [[row, *(f"{write(values[k])}<small>{write.interval(*ci[k])}</small>" for k in steps)]]
    used = {"episodes used": agents[0].episodes, "env steps used": agents[0].episode_env_steps}
    for title, amount in used.items():
        if amount is not None:
            rows += [[title, *(number(float(amount[k]), 0) for k in steps)]]
    return f"{drawing}\n{table('numbers', ['', *(f'step {k}' for k in steps)], rows)}"


def _learning(group: Group, key: str) -> str:
    """Show the training tasks' value after the last step, as far as all runs have come."""
    first = group.runs[0]
    curves = [curve_series(run.rows, first.training_metric) for run in group.runs]
    lines = [_thinned(steps[-1]) for steps in curves if steps]
    shared = min((len(line.x) for line in lines), default=0)
    if not shared or any((line.x[:shared] != lines[0].x[:shared]).any() for line in lines):
        return ""
    values = np.stack([line.y[:shared] for line in lines])[:, None, :]  # "seed task point", of one task
    over = Series(lines[0].x[:shared], mean(values))
    interval, measure = t_interval(mean, values, tasks=False), first.training_measure
    steps = count(len(curves[0]) - 1, "step")
    caption = f"{measure.of_tasks.capitalize()} of the training tasks after {steps} of adaptation. "
    caption += "Thin: each seed; thick: their mean; band: 95 % t-interval over seeds."
    return figure(figures.training(f"{key}-learning", lines, over, interval, measure), caption)


def _thinned(line: Series) -> Series:
    """Return a long line as the means of neighbouring points."""
    if len(line.x) <= POINTS:
        return line
    size = -(-len(line.x) // POINTS)
    starts = np.arange(0, len(line.x), size)
    counts = np.diff([*starts, len(line.x)])
    return Series(*(np.add.reduceat(values, starts) / counts for values in line))


def _tasks(group: Group, key: str) -> str:
    """Show a small figure of each task, as many as there is room for, with every seed in it."""
    values, measure = group.values(), group.evaluation.measure
    tasks = values.shape[1]
    if values.shape[2] < 2 or not np.isfinite(values).all():
        return ""
    shown = np.unique(np.linspace(0, tasks - 1, min(tasks, PANELS)).round().astype(int))
    least, most = float(values[:, shown].min()), float(values[:, shown].max())
    room = 0.05 * (most - least) or 0.5
    box = least - room, most + room
    panels = [
        one_task(f"{key}-task-{t}", f"task {t + 1}", values[:, t], box, measure) for t in shown.tolist()
    ]
    some = "" if len(shown) == tasks else f" {len(shown)} of {count(tasks, 'task')}."
    caption = f"{measure.of_task.capitalize()} after each step, all on one scale. "
    return figure(grid(panels), f"{caption}Thin: each seed; thick: their mean.{some}")
