"""Trained agents that come with metarl: run directories inside the package, of which one uses a copy."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metarl.core.errors import RequestError
from metarl.run.store.terminal import tell

PREFIX = "zoo:"
SHIPPED = Path(__file__).parents[2] / "zoo"
COPIES = Path("runs") / "zoo"


def agents() -> list[str]:
    """Return the names: ``zoo:bandit-promp`` and so on."""
    return sorted(f"{PREFIX}{config.parent.name}" for config in SHIPPED.glob("*/config.yaml"))


def shipped(name: str | Path) -> Path:
    """Return the directory of an agent inside the package, which is only read.

    Raises:
        RequestError: the zoo has no such agent.
    """
    if str(name) not in agents():
        raise RequestError(f"unknown agent {str(name)!r}; allowed: {', '.join(agents())}")
    return SHIPPED / str(name).removeprefix(PREFIX)


def local(name: str | Path) -> Path:
    """Return the run directory that a user means, as ``opened`` does."""
    with opened(name) as (path,):
        return path


@contextmanager
def opened(*names: str | Path) -> Iterator[list[Path]]:
    """Yield the run directories that a user means: a name, or of ``zoo:NAME`` the copy in ``runs/zoo/NAME``,
    which is made on first use, and removed again if what it is made for is refused.

    Raises:
        RequestError: the zoo has no such agent, or it cannot be copied.
    """
    of_zoo = {name: COPIES / shipped(name).name for name in names if str(name).startswith(PREFIX)}
    new = {name: path for name, path in of_zoo.items() if not path.exists()}
    made: list[Path] = []
    try:
        for name, path in new.items():
            made.append(copy(name, path))
        yield [of_zoo.get(name, Path(name)) for name in names]
    except RequestError:
        for path in made:
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # others' runs are in there
            COPIES.rmdir()
            COPIES.parent.rmdir()
        raise
    for name, path in new.items():
        tell(f"metarl: {name} is copied to {path}, a run of your own")


def copy(name: str | Path, path: Path) -> Path:
    """Copy an agent to ``path``, which must not exist: afterwards all of it is there, or nothing.

    Raises:
        RequestError: the zoo has no such agent, or it cannot be copied.
    """
    source = shipped(name)
    if path.exists():
        raise RequestError(f"{path} exists already; allowed: a new directory")
    unfinished = path.with_name(f".{path.name}.tmp-{secrets.token_hex(4)}")
    try:
        shutil.copytree(source, unfinished, copy_function=shutil.copyfile)  # the copy can be written
        unfinished.rename(path)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise RequestError(f"{name} cannot be copied to {path}: {error.strerror or error}") from error
    return path
