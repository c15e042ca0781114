"""Nothing that is opened runs code (a downloaded run, weights, pickles, zips) or leads out of its folder."""

import dataclasses
import hashlib
import json
import os
import re
import resource
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import metarl
from hostile_files import MODULE, SOURCE, change_config, huge_header, nested, pickled, snapshot, torch_file
from metarl.cli import main
from metarl.core.errors import RequestError
from metarl.run.config.train_config import TrainConfig
from metarl.run.evaluate.evaluate import evaluate_run
from metarl.run.store import checkpoint as store
from metarl.run.store.checkpoint import MANIFEST, STATE
from metarl.run.store.files import to_json
from metarl.run.use.runs import Run, train
from tiny_runs import tiny

Patch = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]

CODE = f"{MODULE}:Thing"
SMALL = "--tasks 2 --steps 1 --episodes 2"
# Every command that makes something of a run, and those that only show what it says.
OPENING = {
    "evaluate": f"evaluate run {SMALL}",
    "resume": "resume run",
    "render": "render run --episodes 2 --out clip.gif",
    "export": "export run --out policy.zip",
}
SHOWING = {"report": "report run --out page.html", "compare": "compare run run2 --out compare.html"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two checkpoints and an evaluation."""
    run = train(tiny(iterations=2, checkpoint_every=1), tmp_path_factory.mktemp("hostile") / "run")
    evaluate_run(run.path, tasks=2, steps=1, episodes=2)
    return run.path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that has come from somewhere, in the working directory."""
    shutil.copytree(trained, "run")
    return Path("run")


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: Patch) -> Iterator[Path]:
    """What the stranger's code leaves behind where it is run: it lies in the working directory, ready."""
    Path(f"{MODULE}.py").write_text(SOURCE.format(ran=str(tmp_path / "ran")))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "ran"
    sys.modules.pop(MODULE, None)


def refused(line: str, capsys: Capture) -> str:
    """The one line with which a command ends that cannot be met."""
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("metarl: ")
    return err


# Code that a configuration names ---------------------------------------------------------------------------


@pytest.mark.parametrize("command", OPENING)
@pytest.mark.parametrize("option", ["family", "model"])
def test_a_run_that_names_code_is_refused_before_it_is_imported(
    command: str, option: str, run: Path, ran: Path, capsys: Capture
) -> None:
    change_config(run, **{option: CODE, "trust": True})  # what a file says of itself does not count
    before = snapshot(run)
    told = refused(OPENING[command], capsys)
    assert f"run/config.yaml names code, {option} {CODE!r}" in told and "give --trust" in told
    assert not ran.exists() and MODULE not in sys.modules
    assert snapshot(run) == before


@pytest.mark.parametrize("command", OPENING)
def test_with_trust_it_is_imported(command: str, run: Path, ran: Path, capsys: Capture) -> None:
    """The sentinel of the other tests is one; what it names is then refused for being no family."""
    change_config(run, family=CODE)
    assert f"family {CODE!r} lacks" in refused(f"{OPENING[command]} --trust", capsys)
    assert ran.exists()


@pytest.mark.parametrize("opened", [metarl.load, metarl.resume, Run.load, Run.resume, evaluate_run])
def test_in_python_too(opened: Callable[..., Any], run: Path, ran: Path) -> None:
    change_config(run, model=CODE)
    with pytest.raises(RequestError, match=rf"run/config.yaml names code, model '{CODE}'.* trust=True"):
        opened(run)
    with pytest.raises(RequestError, match="names code"):
        opened(run, trust={"somebody_else:Family"})
    assert not ran.exists()
    with pytest.raises(RequestError, match=f"model '{CODE}' returned Thing"):
        opened(run, trust={CODE})
    assert ran.exists()


