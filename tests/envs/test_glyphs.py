"""glyphs: how letters are drawn, which are classes, that splits share none, and that the images are hard."""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metarl_envs.few_shot import glyph_classes, glyph_shapes, glyphs
from metarl_envs.few_shot.glyph_classes import SCRIPTS, look_alikes
from metarl_envs.few_shot.glyph_shapes import _drawn, appearances, instances, letters
from metarl_envs.few_shot.glyphs import Glyphs, glyph_images
from row_by_row import refused, rng

SHIFTS = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]


@pytest.fixture(scope="module", autouse=True)
def _rendered_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Rendered once for this module, outside the home directory."""
    for cache in (glyphs._rendered, glyph_images):
        cache.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def script(letter: str) -> str:
    return unicodedata.name(letter).split()[0]


def standardised(images) -> np.ndarray:
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def largest_correlation(one, other) -> float:
    """Between any image of one and any of the other, where one may be shifted by a pixel."""
    fixed = standardised(other).T
    return max(float((standardised(np.roll(one, shift, (1, 2))) @ fixed).max()) for shift in SHIFTS)


def test_ink_is_fitted_centred_scaled_and_moved():
    ink = Image.new("L", (40, 20), 255)
    plain = _drawn(ink)  # the long side becomes 20 of 28 pixels: columns 4 to 23, rows 9 to 18
    assert plain.dtype == np.uint8 and plain.shape == (28, 28)
    assert (plain[10:18, 5:23] == 255).all() and plain.sum() == pytest.approx(255 * 200, rel=0.06)
    assert (plain[:9] == 0).all() and (plain[19:] == 0).all() and (plain[:, :4] == 0).all()
    assert (plain[:, 24:] == 0).all()
    assert np.array_equal(_drawn(ink, move=(2.0, -3.0)), np.roll(plain, (-3, 2), (0, 1)))
    assert np.array_equal(_drawn(ink, scale=(1.0, 2.0)), _drawn(Image.new("L", (40, 40), 255)))
    assert _drawn(ink, scale=(0.5, 1.0)).sum() == pytest.approx(255 * 100, rel=0.1)


def test_ink_is_turned_and_slanted_about_its_centre():
    ink = Image.new("L", (40, 20), 0)
    ink.paste(255, (0, 0, 40, 4))  # a bar along the top
    assert np.abs(_drawn(ink, turn=np.pi / 2).astype(int) - np.rot90(_drawn(ink), -1)).max() <= 1
    slanted, plain = _drawn(ink, slant=0.4), _drawn(ink)
    # The bar's middle is 4 of 28 pixels above the centre, so that a slant of 0.4 moves it left by 1.6.
    columns = np.arange(28)
    shift = (slanted.sum(0) @ columns) / slanted.sum() - (plain.sum(0) @ columns) / plain.sum()
    assert shift == pytest.approx(-1.6, abs=0.1)


def test_strokes_grow_on_both_sides():
    face = glyph_shapes._faces()["DejaVuSans"]
    thin, thick = (glyph_shapes._ink("l", face, stroke) for stroke in (0, 2))
    assert (thick.width - thin.width, thick.height - thin.height) == (4, 4)
    assert thin.getextrema()[1] == thick.getextrema()[1] == 255
    assert np.asarray(thick)[4:-4, 4:-4].min() > 0  # filled, no outline


def test_letters_are_letters_that_are_not_composed():
    greek = letters("GREEK")
    assert {"Α", "ω", "Ϡ"} <= set(greek) and not {"ά", "Ά", "ϐ", "ʹ"} & set(greek)
    assert greek == sorted(greek) and all(unicodedata.category(letter)[0] == "L" for letter in greek)
    assert letters("KLINGON") == []


def test_instances_are_drawn_letter_by_letter():
    three = instances("Ж", 3)
    assert np.array_equal(instances("Ж", 5)[:3], three)
    assert not np.array_equal(instances("Ш", 3), three)


def test_what_looks_like_a_third_looks_alike():
    """Discs: the middle one correlates above the bound with the smaller and the larger, which do not."""
    y, x = np.mgrid[-14:14, -14:14] + 0.5
    discs = [np.uint8(255) * (x**2 + y**2 < radius**2) for radius in (8.0, 8.3, 8.6)]
    bar = np.uint8(255) * (np.abs(x) < 2)
    shapes = [np.array([[shape], [shape]]) for shape in (discs[0], bar, discs[2], discs[1], bar)]
    one, two, far = (largest_correlation(discs[j][None], discs[k][None]) for j, k in ((0, 1), (1, 2), (2, 0)))
    assert min(one, two) > glyph_classes.ALIKE > far
    assert look_alikes(shapes).tolist() == [0, 1, 0, 0, 1]
    assert look_alikes([shapes[k] for k in (0, 1, 2, 4)]).tolist() == [0, 1, 2, 1]


def test_one_alike_appearance_in_either_view_is_enough():
    images = rng().integers(0, 256, (6, 28, 28)).astype(np.uint8)
    a, b, c, d, e, f = images
    shapes = [np.array([[a, b], [a, b]]), np.array([[c], [d]]), np.array([[e, np.roll(b, 1, 0)], [e, f]])]
    assert look_alikes(shapes).tolist() == [0, 1, 0]
    shapes[2][0, 1], shapes[1][1, 0] = f, np.roll(b, -1, 1)
    assert look_alikes(shapes).tolist() == [0, 0, 2]
    shapes[1][1, 0] = np.roll(b, 2, 1)
    assert look_alikes(shapes).tolist() == [0, 1, 2]


def test_joining_is_that_of_a_slow_search():
    for seed in range(40):
        random = rng(seed)
        first, neighbours = np.arange(30), {k: {k} for k in range(30)}
        for _ in range(3):  # block by block, as pairs are found
            one, other = random.integers(0, 30, (2, 6))
            glyph_classes._join(first, one, other)
            for a, b in zip(one.tolist(), other.tolist(), strict=True):
                neighbours[a].add(b)
                neighbours[b].add(a)
        for k in range(30):
            reached = {k}
            while (more := set().union(*(neighbours[j] for j in reached))) != reached:
                reached = more
            assert first[k] == min(reached)


def test_every_split_has_classes_of_its_own_scripts():
    found, splits = Glyphs().letters(), glyph_images().splits
    assert len(set(found)) == len(found) == len(glyph_images().images) == sum(map(len, splits.values()))
    for split, classes in splits.items():
        assert {script(found[k]) for k in classes} == set(SCRIPTS[split])
    assert len(splits["train"]) > 500 and len(splits["validation"]) > 60 and len(splits["test"]) > 100


def test_letters_that_look_alike_across_scripts_are_one_class():
    found = set(Glyphs().letters())
    assert found & set("AΑАꓮ") == {"A"} and found & set("oοоօ") <= {"o"}
    assert not found & set("ΙІӀוןⵏ")  # "I", and not even in another split
    assert {"Ж", "Ω", "ფ", "ש", "ⵣ"} <= found


def test_no_two_classes_of_different_splits_look_alike():
    """Over all classes, in every face that is compared, as they are and with the shorter side stretched."""
    found = Glyphs().letters()
    shapes = {
        split: np.concatenate([appearances(found[k]) for k in classes], axis=1)
        for split, classes in glyph_images().splits.items()
    }
    for view in (0, 1):
        for one, other in (("validation", "train"), ("test", "train"), ("test", "validation")):
            assert largest_correlation(shapes[one][view], shapes[other][view]) <= 0.95
        greek = appearances("Α")[view]  # what the check would find, had it a class of its own
        assert largest_correlation(greek, shapes["train"][view]) > 0.95


def test_the_cache_holds_what_the_recipe_draws():
    found, images = Glyphs().letters(), glyph_images().images
    assert images.shape[1:] == (20, 28, 28) and images.dtype == np.uint8
    for k in range(0, len(found), 83):
        assert np.array_equal(images[k], instances(found[k], 20))
    assert len(list(Path(os.environ["XDG_CACHE_HOME"], "metarl").iterdir())) == 1


def test_every_instance_has_ink_and_is_unlike_the_others():
    images = glyph_images().images
    assert images.max(axis=(2, 3)).min() > 150
    share = (images > 127).mean(axis=(2, 3))
    assert share.min() > 0.01 and share.max() < 0.7
    assert len({image.tobytes() for image in images.reshape(-1, 784)}) == images.shape[0] * images.shape[1]
    border = np.concatenate([images[..., 0, :], images[..., -1, :]], axis=-1)
    assert (border > 127).mean() < 0.01  # hardly any is cut off


def test_tasks_and_defaults():
    family = Glyphs(ways=20, shots=5)
    drawn = family.sample_shots(family.sample_tasks(2, rng(), "validation"), rng(1))
    assert drawn["support_x"].shape == (2, 100, 1, 28, 28) and drawn["query_y"].shape == (2, 300)
    assert drawn["query_x"][0, 0] in family.observation_space
    assert (family.spec, family.metric, family.num_tasks) == ("scripts", "accuracy", None)
    assert family.defaults["model"] == "conv4"
    with refused("glyphs: ways is 5000; allowed: integers from 2 to ", ", the classes"):
        Glyphs(ways=5000)


@pytest.mark.parametrize(("shots", "least", "most"), [(1, 0.45, 0.60), (5, 0.66, 0.80)])
def test_the_nearest_pixels_tell_something_but_not_much(shots, least, most):
    """Accuracy of the nearest neighbour, 5-way on test tasks: well above chance, with room to learn."""
    family = Glyphs(shots=shots)
    drawn = family.sample_shots(family.sample_tasks(100, rng(), "test"), rng(1))
    right = []
    for row in range(100):
        support, query = (drawn[f"{part}_x"][row].reshape(-1, 784) for part in ("support", "query"))
        distance = (support**2).sum(1) - 2 * query @ support.T
        right.append(drawn["support_y"][row][distance.argmin(axis=1)] == drawn["query_y"][row])
    assert least < np.mean(right) < most
