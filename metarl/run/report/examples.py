"""The report's sections about single tasks: paths in the plane, fitted curves, or images and their labels."""

import base64
import io
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metarl.run.report import panels
from metarl.run.report.html import figure, grid, legend
from metarl.run.results.numbers import count, number
from metarl.run.results.pictures import Array, Fits, QueryImage, Samples, Traces
from metarl.run.results.read import RunData

SHOWN_TASKS, SHOWN_EPISODES = 6, 10
IMAGE_WIDTH = 56  # CSS pixels at most, in whole multiples of an image's own


def paths(run: RunData, key: str) -> str:
    """Show the trained agent's episodes in the plane, figures a task."""
    traces = run.evaluation.traces if run.evaluation else None
    if traces is None or not traces.before:
        return ""
    box, after = _box(traces), f"after {count(traces.steps, 'step')}"
    goals = traces.goals or [None] * len(traces.before)
    drawn = []
    for i, tasks in enumerate(zip(traces.before[:SHOWN_TASKS], traces.after, goals, strict=False), 1):
        first, last, goal = tasks[0][:SHOWN_EPISODES], tasks[1][:SHOWN_EPISODES], tasks[2]
        both = panels.trace(f"{key}-before-{i}", first, goal, box, "before", "before")
        both += panels.trace(f"{key}-after-{i}", last, goal, box, after, "agent-0")
        drawn += [f"<p>task {i}</p>{both}"]
    ranges = [" to ".join(number(float(v), 2) for v in box[:, axis]) for axis in (0, 1)]
    caption = (
        "Each line is an episode, faint where it begins (ring) and strong where it ends (dot); the cross is "
        f"the goal. Every panel shows x from {ranges[0]} and y from {ranges[1]}."
    )
    return figure(grid(drawn, "paths"), caption)


def frames(run: RunData, key: str) -> str:
    """Show the strip that ``metarl render`` left."""
    if run.strip is None:
        return ""
    uri = f"data:image/png;base64,{base64.b64encode(run.strip).decode()}"
    caption = "One episode before and one after adaptation, from the same start; time runs to the right."
    image = f'<img class="strip" src="{uri}" alt="frames of an episode before and of one after adaptation">'
    return figure(f'<div class="scroll" tabindex="0">{image}</div>', caption)


def _box(traces: Traces) -> Array:
    """Return the square that holds every shown point, with a margin: [[left, bottom], [right, top]]."""
    shown = [*traces.before[:SHOWN_TASKS], *traces.after[:SHOWN_TASKS]]
    points = [path for task in shown for path in task[:SHOWN_EPISODES]]
    goals = [goal[None] for goal in (traces.goals or [])[:SHOWN_TASKS] if goal is not None]
    every = np.concatenate([*points, *goals, np.zeros((0, 2))])
    if not len(every):
        return np.array([[-1.0, -1.0], [1.0, 1.0]])
    low, high = every.min(axis=0), every.max(axis=0)
    half = 0.55 * (max(float((high - low).max()), 1e-6))
    return np.stack([(low + high) / 2 - half, (low + high) / 2 + half])


def curves(run: RunData, key: str) -> str:
    """Show the trained agent's predictions before and after adaptation beside the truth, a figure a task."""
    fits = run.evaluation.fits if run.evaluation else None
    if fits is None or not fits.tasks or not np.isfinite(fits.x).any():
        return ""
    box = _curves_box(fits)
    drawn = [
        f"<p>task {i}</p>{panels.fit(f'{key}-fit-{i}', fits.x, task, box)}"
        for i, task in enumerate(fits.tasks[:SHOWN_TASKS], 1)
    ]
    steps = list(fits.tasks[0].predictions)
    words = ["before" if step == 0 else f"after {count(step, 'step')}" for step in steps]
    predicted = zip(words, panels.fit_looks(len(steps)), strict=True)
    names = legend([("truth", panels.TRUTH), *predicted, ("support examples", panels.GOAL)])
    ranges = [" to ".join(number(float(v), 1) for v in box[:, axis]) for axis in (0, 1)]
    caption = f"Every panel shows x from {ranges[0]} and y from {ranges[1]}."
    return figure(names + grid(drawn, "fits"), caption)