def test_a_class_that_is_imported_already_is_no_better(run: Path, tmp_path: Path, capsys: Capture) -> None:
    """``subprocess.Popen`` is a class that takes a command as its first argument."""
    change_config(
        run, family="subprocess:Popen", spec=f"touch {tmp_path / 'ran'}", family_arg={"shell": True}
    )
    assert "names code, family 'subprocess:Popen'" in refused(OPENING["evaluate"], capsys)
    assert not (tmp_path / "ran").exists()


def test_no_option_of_a_run_imports_anything(run: Path, ran: Path) -> None:
    given = run.joinpath("config.yaml").read_text()
    for field in dataclasses.fields(TrainConfig):
        for value in (CODE, [CODE], {"horizon": CODE, "env": CODE, "cls": CODE}):
            run.joinpath("config.yaml").write_text(given)
            change_config(run, **{field.name: value})
            with suppress(RequestError):
                metarl.load(run)
            assert not ran.exists() and MODULE not in sys.modules, field.name


def test_what_only_shows_a_run_imports_nothing_of_it(run: Path, ran: Path, tmp_path: Path) -> None:
    shutil.copytree(run, "run2")
    change_config(Path("run2"), inner_lr=0.2)
    for path in (run, Path("run2")):
        change_config(path, family=CODE, model=CODE)
    for line in SHOWING.values():
        assert main(line.split()) == 0
    assert not ran.exists()
    assert CODE in Path("page.html").read_text()  # it says what the run names


def test_a_baseline_inside_a_run_is_looked_at_too(run: Path, ran: Path, capsys: Capture) -> None:
    shutil.copytree(run, run / "baselines" / "oracle")
    change_config(run / "baselines" / "oracle", family=CODE)
    told = refused(f"{OPENING['evaluate']} --baselines oracle", capsys)
    assert f"run/baselines/oracle/config.yaml names code, family {CODE!r}" in told
    assert not ran.exists()


def test_a_run_s_configuration_names_none_for_a_new_run_either(run: Path, ran: Path, capsys: Capture) -> None:
    change_config(run, family=CODE)
    for missing in (None, "machine.json", "checkpoints"):  # whoever passes a run on says what is in it
        if missing:
            place = run / missing
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        assert "names code" in refused("train --config run/config.yaml --out new", capsys)
        assert not ran.exists() and not Path("new").exists()
    line = "train --config run/config.yaml --family point-goal --iterations 0 --out new"
    assert main(line.split()) == 0 and capsys.readouterr()
    assert not ran.exists()  # the command line gives another in its place, or the same
    assert f"family {CODE!r} lacks" in refused(
        f"train --config run/config.yaml --family {CODE} --out n", capsys
    )
    ran.unlink()
    sys.modules.pop(MODULE)
    shutil.copy(run / "config.yaml", "mine.yaml")  # whoever writes a file and gives it speaks for it
    assert f"family {CODE!r} lacks" in refused("train --config mine.yaml --out new", capsys)
    assert ran.exists()


def test_one_s_own_run_is_used_without_further_words_where_it_was_trained(tmp_path: Path) -> None:
    """Its baselines, which lie in files, may name what it names, and nothing else."""
    own = train(tiny(family="tiny_families:Corridor", inner_lr=0.1), tmp_path / "own")
    few: dict[str, Any] = {"tasks": 2, "steps": 1, "episodes": 2}
    assert own.evaluate(baselines=["oracle"], **few).mean
    assert own.evaluate(baselines=["oracle"], **few).mean
    with pytest.raises(RequestError, match="give --trust"):
        metarl.load(own.path)
    assert metarl.load(own.path, trust=True).evaluate(baselines=["oracle"], **few).mean


# Files that are something else -----------------------------------------------------------------------------


