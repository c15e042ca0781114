"""MuJoCo without its log file."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import mujoco

_forget = deque[str](maxlen=0).append  # a C function: no signal is handled inside the engine's threads


@contextmanager
def no_log_file() -> Iterator[None]:
    """Keep MuJoCo from writing MUJOCO_LOG.TXT; a handler that somebody installed goes on hearing of it."""
    handler = mujoco.get_mju_user_warning()
    if handler is None:
        mujoco.set_mju_user_warning(_forget)
    try:
        yield
    finally:
        if handler is None:
            mujoco.set_mju_user_warning(None)
