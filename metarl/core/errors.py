"""Errors with which metarl refuses to go on."""

from typing import Any


class RequestError(ValueError):
    """The request cannot be met: one line that names what was given and what is allowed.

    The command line prints it on standard error and ends with status 2; nothing has been written.
    """


class Diverged(ValueError):
    """Adapted parameters, or actions of theirs, are not finite, so that no episode can be collected.

    Attributes:
        samples: environment steps of the collections before.
        step: the step of the episodes at which an action was not finite.
    """

    def __init__(self, message: str, samples: int = 0, step: int = 0) -> None:  # defaults: it is pickled
        super().__init__(message)
        self.samples, self.step = samples, step


class EnvironmentFailed(RuntimeError):
    """An environment raised, or returned nonsense: one line that names its task, episode and step.

    What it raised is the cause. ``step`` counts from 1, and is 0 at the reset. Trying again would not help.
    """

    def __init__(self, message: str, step: int = 0) -> None:
        super().__init__(message)
        self.step = step


class RunFailed(RuntimeError):
    """The run failed after it started; what it saved can be resumed (status 1 on the command line)."""


def shown(value: Any, most: int = 80) -> str:
    """Return ``repr`` on one line of at most ``most`` characters."""
    line = " ".join(repr(value).split())
    return line if len(line) <= most else line[: most - 3] + "..."
