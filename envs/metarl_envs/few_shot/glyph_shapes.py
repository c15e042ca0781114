"""Drawing letters at 28×28: the fonts that matplotlib ships, a letter's ink, and distorted instances of it.

Only numbers in [0, 1) are drawn from NumPy, one generator a letter, so a letter's images depend on no other.
"""

import functools
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from metarl_envs.few_shot.classification import SIZE

Bitmaps = NDArray[np.uint8]

_EM = 64  # pixels of a font's em, at which ink is drawn before it is scaled down
_SMALLEST = 20  # pixels of the longer side there: what is smaller has too few to be magnified
_LONG_SIDE = 20.0  # pixels of the longer side of undistorted ink at 28×28
_SEED = 2022

# Upright and slanted faces. Italics are left out: their letter forms may be those of another letter.
_FACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "STIXGeneral", "STIXGeneralBol"),
)
_PLAIN = "DejaVuSans"  # covers every script in use
_COMPARED = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSerif")

# An instance: turned, slanted and scaled along each axis by up to so much either way, and moved.
_TURN, _SLANT, _SCALE, _MOVE = 0.3, 0.3, 0.2, 2.0  # radians, tangent, logarithm of the factor, pixels
_STROKES = 3  # an outline of 0, 1 or 2 pixels of ink thickens the strokes
_STRETCH = 1.4  # how far the shorter side is stretched for comparison: about what two instances may differ by


@dataclass(frozen=True)
class _Face:
    font: ImageFont.FreeTypeFont
    letters: frozenset[str]


@functools.cache
def _faces() -> Mapping[str, _Face]:
    """Return the fonts by name."""
    import matplotlib  # takes a moment, for which the family's name and specs need not wait
    from matplotlib.ft2font import FT2Font

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    faces = {}
    for name in _FACES:
        path = folder / f"{name}.ttf"
        if not path.is_file():
            raise ValueError(
                f"glyphs: matplotlib {matplotlib.__version__} has no {path}; allowed: its own fonts"
            )
        # The basic layout is there whether or not Pillow was built with a shaping library.
        font = ImageFont.truetype(str(path), _EM, layout_engine=ImageFont.Layout.BASIC)
        faces[name] = _Face(font, frozenset(map(chr, FT2Font(str(path)).get_charmap())))
    return faces


def letters(script: str) -> list[str]:
    """Return the letters of a script that the fonts cover, by code point.

    A script is the first word of a character's Unicode name. Characters that are composed of others (accented
    letters, ligatures, presentation forms) are left out, and so are dots and ticks.
    """
    plain = _faces()[_PLAIN]
    return [
        char
        for char in sorted(plain.letters)
        if unicodedata.category(char) in ("Lu", "Ll", "Lt", "Lo")
        and not unicodedata.decomposition(char)
        and unicodedata.name(char).split()[0] == script
        and max(_ink(char, plain).size) >= _SMALLEST
    ]


@functools.lru_cache(maxsize=64)  # where few fonts cover a letter, its instances share ink
def _ink(char: str, face: _Face, stroke: int = 0) -> Image.Image:
    """Draw the letter's ink (255) without margins, strokes ``stroke`` pixels thicker on either side."""
    left, top, right, bottom = face.font.getbbox(char, stroke_width=stroke)
    image = Image.new("L", (math.ceil(right - left) + 2, math.ceil(bottom - top) + 2))
    ImageDraw.Draw(image).text((1 - left, 1 - top), char, fill=255, font=face.font, stroke_width=stroke)
    return image.crop(image.getbbox())


def _drawn(
    ink: Image.Image,
    turn: float = 0.0,
    slant: float = 0.0,
    scale: tuple[float, float] = (1.0, 1.0),
    move: tuple[float, float] = (0.0, 0.0),
) -> Bitmaps:
    """Bring ink to 28×28: fitted to the long side, scaled (x, y), slanted, turned, moved from the centre."""
    width, height = ink.size
    fit = 2.0 * _LONG_SIDE / max(width, height)  # drawn at twice the size, then averaged over 2×2 pixels
    cos, sin = math.cos(turn), math.sin(turn)
    forward = np.array([[cos, cos * slant - sin], [sin, sin * slant + cos]]) * (fit * np.array(scale))
    back = np.linalg.inv(forward)
    start = np.array([width, height]) / 2.0 - back @ (SIZE + 2.0 * np.array(move))
    (a, b), (d, e) = back.tolist()
    c, f = start.tolist()
    transform, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return np.asarray(ink.transform((2 * SIZE, 2 * SIZE), transform, (a, b, c, d, e, f), bilinear).reduce(2))


def appearances(char: str) -> Bitmaps:
    """Return a letter undistorted, "2 faces 28 28": as it is, and with its shorter side stretched."""
    inks = [_ink(char, _faces()[name]) for name in _COMPARED if char in _faces()[name].letters]
    return np.array([[_drawn(ink) for ink in inks], [_drawn(ink, scale=_stretched(ink)) for ink in inks]])


def _stretched(ink: Image.Image) -> tuple[float, float]:
    width, height = ink.size
    factor = min(max(width, height) / min(width, height), _STRETCH)
    return (factor, 1.0) if width < height else (1.0, factor)


def instances(char: str, n: int) -> Bitmaps:
    """Draw n distorted instances of a letter, "n 28 28", each in one of the faces that cover it."""
    rng = np.random.default_rng([_SEED, ord(char)])
    faces = [face for face in _faces().values() if char in face.letters]
    images = []
    for style, stroke, *rest in rng.random((n, 8)).tolist():
        turn, slant, wide, high, right, down = (2.0 * u - 1.0 for u in rest)
        ink = _ink(char, faces[int(style * len(faces))], int(stroke * _STROKES))
        scale = math.exp(_SCALE * wide), math.exp(_SCALE * high)
        images.append(_drawn(ink, _TURN * turn, _SLANT * slant, scale, (_MOVE * right, _MOVE * down)))
    return np.array(images)
