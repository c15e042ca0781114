"""Contract tests fail with an AssertionError of one line."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_line(subject: str, where: str) -> Iterator[None]:
    """Turn whatever is raised within into an AssertionError "``subject``: what is wrong".

    Args:
        subject: what is tested.
        where: what it was doing, told where it raises something else than an AssertionError.
    """
    try:
        yield
    except Exception as error:
        line = next(iter(str(error).strip().splitlines()), "").removeprefix(f"{subject}: ")
        what = "" if isinstance(error, AssertionError) else f"{where} raises {type(error).__name__}: "
        raise AssertionError(f"{subject}: {what}{line}") from error
