"""A checkpoint comes back bit for bit or is refused, and no kill costs the ones before it."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core.errors import RequestError
from metarl.run.store import checkpoint as ck
from metarl.run.store.checkpoint import MANIFEST, STATE, DamagedCheckpoint

Patch = pytest.MonkeyPatch


def state(seed: int = 0) -> dict[str, Tensor]:
    """Tensors that are awkward to store: strided, shared, 0-d, empty, of several kinds; not in order."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(3, 4, generator=generator)
    return {
        "z/transposed": base.T,
        "a/shared": base[1:],
        "scalar": torch.tensor(float(seed)),
        "empty": torch.zeros(0, 3),
        "double": torch.randn(2, generator=generator, dtype=torch.float64).requires_grad_(),
        "half": torch.randn(3, generator=generator).bfloat16(),
        "count": torch.tensor([2**62 + 1]),
        "flag": torch.tensor([True, False]),
        "odd": torch.tensor([float("nan"), -0.0, float("inf"), 1e-45]),
    }


def bits(tensors: dict[str, Tensor]) -> list[tuple[str, torch.dtype, torch.Size, list[int]]]:
    """Everything that must come back, the order of the names too."""
    return [
        (key, t.dtype, t.shape, t.detach().contiguous().reshape(-1).view(torch.uint8).tolist())
        for key, t in tensors.items()
    ]


def save_values(directory: Path, values: Mapping[int, float | list[float] | None]) -> None:
    for iteration, value in values.items():
        ck.save(directory, iteration, {"x": torch.tensor(iteration)}, {"validation": value})


def best(directory: Path) -> int:
    return int(ck.find(directory, "best").name)


def refusal(folder: Path) -> str:
    with pytest.raises(DamagedCheckpoint) as caught:
        ck.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def no_warning(message: str) -> None:
    raise AssertionError(message)


def test_round_trip_keeps_bits_order_and_extra(tmp_path: Path) -> None:
    extra = {"validation": -0.1, "third": 1 / 3, "list": [1, None, "θ"], "nested": {"a": {}}}
    folder = ck.save(tmp_path / "checkpoints", 100, state(), extra)
    assert folder == tmp_path / "checkpoints" / "000100"
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, STATE]
    loaded = ck.load(folder)
    assert (loaded.iteration, loaded.extra) == (100, extra)
    assert bits(loaded.tensors) == bits(state())
    assert all(tensor.is_contiguous() for tensor in loaded.tensors.values())


def test_stored_bytes_do_not_depend_on_the_run_that_wrote_them(tmp_path: Path) -> None:
    first, second = (ck.save(tmp_path / name, 1, state(), {"b": 1, "a": 2}) for name in ("one", "two"))
    for name in (MANIFEST, STATE):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_an_empty_state_and_long_runs_are_fine(tmp_path: Path) -> None:
    ck.save(tmp_path, 0, {}, {})
    ck.save(tmp_path, 12_345_678, {}, {})
    assert ck.available(tmp_path) == [0, 12_345_678]
    assert ck.load(ck.find(tmp_path)).iteration == 12_345_678


@pytest.mark.parametrize("name", [STATE, MANIFEST])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.999])
def test_truncation_is_refused_by_name(tmp_path: Path, name: str, part: float) -> None:
    path = ck.save(tmp_path, 1, state(), {}) / name
    os.truncate(path, min(int(path.stat().st_size * part), path.stat().st_size - 1))
    assert str(path) in refusal(tmp_path / "000001")


@pytest.mark.parametrize("name", [STATE, MANIFEST])
def test_a_missing_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = ck.save(tmp_path, 1, state(), {}) / name
    path.unlink()
    assert f"{path}: is missing" in refusal(tmp_path / "000001")


def test_each_flipped_bit_of_the_state_is_refused(tmp_path: Path) -> None:
    path = ck.save(tmp_path, 1, {"x": torch.arange(4.0)}, {}) / STATE
    content = path.read_bytes()
    for place in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert str(path) in refusal(tmp_path / "000001")


def test_no_flipped_bit_of_the_manifest_changes_what_is_read(tmp_path: Path) -> None:
    path = ck.save(tmp_path, 1, {"x": torch.arange(4.0)}, {"validation": -40.25, "text": "é"}) / MANIFEST
    content, whole = path.read_bytes(), ck.load(path.parent)
    refused = 0
    for place in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            loaded = ck.load(path.parent)
        except RequestError:
            refused += 1
        else:  # \u00e9 and \u00E9 are the same letter
            assert (loaded.iteration, loaded.extra) == (whole.iteration, whole.extra)
            assert bits(loaded.tensors) == bits(whole.tensors)
    assert refused > 0.99 * 8 * len(content)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "[" * 100_000, '{"format": 1}', '{"format": true}'])
def test_a_manifest_that_is_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = ck.save(tmp_path, 1, state(), {}) / MANIFEST
    path.write_text(text)
    assert str(path) in refusal(tmp_path / "000001")


