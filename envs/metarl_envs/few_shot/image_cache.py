"""Arrays that take seconds to make, kept in the user's cache folder.

A file is replaced as a whole and carries the checksum of its contents: what another process is writing, or
what is damaged, is never read. Processes that build at once each write their own file; the last one stays.
"""

import hashlib
import io
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def cached(name: str, recipe: Mapping[str, object], build: Callable[[], Arrays]) -> Arrays:
    """Return the arrays that ``build`` makes: from the cache where they are, else built and kept.

    Args:
        name: how the file's name begins.
        recipe: whatever the arrays depend on, versions above all; another recipe has another file.
        build: makes the arrays, without Python objects in them.
    """
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    file = f"{name}-{key}.bin"
    contents = _contents(file)
    if contents is None:
        contents = _packed(build())
        _keep(file, contents)
    with np.load(io.BytesIO(contents)) as arrays:
        return dict(arrays)


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/metarl``, or ``~/.cache/metarl`` where that is unset or no absolute path."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (folder if folder.is_absolute() else Path.home() / ".cache") / "metarl"


def _packed(arrays: Arrays) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]  # its stubs take names for options
    return packed.getvalue()


def _contents(file: str) -> bytes | None:
    """Return the contents of a file of the cache; None if it is missing or damaged."""
    try:
        kept = (cache_folder() / file).read_bytes()
    except (OSError, RuntimeError):  # RuntimeError: there is no home directory
        return None
    return kept[32:] if hashlib.sha256(kept[32:]).digest() == kept[:32] else None


def _keep(file: str, contents: bytes) -> None:
    """Write a file of the cache, or say in a warning why that cannot be."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f"{file}.", suffix=".tmp")
        temporary = Path(name)
        try:
            with open(handle, "wb") as out:
                out.write(hashlib.sha256(contents).digest() + contents)
            temporary.replace(folder / file)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        warnings.warn(f"{file} cannot be cached and is made anew each time: {error}", stacklevel=3)
