"""omniglot: small archives in its layout, read as drawings, classes and splits; what is none, in one line."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metarl.testing import check_family
from metarl_envs.few_shot import omniglot
from metarl_envs.few_shot.omniglot import Omniglot, omniglot_images
from row_by_row import refused, rng

LAYOUT = {
    "images_background": ["Greek/character01", "Greek/character02", "Braille/character01"],
    "images_evaluation": ["Atlantean/character01", "Tengwar/character26"],
}
ORDER = sorted(LAYOUT["images_background"] + LAYOUT["images_evaluation"])


def drawing(character: int, instance: int) -> bytes:
    """Black on white, one bit a pixel: a bar across the top, one down the left, as thick as their numbers."""
    white = np.ones((105, 105), dtype=bool)
    white[: 15 * (character + 1)] = False
    white[:, : instance + 1] = False
    file = io.BytesIO()
    Image.fromarray(white).save(file, "PNG")
    return file.getvalue()


def members(part: str) -> dict[str, bytes]:
    return {
        f"{part}/{name}/{100 + ORDER.index(name):04}_{k + 1:02}.png": drawing(ORDER.index(name), k)
        for name in LAYOUT[part]
        for k in range(20)
    }


def write(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, contents in files.items():
            archive.writestr(name, contents)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five characters in place of 1623."""
    monkeypatch.setattr(omniglot, "CHARACTERS", {part: len(names) for part, names in LAYOUT.items()})
    monkeypatch.setattr(omniglot, "SPLITS", {"train": 2, "validation": 1, "test": 2})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The two archives, with what a Mac adds, in an order that is not the alphabet's."""
    for part in LAYOUT:
        files = dict(reversed(members(part).items()))
        files["__MACOSX/" + next(iter(files))] = b"Mac"
        files[f"__MACOSX/{part}/Greek/character01/._0102_01.png"] = b"Mac"
        write(tmp_path / f"{part}.zip", {f"{part}/": b"", f"{part}/.DS_Store": b"Mac"} | files)
    return tmp_path


def test_the_numbers_are_those_of_the_data_set(monkeypatch):
    monkeypatch.undo()
    assert sum(omniglot.CHARACTERS.values()) == sum(omniglot.SPLITS.values()) == 1623
    assert omniglot.SPLITS["train"] + omniglot.SPLITS["validation"] == 1200


def test_drawings_become_ink_at_28_pixels_in_alphabetical_order(folder):
    images = omniglot_images(folder).images
    assert images.shape == (5, 20, 28, 28) and images.dtype == np.uint8
    for character in range(5):
        for instance in range(20):
            # 15 rows and a column of 105 are 4 and 4/15 of 28; the edge is blurred over a pixel either side.
            down, across = 4 * (character + 1), (instance + 1) * 28 / 105
            picture = images[character, instance] / 255
            assert (picture[: down - 1] == 1).all()
            assert (picture[down + 1 :, int(across) + 2 :] == 0).all()
            assert picture[-1].sum() == pytest.approx(across, abs=0.25)
            assert picture[:, -1].sum() == pytest.approx(down, abs=0.25)


def test_a_folder_of_what_the_archives_hold_is_the_same(folder, tmp_path_factory):
    plain = tmp_path_factory.mktemp("plain")
    for part in LAYOUT:
        for name, contents in members(part).items():
            file = plain / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(contents)
    one, other = omniglot_images(folder), omniglot_images(plain)
    assert np.array_equal(one.images, other.images)
    assert np.array_equal(omniglot_images(folder / "images_evaluation.zip").images, one.images)