@pytest.mark.parametrize(
    "change",
    [{"iteration": "1"}, {"extra": []}, {"files": {}}, {"files": {STATE: {"size": 1}}}, {"tensors": None}],
)
def test_an_honest_sum_over_nonsense_is_refused_too(tmp_path: Path, change: dict[str, Any]) -> None:
    path = ck.save(tmp_path, 1, state(), {}) / MANIFEST
    manifest = json.loads(path.read_text()) | change
    path.write_text(json.dumps(manifest | {"sha256": ck._manifest_sum(manifest)}))
    assert str(path) in refusal(tmp_path / "000001")


def test_a_folder_under_another_iteration_is_refused(tmp_path: Path) -> None:
    ck.save(tmp_path, 1, state(), {}).rename(tmp_path / "000002")
    assert "iteration 1" in refusal(tmp_path / "000002")


def test_a_newer_format_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = ck.save(tmp_path, 2, state(), {}) / MANIFEST
    ck.save(tmp_path, 1, state(), {})
    path.write_text(json.dumps({"format": 7, "anything": "else"}))
    for read in (lambda: ck.load(tmp_path / "000002"), lambda: ck.latest_intact(tmp_path, no_warning)):
        with pytest.raises(RequestError, match=r"format 7.*up to 1") as caught:
            read()
        assert not isinstance(caught.value, DamagedCheckpoint)


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    folder = ck.save(tmp_path, 1, {"x": torch.zeros(2)}, {})
    torch.save({"x": torch.zeros(2)}, folder / STATE)
    assert STATE in refusal(folder)


def test_the_one_before_a_damaged_one_is_used_with_one_warning_each(tmp_path: Path) -> None:
    for iteration in (1, 2, 3):
        ck.save(tmp_path, iteration, state(iteration), {})
    os.truncate(tmp_path / "000003" / STATE, 10)
    (tmp_path / "000002" / MANIFEST).unlink()
    warnings: list[str] = []
    loaded = ck.latest_intact(tmp_path, warnings.append)
    assert loaded is not None
    assert loaded.iteration == 1
    assert bits(loaded.tensors) == bits(state(1))
    assert len(warnings) == 2
    assert "000003" in warnings[0]
    assert "checkpoint 2" in warnings[0]
    assert "000002" in warnings[1]
    assert "checkpoint 1" in warnings[1]

    assert ck.available(tmp_path) == [1]  # or pruning would keep the damaged ones instead of the next
    assert (tmp_path / "000003.damaged" / STATE).stat().st_size == 10
    (tmp_path / "000001" / STATE).unlink()
    assert ck.latest_intact(tmp_path, warnings.append) is None
    assert "iteration 0" in warnings[-1]


def test_without_checkpoints_there_is_none_and_no_warning(tmp_path: Path) -> None:
    missing = tmp_path / "checkpoints"
    assert ck.available(missing) == []
    assert ck.latest_intact(missing, no_warning) is None
    ck.prune(missing, keep=1)
    with pytest.raises(RequestError, match="no checkpoint"):
        ck.find(missing, "best")


def test_best_is_the_highest_value_and_the_earliest_of_equals(tmp_path: Path) -> None:
    save_values(tmp_path, {10: -5.0, 20: None, 30: -2, 40: -2.0, 50: float("nan"), 60: -3.0})
    assert best(tmp_path) == 30
    (tmp_path / "000030" / MANIFEST).write_text("{")
    assert best(tmp_path) == 40


def test_of_equal_first_numbers_the_second_decides(tmp_path: Path) -> None:
    save_values(
        tmp_path, {10: [0.5, 3.0], 20: [0.5, 4.0], 30: [0.4, 9.0], 40: [0.5, 4.0], 50: [0.6, math.nan]}
    )
    assert best(tmp_path) == 20
    save_values(tmp_path, {60: [0.6, -9.0], 70: []})
    assert best(tmp_path) == 60


def test_find_names_what_there_is(tmp_path: Path) -> None:
    save_values(tmp_path, {10: None, 20: None})
    assert ck.find(tmp_path, "best") == ck.find(tmp_path, "last") == ck.find(tmp_path, 20)
    assert ck.find(tmp_path, "10").name == "000010"
    for which in (15, "15", "worst"):
        with pytest.raises(RequestError, match=r"15.*best, last, 10, 20|worst.*best, last, 10, 20"):
            ck.find(tmp_path, which)


@pytest.mark.parametrize("which", ["best", "last"])
@pytest.mark.parametrize("function", ["load", "read_manifest", "_read"])
def test_one_that_is_removed_while_it_is_read_is_not_missed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    which: str,
    function: str,
) -> None:
    save_values(tmp_path, {1: -5.0})
    read = getattr(ck, function)

    def trained_on(path: Path, *more: Any) -> Any:
        monkeypatch.setattr(ck, function, read)
        save_values(tmp_path, {2: -1.0})
        ck.prune(tmp_path, keep=1)
        return read(path, *more)

    monkeypatch.setattr(ck, function, trained_on)
    assert ck.load_found(tmp_path, which).iteration == 2
    assert ck.available(tmp_path) == [2]
    assert capsys.readouterr().err == ""


