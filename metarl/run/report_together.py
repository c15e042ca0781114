"""The report's part on runs of one configuration together: adaptation, training and tasks over seeds."""

from collections.abc import Sequence
from html import escape

import numpy as np

from metarl.core.errors import RequestError
from metarl.run import figures
from metarl.run.comparison import better_words, seeds_words
from metarl.run.figures import Curve
from metarl.run.figures_groups import one_task, training
from metarl.run.groups import Group, check_comparable, evaluation_of, find_groups
from metarl.run.measures import measure_of
from metarl.run.pooled import about, interval_words, pooled
from metarl.run.report_axes import Line
from metarl.run.report_compare import INTERVALS, adaptation_table
from metarl.run.report_data import RunData, series, step_keys, training_metric
from metarl.run.report_html import both, figure, section
from metarl.run.report_numbers import count, is_whole, shown_steps
from metarl.run.report_pictures import Array
from metarl.run.statistics import mean, t_interval

PANELS = 24  # tasks that are shown one by one
POINTS = 150  # of a curve over iterations


def together(runs: Sequence[RunData]) -> list[str]:
    """An article for each configuration with several runs; where they cannot be put together, why not."""
    try:
        groups = [group for group in find_groups(runs) if len(group.runs) > 1]
    except RequestError as error:
        return [f'<p class="note">Not put together: {escape(str(error))}.</p>']
    found = []
    for i, group in enumerate(groups, 1):
        try:
            check_comparable(group.runs)
        except RequestError as error:
            found += [f'<p class="note">{escape(group.label)}: not put together: {escape(str(error))}.</p>']
            continue
        key = f"group-{i}"
        parts = [
            f"<h2>{escape(group.label)}, {escape(seeds_words(group))} together</h2>",
            section("Adaptation", 3, _adaptation(group, key)),
            section("Learning", 3, _learning(group, key)),
            section("Task by task", 3, _tasks(group, key)),
        ]
        found += [f'<article id="{key}">', *filter(None, parts), "</article>"]
    return found


def _adaptation(group: Group, key: str) -> str:
    evaluation = group.evaluation
    measure, found = measure_of(evaluation.metric), [pooled(group, name) for name in group.names]
    curves = [Curve(one.name, one.mean, *one.ci.T) for one in found]
    episodes = evaluation.protocol.get("episodes")
    xlabel = "steps of adaptation" + (f" ({count(episodes, 'episode')} each)" if is_whole(episodes) else "")

    def draw(salt: str, width: int) -> str:
        return figures.adaptation(salt, curves, measure, xlabel, width)

    covers = interval_words(found[0].covers)
    caption = f"{measure.of_tasks.capitalize()} {about(group)}; {better_words(measure)}. "
    caption += f"Bars and bands: {covers}. {INTERVALS}"
    every = dict.fromkeys(agent.name for run in group.runs for agent in evaluation_of(run).agents)
    missing = [name for name in every if name not in group.names]
    caption += f" Not beside every run, hence left out: {', '.join(missing)}." if missing else ""
    looks = [figures.agent_style(name, group.names) for name in group.names]
    steps = shown_steps(len(found[0].mean) - 1)
    numbers = adaptation_table(group.names, found, steps, evaluation.metric, looks)
    return f"{figure(both(f'{key}-adaptation', draw), caption)}\n{numbers}"


def _learning(group: Group, key: str) -> str:
    """The training tasks' value after the last step over iterations, as far as all runs have come."""
    metric = training_metric(group.runs[0])
    keys = step_keys(group.runs[0].rows, metric)
    lines = [_thinned(Line(str(run.path), *series(run.rows, keys[-1]))) for run in group.runs if keys]
    shared = min((len(line.x) for line in lines), default=0)
    if not shared or any((line.x[:shared] != lines[0].x[:shared]).any() for line in lines):
        return ""
    values = np.stack([line.y[:shared] for line in lines])[:, None, :]  # "seed task point", of one task
    over = Line("mean", lines[0].x[:shared], mean(values))
    interval, measure = t_interval(mean, values, tasks=False), measure_of(metric)

    def draw(salt: str, width: int) -> str:
        return training(salt, lines, over, interval, measure, width)

    caption = (
        f"{measure.of_tasks.capitalize()} of the training tasks after {count(len(keys) - 1, 'step')} of "
    )
    caption += "adaptation. Thin: each seed; thick: their mean; band: 95 % t-interval over seeds."
    return figure(both(f"{key}-learning", draw), caption)


def _thinned(line: Line) -> Line:
    """A long line as the means of neighbouring points."""
    if len(line.x) <= POINTS:
        return line
    size = -(-len(line.x) // POINTS)
    starts = np.arange(0, len(line.x), size)
    counts = np.diff([*starts, len(line.x)])
    return Line(line.name, *(np.add.reduceat(values, starts) / counts for values in (line.x, line.y)))


def _tasks(group: Group, key: str) -> str:
    """A small figure of each task, as many as there is room for, every one's seeds in it."""
    values, measure = group.values(), measure_of(group.evaluation.metric)
    tasks = values.shape[1]
    if values.shape[2] < 2 or not np.isfinite(values).all():
        return ""
    shown = np.unique(np.linspace(0, tasks - 1, min(tasks, PANELS)).round().astype(int))
    box = _box(values[:, shown])
    panels = [
        f"<div>{one_task(f'{key}-task-{t}', f'task {t + 1}', values[:, t], box, measure)}</div>"
        for t in shown.tolist()
    ]
    some = "" if len(shown) == tasks else f" {len(shown)} of {count(tasks, 'task')}."
    caption = f"{measure.of_task.capitalize()} after each step, all on one scale. "
    caption += f"Thin: each seed; thick: their mean.{some}"
    return figure(f'<div class="grid">{"".join(panels)}</div>', caption)


def _box(values: Array) -> tuple[float, float]:
    least, most = float(values.min()), float(values.max())
    room = 0.05 * (most - least) or 0.5
    return least - room, most + room
