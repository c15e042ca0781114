"""The ways in which metarl refuses to go on."""


class RequestError(ValueError):
    """The request cannot be met: one line that names what was given and what is allowed.

    The command line prints it on standard error and ends with status 2; nothing has been written.
    """


class Diverged(ValueError):
    """Adapted parameters are not finite, so that no further episode can be collected.

    ``samples`` are the environment steps that were taken before.
    """

    def __init__(self, told: str, samples: int) -> None:
        super().__init__(told)
        self.samples = samples


class RunFailed(RuntimeError):
    """The run failed after it started; what it saved can be resumed (status 1 on the command line)."""
