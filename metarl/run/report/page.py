"""The report of runs: one self-contained HTML page, readable on a desk, on a phone and on paper.

It asks for nothing from elsewhere and runs no script; the page's own policy forbids both to the browser.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from metarl.core.errors import RequestError
from metarl.run.report import examples, sections
from metarl.run.report.html import page, section
from metarl.run.report.together import together
from metarl.run.report.words import facts, headline
from metarl.run.results.read import RunData, read_run
from metarl.run.store.files import write_atomic

SECTIONS = (
    ("Adaptation", sections.adaptation),
    ("Paths before and after", examples.paths),
    ("Frames before and after", examples.frames),
    ("Curves before and after", examples.curves),
    ("Images before and after", examples.images),
    ("Task by task", sections.per_task),
    ("Learning", sections.learning),
    ("Diagnostics", sections.diagnostics),
    ("Protocol", sections.protocol),
)


def write_report(run_dirs: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write the page of one or several run directories and return where it is.

    Args:
        run_dirs: at least one run directory; evaluation and metrics may still be missing.
        out: the page; by default report.html in the first run directory.

    Raises:
        RequestError: not a run directory, a damaged file, or a page that cannot be written; one line.
    """
    if not run_dirs:
        raise RequestError("report needs at least one run directory, got none")
    page = render([read_run(Path(path)) for path in run_dirs])
    path = Path(run_dirs[0]) / "report.html" if out is None else Path(out)
    try:
        return write_atomic(path, page)
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror}") from None


def render(runs: Sequence[RunData]) -> str:
    """Return the page as text; the same runs give the same bytes."""
    several = len(runs) > 1
    title = f"{len(runs)} runs" if several else _name(runs[0])
    articles = [_article(run, f"run-{i}", level=2 if several else 1) for i, run in enumerate(runs, 1)]
    head = [_contents(title, runs), *together(runs)] if several else []
    return page("metarl report", title, "\n".join([*head, *articles]))


def _contents(title: str, runs: Sequence[RunData]) -> str:
    links = []
    for i, run in enumerate(runs, 1):
        text = escape(f"({_name(run)}): {headline(run)}")
        links += [f'<li><a href="#run-{i}">{escape(str(run.path))}</a> {text}</li>']
    return f"<h1>{title}</h1>\n<ol>{''.join(links)}</ol>"


def _name(run: RunData) -> str:
    algorithm, family = (run.config.get(key, f"unknown {key}") for key in ("algorithm", "family"))
    return f"{algorithm} on {family}"


def _article(run: RunData, key: str, level: int) -> str:
    parts = [f"<h{level}>{escape(_name(run))}</h{level}>", f'<p class="lead">{escape(headline(run))}</p>']
    parts += [f'<p class="facts">{escape(" · ".join(facts(run)))}</p>']
    parts += [section(title, level + 1, make(run, key)) for title, make in SECTIONS]
    return "\n".join([f'<article id="{key}">', *filter(None, parts), "</article>"])
