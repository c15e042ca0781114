"""The report's building blocks of HTML. What a user or a file named is escaped; cells are HTML already."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

from metarl.run.figures import NARROW, WIDE

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(kicker: str, title: str, body: str) -> str:
    """A whole page around what is HTML already."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    whole = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)} – metarl</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<p class="kicker">{escape(kicker)}</p>\n{body}\n</body>\n</html>\n'
    )
    return whole.encode(errors="replace").decode()  # JSON may hold half characters, which no file can


def section(title: str, level: int, content: str) -> str:
    """A section with its heading; nothing where there is nothing to show."""
    return f"<section>\n<h{level}>{escape(title)}</h{level}>\n{content}\n</section>" if content else ""


def table(kind: str, heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells that are HTML already; the first cell is the row's name. A wide table scrolls alone."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heads)
    cells = [(first, "".join(f"<td>{cell}</td>" for cell in rest)) for first, *rest in rows]
    body = "".join(f'<tr><th scope="row">{first}</th>{rest}</tr>\n' for first, rest in cells)
    text = f'<table class="{kind}"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'
    return f'<div class="scroll" tabindex="0">{text}</div>'


def both(salt: str, draw: Callable[[str, int], str]) -> str:
    """A figure for a desktop's column and one for a phone's; the style sheet shows one of them."""
    wide, narrow = draw(f"{salt}-wide", WIDE), draw(f"{salt}-narrow", NARROW)
    return f'<div class="wide">{wide}</div>\n<div class="narrow">{narrow}</div>'


def figure(content: str, caption: str) -> str:
    """What is drawn, with the words beneath it."""
    return f"<figure>{content}\n<figcaption>{escape(caption)}</figcaption></figure>"
