"""The cache of images: built once, never trusted when damaged, safe to build twice at once."""

import threading
from pathlib import Path

import numpy as np
import pytest

from metarl_envs.few_shot.image_cache import cache_folder, cached

ARRAYS = {"a": np.arange(12, dtype=np.uint8).reshape(3, 4), "b": np.array([1, -2], dtype=np.int32)}


class Build:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return dict(ARRAYS)


def right(arrays) -> bool:
    return list(arrays) == list(ARRAYS) and all(
        arrays[key].dtype == value.dtype and np.array_equal(arrays[key], value)
        for key, value in ARRAYS.items()
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "metarl"


def test_it_is_built_once_for_each_recipe(folder):
    build = Build()
    assert all(right(cached("x", {"version": 1, "of": "y"}, build)) for _ in range(3))
    assert right(cached("x", {"of": "y", "version": 1}, build)) and build.calls == 1
    assert right(cached("x", {"of": "y", "version": 2}, build)) and build.calls == 2
    assert len(list(folder.iterdir())) == 2


def test_the_same_arrays_are_the_same_bytes(folder):
    cached("x", {}, Build())
    (file,) = folder.iterdir()
    first = file.read_bytes()
    file.unlink()
    cached("x", {}, Build())
    assert file.read_bytes() == first


@pytest.mark.parametrize("place", [0, 40, -1, "cut", "empty", "other"])
def test_a_damaged_file_is_rebuilt(folder, place):
    build = Build()
    cached("x", {}, build)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    broken = bytearray({"cut": whole[: len(whole) // 2], "empty": b"", "other": b"?" * 50}.get(place, whole))
    if place in (0, 40, -1):
        broken[place] ^= 1
    file.write_bytes(broken)
    assert right(cached("x", {}, build)) and build.calls == 2
    assert file.read_bytes() == whole and list(folder.iterdir()) == [file]


def test_two_at_once_do_not_harm_each_other(folder):
    both_build, results = threading.Barrier(2, timeout=10), []

    def build():
        both_build.wait()  # neither has found the other's file
        return dict(ARRAYS)

    threads = [threading.Thread(target=lambda: results.append(cached("x", {}, build))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(results) == 2 and all(right(arrays) for arrays in results)
    again = Build()
    assert right(cached("x", {}, again)) and again.calls == 0
    assert len(list(folder.iterdir())) == 1


def test_what_another_process_is_still_writing_is_not_read(folder, monkeypatch):
    build = Build()
    replace = Path.replace

    def interrupted(self, target):
        assert right(cached("x", {}, build))  # a second process, while the first one's file is not in place
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda self, target: (patch.undo(), interrupted(self, target))[1])
        assert right(cached("x", {}, build))
    assert build.calls == 2 and len(list(folder.iterdir())) == 1


def test_a_build_that_fails_leaves_nothing(folder):
    def fails():
        raise ValueError("no fonts")

    with pytest.raises(ValueError, match=r"^no fonts$"):
        cached("x", {}, fails)
    assert not folder.exists() or not list(folder.iterdir())


def test_without_a_place_to_write_it_is_made_each_time_and_says_so(folder):
    folder.parent.mkdir()
    folder.write_text("in the way")
    build = Build()
    for calls in (1, 2):
        with pytest.warns(UserWarning, match="cannot be cached and is made anew each time"):
            assert right(cached("x", {}, build))
        assert build.calls == calls
    assert folder.read_text() == "in the way"


def test_a_write_that_fails_leaves_nothing(folder, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert right(cached("x", {}, Build()))
    assert not list(folder.iterdir())


@pytest.mark.parametrize("given", [None, "", "relative/folder"])
def test_it_lies_in_the_home_directory_unless_told_otherwise(tmp_path, monkeypatch, given):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME")
    if given is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert cache_folder() == tmp_path / ".cache" / "metarl"