NAMES = ["config.yaml", "machine.json", "metrics.jsonl", "evaluation.json", f"checkpoints/000002/{STATE}"]
LAST = f"evaluate run {SMALL} --checkpoint last"
READING = {
    "config.yaml": [*OPENING.values(), SHOWING["report"], "train --config run/config.yaml --out new"],
    "machine.json": [SHOWING["report"]],
    "metrics.jsonl": [SHOWING["report"]],
    "evaluation.json": [SHOWING["report"]],
    f"checkpoints/000002/{STATE}": [LAST],
    f"checkpoints/000002/{MANIFEST}": [LAST],
}


@pytest.mark.parametrize("name", READING)
def test_a_pickle_in_the_place_of_a_file_is_never_unpickled(
    name: str, run: Path, tmp_path: Path, capsys: Capture
) -> None:
    (run / name).write_bytes(pickled(tmp_path / "ran"))
    for line in READING[name]:
        assert name in refused(line, capsys)
    assert not (tmp_path / "ran").exists()


def test_yaml_that_makes_objects_makes_none(run: Path, tmp_path: Path, capsys: Capture) -> None:
    for tag in ("object/apply:pathlib.Path.touch", "object/new:subprocess.Popen", "name:os.system"):
        (run / "config.yaml").write_text(f"family: !!python/{tag} [[{tmp_path / 'ran'}]]\n")
        for line in READING["config.yaml"]:
            assert "tags (!name) are not read" in refused(line, capsys)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("trust", ["", " --trust"])
def test_weights_to_start_from_that_hold_code_run_none(trust: str, tmp_path: Path, capsys: Capture) -> None:
    """With trust neither; more of Stable-Baselines3's zips in tests/run/sb3/test_archive.py."""
    ran = tmp_path / "ran"
    torch_file(Path("weights.pt"), ran)
    torch_file(Path("legacy.pt"), ran, zipped=False)
    Path("weights.pkl").write_bytes(pickled(ran))
    Path("weights.safetensors").write_bytes(pickled(ran))
    with zipfile.ZipFile("model.zip", "w") as made:
        made.writestr("data", "{}")
        made.writestr("policy.pth", Path("weights.pt").read_bytes())
        made.writestr("__main__.py", f"open({str(ran)!r}, 'w')")
    for name in ("weights.pt", "legacy.pt", "weights.pkl", "weights.safetensors", "model.zip"):
        line = f"train maml --family point-goal --init-from {name} --out new{trust}"
        assert f"init-from file {name}" in refused(line, capsys)
        for opening in (*OPENING.values(), SHOWING["report"]):
            assert f"{name} is not a run directory" in refused(opening.replace(" run", f" {name}"), capsys)
        assert "is not valid YAML" in refused(f"train --config {name} --out new", capsys)
    assert not ran.exists() and not Path("new").exists()


@pytest.mark.parametrize("place", ["init-from", "state"])
def test_a_header_of_ten_gigabytes_is_refused_before_there_is_room_for_it(
    place: str, run: Path, capsys: Capture
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB
    if place == "init-from":
        Path("weights.safetensors").write_bytes(huge_header())
        line = "train maml --family point-goal --init-from weights.safetensors --out new"
        assert "weights.safetensors is not a safetensors file" in refused(line, capsys)
    else:
        with_state(run, huge_header())
        told = refused(LAST, capsys)
        assert f"{STATE}: is damaged: not a safetensors file" in told
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18


def with_state(run: Path, state: bytes, **changes: Any) -> None:
    """Gives the last checkpoint a state with honest sums, and its manifest other entries."""
    folder = run / "checkpoints" / "000002"
    (folder / STATE).write_bytes(state)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][STATE] = {"size": len(state), "sha256": hashlib.sha256(state).hexdigest()}
    manifest |= changes
    manifest["sha256"] = store._manifest_sum(manifest)
    (folder / MANIFEST).write_text(to_json(manifest))


NO_SIZE = b'{"x":{"dtype":"F32","shape":[0,%d,%d],"data_offsets":[0,0]}}'


