"""Few-shot tasks from images that say which class and instance they are."""

import functools
import pickle

import numpy as np
import pytest

from metarl_envs.few_shot.classification import FewShot, ImageClasses
from row_by_row import refused, rng

CLASSES, INSTANCES = 12, 6
SPLITS = {"train": np.arange(6), "validation": np.array([9, 8, 6]), "test": np.array([10, 11, 7])}


@functools.cache
def numbered(turns: int = 1) -> ImageClasses:
    """The pixel in the first corner is the class, the next one the instance."""
    images = np.zeros((CLASSES, INSTANCES, 28, 28), dtype=np.uint8)
    images[..., 0, 0] = np.arange(CLASSES)[:, None]
    images[..., 0, 1] = np.arange(INSTANCES)
    splits = {name: np.concatenate([turns * part + k for k in range(turns)]) for name, part in SPLITS.items()}
    return ImageClasses(images, splits, turns)


class Numbered(FewShot):
    name = "numbered"
    specs = {"plain": "12 classes of 6 instances", "turned": "48 classes of 6 instances"}
    instances = INSTANCES

    def _load(self) -> ImageClasses:
        return numbered(4 if self.spec == "turned" else 1)


def make(ways: int | str = 2, shots: int = 2, queries: int = 3, spec: str | None = None) -> Numbered:
    return Numbered(spec, ways=ways, shots=shots, queries=queries)


def read(x):
    """Class and instance of each image."""
    return np.rint(x[..., 0, 0, :2] * 255).astype(int)


def test_tasks_are_distinct_classes_of_their_split():
    family = make()
    for split, part in SPLITS.items():
        classes = family.sample_tasks(300, rng(), split)["classes"]
        assert classes.shape == (300, 2) and classes.dtype == np.int64
        assert set(classes.ravel()) == set(part)
        assert (classes[:, 0] != classes[:, 1]).all()


def test_every_ordered_choice_of_classes_is_equally_likely():
    """A class must not be tied to a label: 6 · 5 ordered pairs, each 3000 / 30 times."""
    classes = make().sample_tasks(3000, rng(1))["classes"]
    _, counts = np.unique(classes, axis=0, return_counts=True)
    assert len(counts) == 30 and np.abs(counts - 100).max() < 40


def test_all_ways_are_one_task_in_a_fixed_order():
    family = make("all", shots=1, queries=1)
    assert family.action_space.n == 6
    for split, part in SPLITS.items():
        for seed in (0, 1):
            assert family.sample_tasks(2, rng(seed), split)["classes"].tolist() == [part.tolist()] * 2
    drawn = family.sample_shots(family.sample_tasks(1, rng(), "validation"), rng())
    assert read(drawn["support_x"])[0, :, 0].tolist() == [9, 8, 6]
    assert drawn["support_y"].tolist() == [[0, 1, 2]]


def test_labels_are_places_in_the_task_and_any_ways_in_a_row_are_one_of_each():
    family = make(ways=3, shots=2, queries=4)
    tasks = {"classes": np.array([[5, 0, 11], [3, 7, 1]])}
    drawn = family.sample_shots(tasks, rng())
    first = family.sample_shots({"classes": tasks["classes"][:1]}, rng())  # whatever tasks follow
    assert all(np.array_equal(first[key], drawn[key][:1]) for key in drawn)
    for part, each in (("support", 2), ("query", 4)):
        x, y = drawn[f"{part}_x"], drawn[f"{part}_y"]
        assert x.shape == (2, 3 * each, 1, 28, 28) and x.dtype == np.float32
        assert y.dtype == np.int64 and y.tolist() == [[0, 1, 2] * each] * 2
        assert np.array_equal(read(x)[..., 0], np.take_along_axis(tasks["classes"], y, axis=1))


def test_no_instance_is_drawn_twice_and_all_are_drawn_alike():
    family = make(ways=2, shots=2, queries=4)  # all six
    drawn = family.sample_shots(family.sample_tasks(600, rng()), rng(1))
    together = np.concatenate([read(drawn["support_x"]), read(drawn["query_x"])], axis=1)
    for label in (0, 1):
        assert (np.sort(together[:, label::2, 1], axis=1) == np.arange(INSTANCES)).all()
    counts = np.bincount(read(drawn["support_x"])[..., 1].ravel(), minlength=INSTANCES)
    assert np.abs(counts - 400).max() < 70
    first, second = read(drawn["support_x"])[:, :2, 1].T  # of the two classes: drawn apart
    assert (first == second).mean() == pytest.approx(1 / 6, abs=0.06)


