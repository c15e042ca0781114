"""The zoo: what comes with metarl is whole, small and adapts, is read like any run and never written to."""

import importlib
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.cli import main
from metarl.core.errors import RequestError
from metarl.rollout.registry import families
from metarl.run.config.admission import load_config
from metarl.run.config.train_config import TrainConfig, as_dict
from metarl.run.store import zoo
from metarl.run.store.checkpoint import DamagedCheckpoint
from metarl.run.store.zoo import agents, local, shipped
from metarl.run.use.runs import load, resume
from tiny_runs import rows

ROOT = Path(__file__).parents[3]
BANDIT = "zoo:bandit-promp"
# By how much the mean return of eight test tasks is to rise by one step; untrained weights gain less.
GAINS = {"bandit-promp": 1.2, "cartpole-params-maml": 80, "cheetah-dir-maml": 100, "point-goal-maml": 20}
# What the machine and the command decide of a configuration.
ASIDE = ("seed", "device", "threads", "chunk", "executor", "workers")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def made_zoo(monkeypatch: pytest.MonkeyPatch) -> Any:
    """experiments/zoo.py."""
    monkeypatch.syspath_prepend(ROOT / "experiments")
    return importlib.import_module("zoo")


def test_the_zoo_is_the_one_that_the_experiment_makes(made_zoo: Any) -> None:
    assert agents() == [f"zoo:{name}" for name in made_zoo.AGENTS] == [f"zoo:{name}" for name in GAINS]
    assert f"{made_zoo.START}\n{made_zoo.table()}\n\n{made_zoo.END}" in made_zoo.PAGE.read_text()


@pytest.mark.parametrize("name", GAINS)
def test_an_agent_is_small_plain_and_of_its_yaml_file(name: str) -> None:
    found = files(shipped(f"zoo:{name}"))
    assert sum(map(len, found.values())) < 250_000
    kinds = {Path(file).suffix for file in found}
    assert kinds == {".yaml", ".json", ".jsonl", ".safetensors"}  # none of which can carry code
    config = load_config(shipped(f"zoo:{name}") / "config.yaml")
    told = load_config(ROOT / "experiments" / f"{name}.yaml")
    differing = {key for key, value in as_dict(told).items() if getattr(config, key) != value}
    assert differing <= set(ASIDE)
    assert config.family in list(families) and config.init_from is None and not config.logger


@pytest.mark.parametrize("name", GAINS)
def test_an_agent_adapts_as_its_evaluation_says(name: str) -> None:
    run = load(f"zoo:{name}")  # which proves the sums
    found = np.array(run.evaluate(tasks=8, steps=1).per_task)
    before, after = found.mean(0)
    assert after - before > GAINS[name]
    agents = json.loads((shipped(f"zoo:{name}") / "evaluation.json").read_text())["agents"]
    assert agents["random"]["mean"][1] - agents["random"]["mean"][0] < GAINS[name]
    # The first tasks of the evaluation that was packed; other weights or seeds are far off, bits may differ.
    packed = np.array(agents["meta"]["per_task"])[: len(found), :2]
    assert np.abs(found - packed).mean() < 0.1 * (after - before)
    assert files(Path("runs/zoo", name)) == files(shipped(f"zoo:{name}"))  # nothing was written


def test_a_damaged_agent_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(zoo.SHIPPED / "bandit-promp", tmp_path / "zoo" / "bandit-promp")
    monkeypatch.setattr(zoo, "SHIPPED", tmp_path / "zoo")
    assert agents() == [BANDIT]
    assert load(BANDIT).iteration == 300
    state = tmp_path / "zoo" / "bandit-promp" / "checkpoints" / "000300" / "state.safetensors"
    data = bytearray(state.read_bytes())
    data[-1] ^= 1
    state.write_bytes(data)
    shutil.rmtree("runs")
    with pytest.raises(DamagedCheckpoint, match="SHA-256"):
        load(BANDIT)


def test_a_name_means_a_copy_that_is_made_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert local("runs/mine") == Path("runs/mine")
    own = local(BANDIT)
    assert own == Path("runs/zoo/bandit-promp")
    assert capsys.readouterr().err == f"metarl: {BANDIT} is copied to {own}, a run of your own\n"
    assert files(own) == files(shipped(BANDIT)) and [path.name for path in own.parent.iterdir()] == [own.name]
    (own / "mine.txt").write_text("kept")
    assert local(BANDIT) == own and (own / "mine.txt").exists()
    assert capsys.readouterr().err == ""
    with pytest.raises(RequestError, match=f"^{own} exists already"):
        zoo.copy(BANDIT, own)
    for wrong in ("zoo:", "zoo:bandit", "zoo:../zoo/bandit-promp", "zoo:bandit-promp/checkpoints"):
        with pytest.raises(RequestError, match=f"unknown agent '{wrong}'; allowed: {BANDIT}, zoo:cart"):
            local(wrong)


