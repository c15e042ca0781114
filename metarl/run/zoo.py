"""Trained agents that come with metarl: ``zoo:NAME`` stands wherever a run directory is read.

An agent of the zoo is a run directory inside the package, reduced to what is read of it and never written to.
What is made of it (an evaluation, baselines, a clip, a page) goes to ``runs/zoo/NAME`` in the working
directory. Any other run is its own place.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metarl.core.errors import RequestError

PREFIX = "zoo:"
SHIPPED = Path(__file__).parents[1] / "zoo"
MADE = Path("runs") / "zoo"


def agents() -> list[str]:
    """What can be named: ``zoo:bandit-promp`` and so on."""
    return sorted(f"{PREFIX}{config.parent.name}" for config in SHIPPED.glob("*/config.yaml"))


def is_zoo(path: str | Path) -> bool:
    """Whether an agent of the zoo is meant, be there one of that name or not."""
    return str(path).startswith(PREFIX)


def run_dir(name: str | Path) -> Path:
    """The run that a user means by ``name``, a directory or ``zoo:NAME``; whatever reads a run asks here.

    Raises:
        RequestError: the zoo has no such agent.
    """
    path = Path(name)
    if is_zoo(path) and str(path) not in agents():
        raise RequestError(f"unknown agent {str(path)!r}; allowed: {', '.join(agents())}")
    return path


def source(path: str | Path) -> Path:
    """Where a run's configuration, rows and checkpoints are read."""
    path = run_dir(path)
    return SHIPPED / path.name.removeprefix(PREFIX) if is_zoo(path) else path


def config_of(name: str) -> Path:
    """The file that ``--config`` means: the configuration of an agent of the zoo, or the file itself."""
    return source(name) / "config.yaml" if is_zoo(name) else Path(name)


def place(path: str | Path) -> Path:
    """Where what is made of a run goes."""
    path = run_dir(path)
    return MADE / path.name.removeprefix(PREFIX) if is_zoo(path) else path


def made(path: str | Path, name: str) -> Path:
    """A file made of a run: the user's own, else the one that an agent of the zoo comes with."""
    own = place(path) / name
    return own if own.is_file() else source(path) / name


@contextmanager
def output(path: str | Path, name: str, out: Path | None = None) -> Iterator[Path]:
    """Where to write a file that is made of a run: at ``out`` if it is given, else as ``name`` in its place.

    The place of an agent of the zoo is made, and goes again if nothing was written there.
    """
    if out is not None or not is_zoo(path):
        yield place(path) / name if out is None else out
        return
    folder = place(path)
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        told = f"{folder}, where what is made of {path} goes, cannot be made: {error.strerror}"
        raise RequestError(told) from error
    try:
        yield folder / name
    finally:
        with suppress(OSError):  # that something is there by now
            for each in missing:
                each.rmdir()


def check_out(path: Path) -> None:
    """Refuses a new run directory whose name would be taken for an agent of the zoo."""
    if is_zoo(path):
        raise RequestError(f"out must be a directory of your own, got {str(path)!r}, a name of the zoo")


def check_trainable(path: str | Path) -> None:
    """Refuses to train in a run that is only read."""
    if is_zoo(run_dir(path)):
        start = f'metarl.load("{path}").policy.save("start.safetensors")'
        raise RequestError(
            f"{path} comes with metarl and is only read; to train on from its weights, save them in Python "
            f"({start}) and give the file to metarl train by --init-from"
        )
