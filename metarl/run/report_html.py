"""The report's building blocks of HTML. What a user or a file named is escaped; cells are HTML already."""

from collections.abc import Callable, Iterable, Sequence
from html import escape

from metarl.run.figures import NARROW, WIDE


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