def test_a_copy_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zoo.shutil, "copyfile", half)
    with pytest.raises(RequestError, match=f"{BANDIT} cannot be copied to .*: .*No space left"):
        local(BANDIT)
    assert not files(tmp_path)
    Path("runs").write_text("a file")
    with pytest.raises(RequestError, match=f"{BANDIT} cannot be copied to runs/zoo/bandit-promp: "):
        local(BANDIT)


def test_the_command_copies_where_one_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "bandit-promp", "--out", "mine"]) == 0
    assert capsys.readouterr().out == "mine is a run of your own; next: metarl evaluate mine\n"
    assert files(Path("mine")) == files(shipped(BANDIT))
    assert main(["zoo", BANDIT]) == 0 and Path("runs/zoo/bandit-promp/config.yaml").is_file()
    for words, why in (("bandit-promp --out mine", "mine exists already"), ("x", "unknown agent 'zoo:x'")):
        assert main(["zoo", *words.split()]) == 2
        assert why in capsys.readouterr().err


def test_an_agent_goes_through_every_command_that_reads_runs(capsys: pytest.CaptureFixture[str]) -> None:
    package = files(zoo.SHIPPED)
    few = ["--tasks", "3", "--episodes", "4", "--steps", "1"]
    assert main(["report", BANDIT]) == 0
    own = "runs/zoo/bandit-promp"
    page = Path(own, "report.html").read_text()
    assert f"metarl evaluate {own}-again --checkpoint best --split test --tasks 40" in page
    untrained = "train maml --family bandit --iterations 0 --hidden 8 --out b"
    assert main(untrained.split()) == 0
    assert main(["evaluate", BANDIT, "b", *few, "--baselines", "random"]) == 0
    assert main(["compare", BANDIT, "b"]) == 0
    assert own in Path("compare.html").read_text()
    assert main(["report", BANDIT]) == 0
    assert (
        "--split test --tasks 3" in Path(own, "report.html").read_text()
    )  # the evaluation of one's own, by now
    assert main(["export", BANDIT]) == 0
    assert main(["export", BANDIT, "--task", '{"mean": [0, 0, 1, 0, 0]}', "--out", "best.zip"]) == 0
    assert main(["render", BANDIT, "--out", "clip.gif", "--episodes", "2"]) == 0
    made = {"frames.png", "policy.zip", "report.html"}
    assert {name for name in files(Path(own)) if "baselines" not in name} == {*files(shipped(BANDIT)), *made}
    assert files(zoo.SHIPPED) == package


def test_list_names_every_agent_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "zoo"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[1:-1]] == agents()
    evaluation = json.loads((shipped(BANDIT) / "evaluation.json").read_text())
    values = [f"{value:.1f}" for value in evaluation["agents"]["meta"]["mean"]]
    assert lines[1][1:] == ["bandit", "promp", "return", *values]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("evaluate zoo:nothing", "unknown agent 'zoo:nothing'; allowed: zoo:bandit-promp, "),
        ("resume zoo:nothing", "unknown agent 'zoo:nothing'"),
        ("train maml --config zoo:nothing", "unknown agent 'zoo:nothing'"),
        ("zoo nothing", "unknown agent 'zoo:nothing'"),
        (f"evaluate {BANDIT} --checkpoint 7", "7"),
        (f"compare {BANDIT}", "compare needs at least two runs"),
        (f"resume {BANDIT} --iterations 1", "300 iterations already"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(
    words: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and why in told[0]
    assert not list(tmp_path.iterdir())


def test_a_copy_is_trained_further(tmp_path: Path) -> None:
    run = resume(local(BANDIT), 301)
    assert run.iteration == 301
    assert load(BANDIT, "last").iteration == 301
    assert [row["iteration"] for row in rows(run.path)][-1] == 301


def test_an_agent_is_trained_again_from_its_own_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "metarl train --config zoo:bandit-promp --out again"
    asked: list[TrainConfig] = []

    def train(config: TrainConfig, out: Any) -> Any:
        asked.append(config)
        raise RequestError("not today")

    monkeypatch.setattr("metarl.run.use.runs.train", train)
    assert main(shlex.split(line)[1:]) == 2
    assert asked == [load_config(shipped(BANDIT) / "config.yaml")]
