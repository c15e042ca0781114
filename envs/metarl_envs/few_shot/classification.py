"""Few-shot image classification: drawing classes, and examples of them.

A task is a choice of classes in random order: the place of a class in it is its label.
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from metarl_envs.base.arguments import chosen_spec, known_split, no_others, positive_int
from metarl_envs.base.formulas import Integers

SIZE = 28  # pixels of an image's side


@dataclass(frozen=True)
class ImageClasses:
    """Instances of all classes, and the classes of each split.

    Attributes:
        images: uint8 "c i height width", 255 is ink.
        splits: the classes of each split. Class number k is images[k // turns], turned by k % turns quarters.
        turns: 4 where a quarter turn makes a class of its own, else 1.
    """

    images: NDArray[np.uint8]
    splits: Mapping[str, Integers]
    turns: int = 1

    def pick(self, classes: Integers, instances: Integers) -> NDArray[np.uint8]:
        """Return images "n ways k height width" of classes "n ways", the instances being "n ways k"."""
        picked = self.images[classes[..., None] // self.turns, instances]
        for turn in range(1, self.turns):
            turned = classes % self.turns == turn
            picked[turned] = np.rot90(picked[turned], turn, axes=(-2, -1))
        return picked


class FewShot:
    """Tasks are ``{"classes": int64 "n ways"}``, examples float32 images in [0, 1], (1, 28, 28), ink being 1.

    A family says where its images come from (``_load``) and how many instances a class has.

    Args:
        spec: a key of ``specs``; None takes the first.
        ways: classes of a task, or ``all``: one task, of all classes of the split in a fixed order.
        shots: examples of each class that adaptation sees.
        queries: further examples of each class that the adapted network is judged by.

    Raises:
        ValueError: an unknown spec or argument, or numbers that the images cannot give; one line.
    """

    name: str
    specs: Mapping[str, str]
    arguments: tuple[str, ...] = ("ways", "shots", "queries")
    instances: int
    metric = "accuracy"
    num_tasks: int | None = None

    def __init__(
        self,
        spec: str | None = None,
        *,
        ways: int | str = 5,
        shots: int = 1,
        queries: int = 15,
        **unknown: object,
    ) -> None:
        no_others(self.name, unknown, self.arguments)
        self.spec = chosen_spec(self.name, spec, self.specs)
        self.shots = positive_int(self.name, "shots", shots)
        self.queries = positive_int(self.name, "queries", queries)
        if self.shots + self.queries > self.instances:
            raise ValueError(
                f"{self.name}: shots + queries is {self.shots + self.queries}; "
                f"allowed: up to {self.instances}, the instances of a class"
            )
        self.ways = self._checked_ways(ways)
        self.observation_space = Box(0.0, 1.0, (1, SIZE, SIZE), np.float32)
        train = self._load().splits["train"]
        self.action_space = Discrete(self.ways if isinstance(self.ways, int) else len(train))

    def _load(self) -> ImageClasses:
        """Return the images; read once a process, since a family travels to others without them."""
        raise NotImplementedError

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> dict[str, Integers]:
        """Draw tasks of a split; the first m are those that ``n=m`` would give.

        With ``ways="all"`` all n are alike, and have another number of classes in each split.

        Raises:
            ValueError: n below 1, or a split that the family does not have.
        """
        n = positive_int(self.name, "number of tasks", n)
        splits = self._load().splits
        classes = splits[known_split(self.name, split, splits)]
        if isinstance(self.ways, str):
            return {"classes": np.tile(classes, (n, 1))}
        return {"classes": np.array([rng.choice(classes, self.ways, replace=False) for _ in range(n)])}

    def sample_shots(self, tasks: Mapping[str, Any], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Draw examples of each task, none twice: support "n ways·shots ...", query "n ways·queries ...".

        One example of each class follows another, so that any ``ways`` in a row are one of each. ``*_x`` are
        images, ``*_y`` int64 labels 0 to ways − 1.

        Raises:
            ValueError: tasks that are not distinct classes of this family; one line.
        """
        classes = self._read(tasks)
        n, ways = classes.shape
        order = rng.random((n, ways, self.instances)).argsort(axis=-1)
        images = self._load().pick(classes, order[..., : self.shots + self.queries]).swapaxes(1, 2)
        images = np.divide(images, 255.0, dtype=np.float32)[:, :, :, None]
        drawn: dict[str, NDArray[Any]] = {}
        for part, part_images in (("support", images[:, : self.shots]), ("query", images[:, self.shots :])):
            drawn[f"{part}_x"] = part_images.reshape(n, -1, *part_images.shape[3:])
            drawn[f"{part}_y"] = np.tile(np.arange(ways), (n, part_images.shape[1]))
        return drawn

    def task_features(self, tasks: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return what an oracle sees: the numbers of the classes, float32 "n ways"."""
        return self._read(tasks).astype(np.float32)

    def _checked_ways(self, ways: int | str) -> int | str:
        if ways == "all":
            return ways
        sizes = {split: len(classes) for split, classes in self._load().splits.items()}
        fewest = min(sizes, key=sizes.__getitem__)
        try:
            number = 0 if isinstance(ways, bool) else operator.index(ways)  # type: ignore[arg-type]
        except TypeError:
            number = 0
        if not 2 <= number <= sizes[fewest]:
            raise ValueError(
                f"{self.name}: ways is {ways!r}; allowed: integers from 2 to {sizes[fewest]}, "
                f"the classes of the split {fewest}, or 'all'"
            )
        return number

    def _read(self, tasks: Mapping[str, Any]) -> Integers:
        """Return the classes "n ways" of tasks."""
        if not isinstance(tasks, Mapping) or set(tasks) != {"classes"}:
            keys = sorted(map(str, tasks)) if isinstance(tasks, Mapping) else type(tasks).__name__
            raise ValueError(f"{self.name}: task has {keys}; allowed: a dict with the key 'classes'")
        classes = np.asarray(tasks["classes"])
        rows = classes.ndim == 2 and classes.dtype.kind in "iu"
        if not rows or self.ways not in (classes.shape[1], "all"):
            shown = f"{classes.dtype} {classes.shape}"
            raise ValueError(f"{self.name}: classes are {shown}; allowed: integers (rows, {self.ways})")
        images = self._load()
        count = len(images.images) * images.turns
        ordered = np.sort(classes, axis=1)
        bad = (ordered < 0).any(1) | (ordered >= count).any(1) | (ordered[:, 1:] == ordered[:, :-1]).any(1)
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(
                f"{self.name}: classes of row {row} are {classes[row, :20].tolist()}; "
                f"allowed: different ones from 0 to {count - 1}"
            )
        return classes.astype(np.int64)