def test_ink_is_one():
    images = np.zeros((2, INSTANCES, 28, 28), dtype=np.uint8)
    images[1, :, 3, 4] = 255
    family = make(shots=1, queries=1)
    family._load = lambda: ImageClasses(images, SPLITS)
    x = family.sample_shots({"classes": np.array([[0, 1]])}, rng())["query_x"]
    assert x[0, 0].max() == 0.0 and x[0, 1, 0, 3, 4] == 1.0 and x[0, 1].sum() == 1.0


def test_a_quarter_turn_is_another_class():
    family = make(ways=5, shots=1, queries=1, spec="turned")
    assert family.sample_tasks(400, rng(), "test")["classes"].max() == 47
    drawn = family.sample_shots({"classes": np.array([[8, 9, 10, 11, 28]])}, rng())["support_x"][0, :, 0]
    for turn in range(4):  # numbers 8 to 11 are class 2, turned
        assert read(np.rot90(drawn[turn], -turn)[None])[0] == 2
        corner = [(0, 0), (27, 0), (27, 27), (0, 27)][turn]  # against the clock
        assert np.rint(drawn[turn][corner] * 255) == 2
    assert read(drawn[4][None])[0] == 7


def test_an_oracle_sees_the_classes():
    features = make().task_features({"classes": [[3, 1]]})
    assert features.dtype == np.float32 and features.tolist() == [[3.0, 1.0]]


def test_it_travels_to_worker_processes_without_its_images():
    family = make()
    packed = pickle.dumps(family)
    assert len(packed) < 12_000 < numbered().images.nbytes
    tasks = family.sample_tasks(3, rng())
    one, other = (f.sample_shots(tasks, rng(1)) for f in (family, pickle.loads(packed)))
    assert all(np.array_equal(one[key], other[key]) for key in one)


WAYS = "integers from 2 to 3, the classes of the split validation, or 'all'"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"ways": 4}, f"ways is 4; allowed: {WAYS}"),
        ({"ways": 1}, f"ways is 1; allowed: {WAYS}"),
        ({"ways": "al"}, f"ways is 'al'; allowed: {WAYS}"),
        ({"shots": 0}, "shots is 0; allowed: integers from 1"),
        ({"queries": 0}, "queries is 0; allowed: integers from 1"),
        ({"shots": 4}, "shots + queries is 7; allowed: up to 6, the instances of a class"),
        ({"spec": "best"}, "unknown spec 'best'; allowed: plain, turned"),
        ({"shot": 2}, "unknown argument 'shot'; allowed: ways, shots, queries"),
    ],
)
def test_bad_arguments_are_refused(args, message, monkeypatch):
    if "ways" not in args:
        monkeypatch.setattr(Numbered, "_load", lambda self: pytest.fail("images are loaded first"))
    with refused(f"numbered: {message}"):
        Numbered(**{"ways": 2, "shots": 1, "queries": 3} | args)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([[0, 12]], "classes of row 0 are [0, 12]; allowed: different ones from 0 to 11"),
        ([[0, 1], [-1, 2]], "classes of row 1 are [-1, 2]"),
        ([[0, 1], [4, 4]], "classes of row 1 are [4, 4]"),
        ([0, 1], "classes are int64 (2,); allowed: integers (rows, 2)"),
        ([[0, 1, 2]], "classes are int64 (1, 3)"),
        ([[0.0, 1.0]], "classes are float64 (1, 2)"),
    ],
)
def test_bad_tasks_are_refused(classes, message):
    with refused(f"numbered: {message}"):
        make().sample_shots({"classes": np.array(classes)}, rng())
    with refused("numbered: task has ['goal']", "'classes'"):
        make().task_features({"goal": [[0, 1]]})
    with refused("numbered: no split 'ood'; allowed: train, validation, test"):
        make().sample_tasks(3, rng(), "ood")
