"""The report of runs: one self-contained HTML page, readable on a desk, on a phone and on paper.

It asks for nothing from elsewhere and runs no script; the page's own policy forbids both to the browser.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.errors import RequestError
from metarl.run import figures
from metarl.run.config import TrainConfig
from metarl.run.figures import NARROW, WIDE, Curve, Line
from metarl.run.files import write_atomic
from metarl.run.report_data import (
    LOWER_IS_BETTER,
    Agent,
    RunData,
    best_iteration,
    better,
    read_run,
    series,
    step_keys,
    training_metric,
)
from metarl.run.report_words import (
    AGENTS,
    commands,
    count,
    evaluate_command,
    facts,
    headline,
    measured,
    number,
    per_task_words,
    places,
)

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
MACHINE = ("device", "chunk", "threads", "executor", "workers")
DIAGNOSTICS = {
    "loss": "meta-loss",
    "kl": "KL divergence (nats)",
    "entropy": "entropy (nats)",
    "line_search/step_fraction": "line search: step taken",
    "line_search/accepted": "line search: accepted",
    "grad_norm": "gradient norm",
    "explained_variance": "explained variance",
    "seconds": "seconds an iteration",
}
SHOWN_TASKS = 6  # with paths
SHAPES = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖"}  # markers as characters


def write_report(run_dirs: Sequence[Path], out: Path | None = None) -> Path:
    """Writes the page of one or several run directories and returns where it is.

    Args:
        run_dirs: at least one run directory; an evaluation or metrics may still be missing.
        out: the page; by default report.html in the first run directory.

    Raises:
        RequestError: not a run directory, a damaged file, or a page that cannot be written; one line.
    """
    if not run_dirs:
        raise RequestError("report needs at least one run directory, got none")
    page = render([read_run(Path(path)) for path in run_dirs])
    out = Path(run_dirs[0]) / "report.html" if out is None else Path(out)
    try:
        write_atomic(out, page)
    except OSError as error:
        raise RequestError(f"cannot write {out}: {error.strerror}") from None
    return out


def render(runs: Sequence[RunData]) -> str:
    """The page as text; the same runs give the same bytes."""
    title = _name(runs[0]) if len(runs) == 1 else f"{len(runs)} runs"
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    links = [f'<li><a href="#run-{i}">{escape(_name(run))}</a>: {escape(headline(run))}</li>' for i, run in _numbered(runs)]
    several = f"<h1>{escape(title)}</h1>\n<ol>{''.join(links)}</ol>\n" if len(runs) > 1 else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)} – metarl</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<p class="kicker">metarl report</p>\n{several}'
        + "\n".join(_article(run, f"run-{i}", level=1 + (len(runs) > 1)) for i, run in _numbered(runs))
        + "\n</body>\n</html>\n"
    )


def _numbered(runs: Sequence[RunData]) -> Iterable[tuple[int, RunData]]:
    return enumerate(runs, 1)


def _name(run: RunData) -> str:
    return f"{run.config.get('algorithm', 'unknown algorithm')} on {run.config.get('family', 'unknown family')}"


def _article(run: RunData, key: str, level: int) -> str:
    sections = (
        ("Adaptation", _adaptation),
        ("Paths before and after", _paths),
        ("Task by task", _per_task),
        ("Learning", _learning),
        ("Diagnostics", _diagnostics),
        ("Protocol", _protocol),
    )
    shown = [(title, make(run, key)) for title, make in sections]
    body = "\n".join(f"<section>\n<h{level + 1}>{t}</h{level + 1}>\n{b}\n</section>" for t, b in shown if b)
    return (
        f'<article id="{key}">\n<h{level}>{escape(_name(run))}</h{level}>\n'
        f'<p class="lead">{escape(headline(run))}</p>\n<p class="facts">{escape(" · ".join(facts(run)))}</p>\n'
        f"{body}\n</article>"
    )


def _adaptation(run: RunData, key: str) -> str:
    evaluation = run.evaluation
    if evaluation is None:
        return f"<p>This run has no evaluation yet. To make one:</p>\n<pre>{escape(evaluate_command(run))}</pre>"
    protocol, title = evaluation.protocol, measured(evaluation.metric)
    curves = [Curve(agent.name, agent.mean, agent.low, agent.high) for agent in evaluation.agents]
    each = f" ({count(protocol['episodes'], 'episode')} each)" if isinstance(protocol.get("episodes"), int) else ""
    figure = _both(lambda width, salt: figures.adaptation(salt, curves, title, f"steps of adaptation{each}", width), f"{key}-a")
    lower = " Lower is better." if evaluation.metric in LOWER_IS_BETTER else ""
    caption = f"{title.capitalize()} over tasks after each step; bars and bands are its {_interval(protocol)}.{lower}"
    names = [agent.name for agent in evaluation.agents]
    digits, steps = places(evaluation), max(len(agent.mean) for agent in evaluation.agents)
    head = ["agent", *(f"step {k}" for k in range(steps)), "step sizes", "env steps"]
    rows = [_agent_row(agent, names, digits, steps) for agent in evaluation.agents]
    table = f"<thead><tr>{''.join(f'<th>{h}</th>' for h in head)}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'{_figure(figure, caption)}\n<div class="scroll" tabindex="0"><table class="numbers">{table}</table></div>'


def _interval(protocol: Mapping[str, Any]) -> str:
    return f"interval ({protocol['interval']})" if protocol.get("interval") else "95 % interval"


def _agent_row(agent: Agent, names: Sequence[str], digits: int, steps: int) -> str:
    style = figures.agent_style(agent.name, names)
    mark = f'<span class="mark" style="color: {style.css}" aria-hidden="true">{SHAPES[style.marker]}</span>'
    about = f"<small>{AGENTS[agent.name]}</small>" if agent.name in AGENTS else ""
    cells = [
        f"{number(mean, digits)}<small>{number(low, digits)} to {number(high, digits)}</small>"
        for mean, low, high in zip(agent.mean.tolist(), agent.low.tolist(), agent.high.tolist(), strict=True)
    ]
    cells += ["–"] * (steps - len(cells))
    cells += [", ".join(f"{rate:g}" for rate in agent.inner_lr) or "–"]
    cells += [figures.tick(agent.env_steps) if agent.env_steps is not None else "–"]
    return f"<tr><th>{mark}{escape(agent.name)}{about}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