@pytest.mark.parametrize("size", [2**62, 2**63])
def test_sizes_that_no_memory_has_are_refused_in_one_line(size: int, run: Path, capsys: Capture) -> None:
    header = NO_SIZE % (size, size)
    state = struct.pack("<Q", len(header)) + header
    with_state(run, state, tensors=["x"])
    assert f"{STATE}: is damaged: not a safetensors file" in refused(LAST, capsys)
    Path("weights.safetensors").write_bytes(state)
    line = "train maml --family point-goal --init-from weights.safetensors --out new"
    assert "init-from file weights.safetensors " in refused(line, capsys)


@pytest.mark.parametrize("extra", [{}, {"samples": "x", "skipped": 0}, {"samples": 1, "skipped": None}])
def test_counts_that_are_none_are_refused(extra: dict[str, Any], run: Path, capsys: Capture) -> None:
    with_state(run, (run / "checkpoints" / "000002" / STATE).read_bytes(), extra=extra)
    for line in (LAST, OPENING["resume"]):
        assert "checkpoint 2 of run has s" in refused(line, capsys)


def test_weights_that_are_not_finite_are_no_checkpoint(run: Path, capsys: Capture) -> None:
    state = safetensors.torch.load((run / "checkpoints" / "000002" / STATE).read_bytes())
    state["meta.model.log_std"][0] = torch.nan
    with_state(run, safetensors.torch.save(state))
    for line in (LAST, OPENING["resume"], f"{OPENING['resume']} --iterations 3"):
        told = refused(line, capsys)
        assert "checkpoint 2 of run has values that are not finite in meta.model.log_std" in told


def test_a_state_larger_than_its_manifest_says_is_not_read(run: Path, capsys: Capture) -> None:
    os.truncate(run / "checkpoints" / "000002" / STATE, 2**40)  # a hole, of which the disk knows nothing
    told = refused(LAST, capsys)
    assert f"{STATE}: is damaged: it is larger than" in told


def test_text_without_end_is_refused(run: Path, capsys: Capture) -> None:
    given = {name: (run / name).read_bytes() for name in NAMES[:4]}
    row = f'{{"iteration": 1, "x": {nested()}}}\n'
    bombs = {
        "config.yaml": [
            ("a: &a [1, 1]\nb: &b [*a, *a]\nhidden: [*b, *b]\n", "aliases"),
            (f"hidden: {nested(3000)}\n", "nested too deeply"),
            ("hidden: [" + "1, " * 2**19 + "1]\n", "larger than"),
        ],
        "machine.json": [(nested(), "nested too deeply")],
        "evaluation.json": [(f'{{"metric": "return", "agents": {nested()}}}', "nested too deeply")],
        "metrics.jsonl": [(row, "is not a row")],
    }
    for name, cases in bombs.items():
        for text, why in cases:
            (run / name).write_text(text)
            told = refused(SHOWING["report"], capsys)
            assert f"run/{name}" in told and why in told
            (run / name).write_bytes(given[name])
    os.truncate(run / "evaluation.json", 2**40)
    assert "run/evaluation.json is damaged: it is larger than" in refused(SHOWING["report"], capsys)


# Out of the run directory ----------------------------------------------------------------------------------

LINKED = [*NAMES, "checkpoints", "checkpoints/000002", ".lock", "baselines", "wandb", "failure.txt", "notes"]


@pytest.mark.parametrize("name", LINKED)
def test_a_symbolic_link_in_a_run_is_refused(name: str, run: Path, tmp_path: Path, capsys: Capture) -> None:
    """Whether it leads to a file, to a folder or nowhere: nothing behind it is read or written."""
    place, outside = run / name, tmp_path / "outside"
    if place.exists():
        place.rename(outside)
    elif name in ("baselines", "wandb"):
        outside.mkdir()
    else:
        outside.write_text("somebody's own\n")
    place.symlink_to(outside)
    before = (outside.read_bytes() if outside.is_file() else snapshot(outside)), snapshot(run)
    for line in (*OPENING.values(), SHOWING["report"]):
        assert refused(line, capsys).startswith(f"metarl: run/{name} is a symbolic link")
    assert before == ((outside.read_bytes() if outside.is_file() else snapshot(outside)), snapshot(run))


