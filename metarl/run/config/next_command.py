"""What to type next: a ``metarl`` command line for a shell."""

import shlex
from collections.abc import Mapping
from typing import Any

from metarl.run.config.admission import code_in


def command(*words: object, opens: Mapping[str, Any] | None = None) -> str:
    """Return a command line, with ``--trust`` where what it ``opens`` needs that.

    Args:
        words: the command, its arguments and options; a path may hold any character.
        opens: the configuration of the run that is opened, if one is.
    """
    return shlex.join(["metarl", *map(str, words), *(["--trust"] if code_in(opens or {}) else [])])