def _curves_box(fits: Fits) -> Array:
    """Return the box of every truth and support point, with a margin: [[left, bottom], [right, top]].
    Predictions
    may leave it: one that diverged would flatten all others.
    """
    shown = fits.tasks[:SHOWN_TASKS]
    y = np.concatenate([*(task.truth for task in shown), *(task.support[:, 1] for task in shown)])
    x = np.concatenate([fits.x, *(task.support[:, 0] for task in shown)])
    (left, right), (low, high) = (_range(v) for v in (x, y))
    aside, above = 1e-6 * (left == right), max(0.15 * (high - low), 1e-6)
    return np.array([[left - aside, low - above], [right + aside, high + above]])


def _range(values: Array) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def images(run: RunData, key: str) -> str:
    """Show support images by class, and query images with what they were taken for before and after."""
    samples = run.evaluation.samples if run.evaluation else None
    if samples is None or not any(samples.queries[:SHOWN_TASKS]):
        return ""
    tasks = list(zip(samples.support, samples.queries, strict=True))[:SHOWN_TASKS]
    drawn = [
        f'<div class="task"><p>task {i}: support</p>\n{_support(samples, classes)}\n'
        f"<p>queries, taken for before → after</p>\n{_queries(samples, queries)}</div>"
        for i, (classes, queries) in enumerate(tasks, 1)
    ]
    shown = [query for _, queries in tasks for query in queries]
    before = sum(query.before == query.label for query in shown)
    after = sum(query.after == query.label for query in shown)
    caption = (
        "Above each query stands its class, beneath it the class that it was taken for before → after "
        f"adaptation: ✓ right, ✗ wrong. Of these {count(len(shown), 'query image')} {before} are right "
        f"before and {after} after."
    )
    return figure(f'<div class="samples">{"".join(drawn)}</div>', caption)


def _support(samples: Samples, classes: list[list[int]]) -> str:
    """Return the support images of one task, class by class."""
    several = max(map(len, classes), default=0) > 1
    tiles = []
    for label, numbers in enumerate(classes):
        images = "".join(_image(samples, n, f"support of class {label}", several) for n in numbers)
        tiles += [f"<div><span>class {label}</span><div>{images}</div></div>"]
    return f'<div class="support">{"".join(tiles)}</div>'


def _queries(samples: Samples, queries: list[QueryImage]) -> str:
    """Return the query images of one task, each with what it was taken for."""
    tiles = []
    for query in queries:
        about = f"query of class {query.label}, taken for {query.before} before and {query.after} after"
        verdicts = " → ".join(_verdict(taken, query.label) for taken in (query.before, query.after))
        image = f"<div>{_image(samples, query.image, about)}</div>"
        tiles += [f"<div><span>class {query.label}</span>{image}<span>{verdicts}</span></div>"]
    return f'<div class="queries">{"".join(tiles)}</div>'


def _verdict(taken: int, label: int) -> str:
    kind, sign = ("right", "✓") if taken == label else ("wrong", "✗")
    return f'<b class="{kind}">{taken}\u202f{sign}</b>'


def _image(samples: Samples, n: int, about: str, small: bool = False) -> str:
    """Return an image in whole multiples of its own size, so that pixels stay square."""
    _, height, width = samples.images.shape
    times = max(1, IMAGE_WIDTH // width // (2 if small else 1))
    size = f'width="{width * times}" height="{height * times}"'
    return f'<img src="{_data_uri(samples.images[n])}" {size} alt="{escape(about)}">'


def _data_uri(image: NDArray[np.uint8]) -> str:
    """Return ink as black, more or less opaque: the page shows through; in the dark it is inverted."""
    buffer = io.BytesIO()
    Image.fromarray(np.stack([np.zeros_like(image), image], axis=-1)).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
