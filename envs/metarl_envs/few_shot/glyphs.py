"""Few-shot classification of letters drawn from the fonts that matplotlib ships: images without a download.

A class is a letter, an instance a distorted drawing of it; the splits are scripts (``glyph_classes``).
"""

import functools

import numpy as np
import PIL
from PIL import features

from metarl_envs.few_shot.classification import FewShot, ImageClasses
from metarl_envs.few_shot.glyph_classes import SCRIPTS, classes
from metarl_envs.few_shot.glyph_shapes import instances
from metarl_envs.few_shot.image_cache import Arrays, cached

RECIPE = 1  # to be raised whenever glyph_shapes or glyph_classes draw or choose something else
INSTANCES = 20


class Glyphs(FewShot):
    """The family ``glyphs``; arguments and tasks as in ``FewShot``.

    The images are rendered when first asked for, in seconds, and kept in the user's cache folder.
    """

    name = "glyphs"
    specs = {
        "scripts": "letters of Unicode scripts in the fonts that matplotlib ships, v1: 20 instances a "
        "letter, each with a random affine distortion, stroke weight and font; look-alikes are one class; "
        "train, validation and test have different scripts"
    }
    instances = INSTANCES
    defaults = {
        "model": "conv4",
        "objective": "cross-entropy",
        "tasks": 8,
        "inner_lr": 0.4,
        "iterations": 2000,
        "checkpoint_every": 50,
        "validation_tasks": 40,
    }

    def _load(self) -> ImageClasses:
        return glyph_images()

    def letters(self) -> list[str]:
        """Return the letter behind each class number."""
        return [chr(point) for point in _rendered()["letters"].tolist()]


@functools.cache
def glyph_images() -> ImageClasses:
    """Return all instances of all classes, with the classes of each split."""
    arrays = _rendered()
    splits = {split: np.flatnonzero(arrays["split"] == k) for k, split in enumerate(SCRIPTS)}
    return ImageClasses(arrays["images"], splits)


@functools.cache
def _rendered() -> Arrays:
    import matplotlib  # as in glyph_shapes

    recipe = {
        "recipe": RECIPE,
        "matplotlib": matplotlib.__version__,
        "pillow": PIL.__version__,
        "freetype": features.version("freetype2"),
        "numpy": np.__version__,
    }
    return cached("glyphs", recipe, render)


def render() -> Arrays:
    """Draw ``images`` uint8 "c i 28 28", ``letters`` int32 "c" (code points), ``split`` int8 "c"."""
    chosen = [(letter, k) for k, members in enumerate(classes().values()) for letter in members]
    return {
        "images": np.array([instances(letter, INSTANCES) for letter, _ in chosen]),
        "letters": np.array([ord(letter) for letter, _ in chosen], dtype=np.int32),
        "split": np.array([k for _, k in chosen], dtype=np.int8),
    }
