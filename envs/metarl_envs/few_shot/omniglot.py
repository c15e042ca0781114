"""Few-shot classification of Omniglot (Lake, Salakhutdinov & Tenenbaum 2015), read from its own archives.

The split has the sizes of Vinyals et al. 2016 ("Matching networks for one shot learning").
"""

import functools
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metarl_envs.few_shot.classification import SIZE, FewShot, ImageClasses

CHARACTERS = {"images_background": 964, "images_evaluation": 659}
INSTANCES = 20
SPLITS = {"train": 1100, "validation": 100, "test": 423}  # characters; each gives four classes
_SHUFFLE = 2016

_DRAWING = re.compile(r"(?:^|/)([^/]+/character\d+)/(\d+_\d+)\.png$")
_WANTED = (
    "allowed: a folder with the archives of the Omniglot data set, images_background.zip and "
    "images_evaluation.zip (they are in the folder python of its authors' repository, brendenlake/omniglot), "
    "or with the two folders they contain"
)

_LARGEST = 1 << 20  # bytes; a drawing has a few hundred


class Omniglot(FewShot):
    """The family ``omniglot``; arguments and tasks as in ``FewShot``.

    Args:
        path: a folder with the two archives or what they contain, or one archive beside the other.
    """

    name = "omniglot"
    specs = {
        "vinyals2016": "Omniglot at 28×28, v1: 1623 characters in an order shuffled once, the first 1100 "
        "train, the next 100 validation, 423 test; a character turned by 90, 180 or 270 degrees is another "
        "class"
    }
    arguments = ("path", *FewShot.arguments)
    instances = INSTANCES
    defaults = {
        "model": "conv4",
        "objective": "cross-entropy",
        "tasks": 32,
        "inner_lr": 0.4,
        "iterations": 60_000,
        "checkpoint_every": 500,
        "validation_tasks": 100,
    }

    def __init__(
        self,
        spec: str | None = None,
        *,
        path: str | Path | None = None,
        ways: int | str = 5,
        shots: int = 1,
        queries: int = 15,
        **unknown: object,
    ) -> None:
        if path is None:
            raise ValueError(f"{self.name}: path is not set; {_WANTED}")
        try:
            self.path = Path(path).expanduser().resolve()
        except RuntimeError:
            raise ValueError(f"{self.name}: path {str(path)!r} names an unknown user; {_WANTED}") from None
        super().__init__(spec, ways=ways, shots=shots, queries=queries, **unknown)

    def _load(self) -> ImageClasses:
        return omniglot_images(self.path)


# What reading an archive raises; RuntimeError for an encrypted member, NotImplementedError for an unknown
# compression.
_DAMAGED = (
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)


@functools.lru_cache(maxsize=2)
def omniglot_images(path: Path) -> ImageClasses:
    """Return all drawings, with the classes of each split.

    Raises:
        ValueError: no Omniglot at ``path``, or a damaged one; one line.
    """
    folder = path.parent if path.is_file() else path
    characters: dict[str, NDArray[np.uint8]] = {}
    for part, count in CHARACTERS.items():
        source = _source(folder, part)
        part_characters = _characters(source)
        if len(part_characters) != count:
            raise ValueError(
                f"omniglot: {source} has {len(part_characters)} characters; allowed: the {count} of {part}"
            )
        characters |= part_characters
    images = np.array([characters[name] for name in sorted(characters)])
    shuffled = np.random.RandomState(_SHUFFLE).permutation(len(images))  # a stream that NumPy has frozen
    ends = np.cumsum(list(SPLITS.values()))
    parts = np.split(shuffled, ends[:-1])
    splits = {
        split: (4 * part[:, None] + np.arange(4)).ravel() for split, part in zip(SPLITS, parts, strict=True)
    }
    return ImageClasses(images, splits, turns=4)


def _source(folder: Path, part: str) -> Path:
    """Return the extracted folder of a part of the data set, or else its archive."""
    for source in (folder / part, folder / f"{part}.zip"):
        if source.exists():
            return source
    raise ValueError(f"omniglot: {folder} has neither {part}.zip nor {part}; {_WANTED}")


def _characters(source: Path) -> dict[str, NDArray[np.uint8]]:
    """Return the drawings "i 28 28" of each character, named Alphabet/characterNN; 255 is ink."""
    drawings: dict[str, dict[str, NDArray[np.uint8]]] = {}
    for name, contents in _files(source):
        if match := _DRAWING.search(name):
            drawings.setdefault(match[1], {})[match[2]] = _image(f"{source}: {name}", contents)
    for character, images in drawings.items():
        if len(images) != INSTANCES:
            raise ValueError(
                f"omniglot: {source}: {character} has {len(images)} drawings; allowed: {INSTANCES}"
            )
    return {
        character: np.array([images[name] for name in sorted(images)])
        for character, images in drawings.items()
    }


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the files of a folder or an archive, which is read in memory alone."""
    try:
        if source.is_dir():
            for file in source.glob("*/*/*.png"):
                yield file.relative_to(source).as_posix(), file.read_bytes()
            return
        with zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                if not member.filename.startswith("__MACOSX/") and member.file_size <= _LARGEST:
                    yield member.filename, archive.read(member)
    except _DAMAGED as error:
        raise ValueError(f"omniglot: {source} is damaged or no archive of Omniglot: {error}") from None


def _image(name: str, contents: bytes) -> NDArray[np.uint8]:
    """Return a drawing at 28×28, 255 being ink: each pixel averages those it covers, linearly weighted."""
    try:
        with Image.open(io.BytesIO(contents), formats=["PNG"]) as image:
            # Of one bit a pixel, Pillow would keep the nearest pixel alone.
            drawing = image.convert("L") if image.size == (105, 105) else None
    except (OSError, EOFError, SyntaxError, ValueError, zlib.error, Image.DecompressionBombError):
        drawing = None
    if drawing is None:
        raise ValueError(f"omniglot: {name} is no PNG image of 105×105 pixels")
    return np.asarray(255 - np.asarray(drawing.resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