def test_links_of_w_and_b_s_own_and_a_link_to_a_run_are_fine(run: Path, tmp_path: Path) -> None:
    (run / "wandb" / "run-1").mkdir(parents=True)
    (run / "wandb" / "latest-run").symlink_to("run-1")
    Path("linked").symlink_to(run)
    assert metarl.load("linked", "last").iteration == 2


def test_the_id_of_w_and_b_is_not_read_through_a_link(run: Path, tmp_path: Path) -> None:
    from metarl.run.log.wandb_mirror import _run_id

    (tmp_path / "key").write_text("a secret of the user's, which would be sent as the run's name")
    (run / "wandb").mkdir()
    (run / "wandb" / "id").symlink_to(tmp_path / "key")
    assert re.fullmatch("[0-9a-f]{16}", _run_id(run / "wandb"))
    assert "secret" in (tmp_path / "key").read_text() and not (run / "wandb" / "id").is_symlink()


def test_no_name_leads_out_of_the_checkpoints(run: Path, tmp_path: Path, capsys: Capture) -> None:
    shutil.copytree(run / "checkpoints" / "000002", tmp_path / "000007")
    for name in ("../../000007", str(tmp_path / "000007"), "000002/../../../000007"):
        assert "checkpoint must be best, last or" in refused(f"evaluate run --checkpoint {name}", capsys)
        with pytest.raises(RequestError, match="allowed: best, last, 1, 2"):
            metarl.load(run, name)
    state = (run / "checkpoints" / "000002" / STATE).read_bytes()
    with_state(run, state, files={f"../../../{STATE}": {"size": 1, "sha256": ""}})
    assert "is damaged: an entry is missing" in refused("evaluate run --checkpoint last", capsys)


def test_a_zip_is_never_unpacked(tmp_path: Path, capsys: Capture) -> None:
    with zipfile.ZipFile("model.zip", "w") as made:
        for name in ("../escaped", str(tmp_path / "absolute"), "data", "policy.pth"):
            made.writestr(name, "{}")
    before = set(tmp_path.parent.rglob("*"))
    line = "train maml --family point-goal --init-from model.zip --trust --out new"
    assert "init-from file model.zip is no model of Stable-Baselines3" in refused(line, capsys)
    assert set(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("name", [*LINKED, "frames.png", f"checkpoints/000002/{MANIFEST}"])
def test_a_pipe_in_a_run_is_refused_and_nobody_waits_for_what_comes_out_of_it(
    name: str, run: Path, capsys: Capture
) -> None:
    place = run / name
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    before = snapshot(run)
    for line in (*OPENING.values(), SHOWING["report"]):
        told = "run is not a run directory" if name == "config.yaml" else f"run/{name} is no file"
        assert refused(line, capsys).startswith(f"metarl: {told}")
    assert snapshot(run) == before


@pytest.mark.parametrize("taken", [False, True])
def test_a_lock_that_is_a_link_or_a_pipe_is_not_written_through(taken: bool, tmp_path: Path) -> None:
    """In a directory that is to become a run, in which a lock alone is nothing yet."""
    (tmp_path / "precious").write_text("somebody's own\n")
    for make in (lambda lock: lock.symlink_to(tmp_path / "precious"), os.mkfifo):
        new = tmp_path / make.__name__
        new.mkdir()
        make(new / ".lock")
        if taken:
            (new / "notes").touch()
        with pytest.raises(RequestError, match=r"exists already" if taken else r"\.lock cannot be opened: "):
            train(tiny(iterations=1), new)
    assert (tmp_path / "precious").read_text() == "somebody's own\n"