def test_one_that_is_listed_at_neither_of_its_names_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_values(tmp_path, {1: 0.0})
    listed = ck._folders
    answers = [{}]
    monkeypatch.setattr(ck, "_folders", lambda directory: answers.pop() if answers else listed(directory))
    assert ck.load_found(tmp_path).iteration == 1
    assert not answers


def test_one_that_is_damaged_and_stays_is_refused(tmp_path: Path) -> None:
    save_values(tmp_path, {1: 0.0, 2: 0.0})
    (tmp_path / "000002" / STATE).unlink()
    with pytest.raises(DamagedCheckpoint, match=r"state\.safetensors: is missing"):
        ck.load_found(tmp_path)


def test_prune_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    save_values(tmp_path, {10: -5.0, 20: -1.0, 30: -2.0, 40: -3.0, 50: -4.0})
    ck.prune(tmp_path, keep=2)
    assert ck.available(tmp_path) == [20, 40, 50]
    save_values(tmp_path, {55: 0.0})
    ck.prune(tmp_path, keep=1, every=20)  # 55 may be forgotten, and 20 is the best of 20, 40, 60 ...
    assert ck.available(tmp_path) == [20, 55]
    ck.prune(tmp_path, keep=1)
    assert ck.available(tmp_path) == [55]
    with pytest.raises(RequestError, match="at least 1"):
        ck.prune(tmp_path, keep=0)


def test_leftovers_are_never_taken_for_checkpoints_and_get_removed(tmp_path: Path) -> None:
    whole = ck.save(tmp_path, 1, state(), {})
    for name in ("000002.tmp-12ab", "000001.old"):
        (tmp_path / name).mkdir()
    for name in ("notes", "000003"):
        (tmp_path / name).write_text("a file of somebody else's")
    assert ck.available(tmp_path) == [1]
    ck.prune(tmp_path, keep=1)
    assert {path.name for path in tmp_path.iterdir()} == {whole.name, "notes", "000003"}


def test_a_failed_save_leaves_nothing_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ck.save(tmp_path, 1, state(1), {})
    with pytest.raises(TypeError):
        ck.save(tmp_path, 2, state(2), {"x": {1, 2}})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for iteration in (1, 2):
        with pytest.raises(OSError, match="No space left"):
            ck.save(tmp_path, iteration, state(2), {})
    assert [path.name for path in tmp_path.iterdir()] == ["000001"]
    assert bits(ck.load(tmp_path / "000001").tensors) == bits(state(1))


# Each child dies, by SIGKILL, before the n-th thing it does to the file system, for every n.
KILLS = """
import os, signal, sys
from pathlib import Path
import torch
from metarl.run.store import checkpoint as ck

EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}
root, state = Path(sys.argv[1]), lambda seed: {"x": torch.arange(4.0) + seed}
ACTIONS = {
    "new": lambda folder: ck.save(folder, 3, state(13), {"validation": 0.0}),
    "again": lambda folder: ck.save(folder, 2, state(12), {"validation": 0.0}),
    "prune": lambda folder: ck.prune(folder, keep=1),
}

def die_at(n):
    left = [n]
    def hook(event, args):
        if event in EVENTS:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
    sys.addaudithook(hook)

for name, action in ACTIONS.items():
    for n in range(1000):
        folder = root / name / str(n)
        folder.mkdir(parents=True)
        for iteration, value in ((1, 1.0), (2, 0.5)):
            ck.save(folder, iteration, state(iteration), {"validation": value})
        if name == "prune":
            ck.save(folder, 3, state(3), {"validation": 0.0})
        child = os.fork()
        if child == 0:
            die_at(n)
            action(folder)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
"""


def test_a_kill_at_any_moment_costs_no_finished_checkpoint(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", KILLS, str(tmp_path)]
    subprocess.run(command, check=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"})

    def first(folder: Path, iteration: int) -> float:
        return ck.load(ck.find(folder, iteration)).tensors["x"][0].item()

    moments = {name: sorted((tmp_path / name).iterdir(), key=lambda p: int(p.name)) for name in KILLED}
    assert all(len(folders) > least for folders, least in zip(moments.values(), (4, 5, 2), strict=True))
    for name, (before, after) in KILLED.items():
        seen = set()
        for folder in moments[name]:
            loaded = ck.latest_intact(folder, no_warning)
            assert loaded is not None
            assert best(folder) == 1
            seen.add((loaded.iteration, first(folder, loaded.iteration)))
            assert first(folder, 1) == 1.0
            assert all(ck.load(ck.find(folder, iteration)) for iteration in ck.available(folder))
            ck.save(folder, 4, {"x": torch.ones(1)}, {})  # goes on where the other was killed
            ck.prune(folder, keep=10)
            assert all(path.name.isdigit() for path in folder.iterdir())
            assert (loaded.iteration, first(folder, loaded.iteration)) in seen
        assert seen == {before, after}


# What latest_intact may find, iteration and first value: the state before, or the one after.
KILLED = {"new": ((2, 2.0), (3, 13.0)), "again": ((2, 2.0), (2, 12.0)), "prune": ((3, 3.0), (3, 3.0))}
