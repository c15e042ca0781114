"""Lines for whoever sits at the terminal: on standard error, one at a time, whatever they quote."""

import os
import sys
import unicodedata
from contextlib import suppress


def harmless(text: str) -> str:
    """Return text whose control characters, which a terminal would obey, are written out; lines stay lines.

    Lines may quote what a stranger's file says.
    """
    return "".join(
        repr(c)[1:-1] if c != "\n" and unicodedata.category(c).startswith("C") else c for c in text
    )


def tell(line: str) -> None:
    """Print one line on standard error. Telling never costs a run: a closed pipe is ignored."""
    line = harmless(line)
    try:
        with suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)
    except RuntimeError:  # from a signal handler that interrupted a print
        with suppress(OSError):
            os.write(2, f"{line}\n".encode())


def warn(message: str) -> None:
    """Print ``metarl: warning: ...``, one line on standard error: the one way in which a run warns.

    Not Python's ``warnings``: those print two lines, may be hidden, and ``-W error`` would end the run.
    """
    tell(f"metarl: warning: {' '.join(message.split())}")