def test_splits_share_no_character_and_turned_characters_are_classes_of_their_own(folder):
    family = Omniglot(path=str(folder), ways=4, shots=1, queries=1)
    splits = omniglot_images(folder).splits
    assert {split: len(x) for split, x in splits.items()} == {"train": 8, "validation": 4, "test": 8}
    assert sorted(np.concatenate(list(splits.values()))) == list(range(20))
    characters = [set((classes // 4).tolist()) for classes in splits.values()]
    assert len(set.union(*characters)) == 5 == sum(map(len, characters))
    task = {"classes": splits["validation"][None]}
    four = family.sample_shots(task, rng())["support_x"][0, :, 0]
    # The bar is at the top, then at the left, the bottom, the right.
    assert four[0, 0].min() == four[1, :, 0].min() == four[2, -1].min() == four[3, :, -1].min() == 1.0
    assert four[0, -1].min() == four[1, :, -1].min() == four[2, 0].min() == four[3, :, 0].min() == 0.0


def test_the_shuffle_is_the_same_everywhere():
    """The stream of RandomState is frozen, so that the split is the same for all."""
    shuffled = np.random.RandomState(omniglot._SHUFFLE).permutation(1623)
    assert shuffled[:5].tolist() == [609, 1189, 631, 1592, 1533]


def test_it_is_a_few_shot_family_that_travels(folder):
    family = Omniglot(path=folder, ways=3, shots=5, queries=15)
    assert (family.name, family.spec, family.metric) == ("omniglot", "vinyals2016", "accuracy")
    tasks = family.sample_tasks(3, rng(), "test")
    drawn = family.sample_shots(tasks, rng(1))
    assert drawn["query_x"].shape == (3, 45, 1, 28, 28) and drawn["support_y"].shape == (3, 15)
    again = pickle.loads(pickle.dumps(family)).sample_shots(tasks, rng(1))
    assert all(np.array_equal(drawn[key], again[key]) for key in drawn)


def test_it_keeps_the_contract_of_families(folder):
    for ways in (4, "all"):
        check_family(Omniglot(path=folder, ways=ways, queries=2))


GET_IT = "images_background.zip", "images_evaluation.zip", "brendenlake/omniglot"
DAMAGED = "is damaged or no archive of Omniglot: "


def check_refusal(path: Path | str | None, *words: object, **args: object) -> None:
    with refused("omniglot: ", *words):
        Omniglot(path=path, **args)


def test_where_it_is_absent_it_says_what_to_get(tmp_path):
    check_refusal(None, "path is not set", *GET_IT)
    nowhere = tmp_path / "nowhere"
    check_refusal(nowhere, f"{nowhere} has neither images_background.zip nor images_background;", *GET_IT)
    write(tmp_path / "images_background.zip", members("images_background"))
    for path in (tmp_path, tmp_path / "images_background.zip"):
        check_refusal(path, f"{tmp_path} has neither images_evaluation.zip nor images_evaluation;", *GET_IT)
    check_refusal("~nobody-of-this-name/x", "'~nobody-of-this-name/x' names an unknown user", *GET_IT)


def test_bad_arguments_are_refused(folder):
    check_refusal(folder, "ways is 5; allowed: integers from 2 to 4, ", "split validation", ways=5)
    check_refusal(folder, "shots + queries is 21; allowed: up to 20", shots=6)
    check_refusal(folder, "unknown argument 'way'; allowed: path, ways, shots, queries", way=5)


def test_an_archive_of_something_else_is_refused(folder):
    archive = folder / "images_background.zip"
    archive.write_bytes(b"<html>not found</html>")
    check_refusal(folder, archive, DAMAGED)
    write(archive, {"cats/1.png": drawing(0, 0)})
    check_refusal(folder, archive, "has 0 characters; allowed: the 3 of images_background")
    write(archive, dict(list(members("images_background").items())[:40]))
    check_refusal(folder, archive, "has 2 characters; allowed: the 3 of images_background")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_refused(folder, compression):
    archive = folder / "images_background.zip"
    write(archive, members("images_background"), compression)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    check_refusal(folder, archive, DAMAGED)
    with zipfile.ZipFile(io.BytesIO(whole)) as zipped:
        drawings = [member for member in zipped.infolist() if "/Greek/" in member.filename][:8]
    for member in drawings:
        lzma = compression == zipfile.ZIP_LZMA  # one bit of the contents, or a byte of their header
        broken, place = bytearray(whole), 12 if lzma else member.compress_size // 2
        broken[member.header_offset + 30 + len(member.filename) + place] ^= 255 if lzma else 4
        archive.write_bytes(broken)
        check_refusal(folder, archive, DAMAGED)


@pytest.mark.parametrize("kind", ["text", "small", "jpeg", "cut"])
def test_a_member_that_is_no_drawing_is_named(folder, kind):
    files = members("images_evaluation")
    name = "images_evaluation/Tengwar/character26/0104_07.png"
    small = io.BytesIO()
    Image.fromarray(np.zeros((28, 28), dtype=np.uint8)).save(small, "PNG" if kind == "small" else "JPEG")
    contents = {"text": b"no image", "cut": files[name][:60]}
    files[name] = contents.get(kind, small.getvalue())
    write(archive := folder / "images_evaluation.zip", files)
    check_refusal(folder, f"{archive}: {name} is no PNG image of 105×105 pixels")


def test_a_drawing_too_few_is_named(folder):
    files = members("images_background")
    del files["images_background/Greek/character02/0103_20.png"]
    write(archive := folder / "images_background.zip", files)
    check_refusal(folder, f"{archive}: Greek/character02 has 19 drawings; allowed: 20")


def test_members_of_other_names_or_of_enormous_size_are_left_alone(folder):
    others = {"../../evil.png": drawing(0, 0), "/evil.png": drawing(0, 0)}
    others["images_background/A/character01/0001_01.png"] = bytes(1 << 21)
    write(folder / "images_background.zip", members("images_background") | others)
    before = sorted(folder.parent.rglob("*"))
    assert omniglot_images(folder).images.shape == (5, 20, 28, 28)
    assert sorted(folder.parent.rglob("*")) == before
