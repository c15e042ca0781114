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
from metarl.run import zoo
from metarl.run.admission import load_config
from metarl.run.checkpoint import DamagedCheckpoint
from metarl.run.config import TrainConfig
from metarl.run.report_data import read_run
from metarl.run.report_words import commands
from metarl.run.runs import load, resume, train
from metarl.run.zoo import agents, made, output, place, run_dir, source
from tiny_runs import TINY

ROOT = Path(__file__).parents[2]
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
    found = files(source(f"zoo:{name}"))
    assert sum(map(len, found.values())) < 250_000
    kinds = {Path(file).suffix for file in found}
    assert kinds == {".yaml", ".json", ".jsonl", ".safetensors"}  # none of which can carry code
    config = load_config(source(f"zoo:{name}") / "config.yaml")
    told = load_config(ROOT / "experiments" / f"{name}.yaml")
    differing = {key for key, value in vars(told).items() if getattr(config, key) != value}
    assert differing <= set(ASIDE)
    assert config.family in list(families) and config.init_from is None and not config.logger


@pytest.mark.parametrize("name", GAINS)
def test_an_agent_adapts_as_its_evaluation_says(name: str) -> None:
    run = load(f"zoo:{name}")  # which proves the sums
    found = np.array(run.evaluate(tasks=8, steps=1).per_task)
    before, after = found.mean(0)
    assert after - before > GAINS[name]
    agents = json.loads((source(f"zoo:{name}") / "evaluation.json").read_text())["agents"]
    assert agents["random"]["mean"][1] - agents["random"]["mean"][0] < GAINS[name]
    # The first tasks of the evaluation that was packed; other weights or seeds are far off, bits may differ.
    packed = np.array(agents["meta"]["per_task"])[: len(found), :2]
    assert np.abs(found - packed).mean() < 0.1 * (after - before)
    assert not Path("runs").exists()  # nothing was written


def test_a_damaged_agent_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(zoo.SHIPPED / "bandit-promp", tmp_path / "zoo" / "bandit-promp")
    monkeypatch.setattr(zoo, "SHIPPED", tmp_path / "zoo")
    assert agents() == [BANDIT]
    assert load(BANDIT).iteration == 300
    state = tmp_path / "zoo" / "bandit-promp" / "checkpoints" / "000300" / "state.safetensors"
    data = bytearray(state.read_bytes())
    data[-1] ^= 1
    state.write_bytes(data)
    with pytest.raises(DamagedCheckpoint, match="SHA-256"):
        load(BANDIT)


def test_names(tmp_path: Path) -> None:
    assert run_dir("runs/mine") == source("runs/mine") == place("runs/mine") == Path("runs/mine")
    assert (run_dir(BANDIT), str(run_dir(BANDIT))) == (Path(BANDIT), BANDIT)
    assert place(BANDIT) == Path("runs/zoo/bandit-promp")
    for wrong in ("zoo:", "zoo:bandit", "zoo:../zoo/bandit-promp", "zoo:bandit-promp/checkpoints"):
        with pytest.raises(RequestError, match=f"unknown agent '{wrong}'; allowed: {BANDIT}, zoo:cart"):
            run_dir(wrong)


def test_what_is_made_goes_to_the_working_directory() -> None:
    with output(BANDIT, "a.txt") as path:
        assert path.parent.is_dir()
    assert not Path("runs").exists()  # since nothing was written there
    Path("runs").mkdir()
    assert made(BANDIT, "evaluation.json") == source(BANDIT) / "evaluation.json"
    with output(BANDIT, "evaluation.json") as path:
        path.write_text("{}")
    assert made(BANDIT, "evaluation.json") == path == Path("runs/zoo/bandit-promp/evaluation.json")
    with output(BANDIT, "a.txt", Path("mine.txt")) as path:
        assert path == Path("mine.txt")
    with output("runs/mine", "a.txt") as path:
        assert path == Path("runs/mine/a.txt") and not path.parent.exists()


def test_a_place_that_cannot_be_made_is_told() -> None:
    Path("runs").write_text("a file")
    with (
        pytest.raises(RequestError, match=f"where what is made of {BANDIT} goes, cannot be made"),
        output(BANDIT, "a.txt"),
    ):
        pass


def test_an_agent_goes_through_every_command_that_reads_runs(capsys: pytest.CaptureFixture[str]) -> None:
    shipped = files(zoo.SHIPPED)
    few = ["--tasks", "3", "--episodes", "4", "--steps", "1"]
    assert main(["report", BANDIT]) == 0
    own = "runs/zoo/bandit-promp"
    page = Path(own, "report.html").read_text()
    assert "40 tasks" in page and f"metarl evaluate {own}-again" in page
    untrained = "train maml --family bandit --iterations 0 --hidden 8 --out b"
    assert main(untrained.split()) == 0
    assert main(["evaluate", BANDIT, "b", *few, "--baselines", "random"]) == 0
    assert main(["compare", BANDIT, "b"]) == 0
    assert BANDIT in Path("compare.html").read_text()
    assert main(["report", BANDIT]) == 0
    assert "3 tasks" in Path(own, "report.html").read_text()  # the evaluation of one's own, by now
    assert main(["export", BANDIT]) == 0
    assert main(["export", BANDIT, "--task", '{"mean": [0, 0, 1, 0, 0]}', "--out", "best.zip"]) == 0
    assert main(["render", BANDIT, "--out", "clip.gif", "--episodes", "2"]) == 0
    assert set(files(Path(own))) == {"evaluation.json", "frames.png", "policy.zip", "report.html"}
    assert files(zoo.SHIPPED) == shipped


def test_list_names_every_agent_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "zoo"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[1:-1]] == agents()
    evaluation = json.loads((source(BANDIT) / "evaluation.json").read_text())
    values = [f"{value:.1f}" for value in evaluation["agents"]["meta"]["mean"]]
    assert lines[1][1:] == ["bandit", "promp", "return", *values]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("evaluate zoo:nothing", "unknown agent 'zoo:nothing'; allowed: zoo:bandit-promp, "),
        ("resume zoo:nothing", "unknown agent 'zoo:nothing'"),
        (f"resume {BANDIT}", f"{BANDIT} comes with metarl and is only read; "),
        ("train maml --family bandit --out zoo:mine", "out must be a directory of your own, got 'zoo:mine'"),
        (f"evaluate {BANDIT} --family point-goal", f"family is 'bandit' in {BANDIT}, got 'point-goal'"),
        (f"evaluate {BANDIT} --split ood --tasks 2 --baselines nearest", "nearest"),
        (f"export {BANDIT} --task 5", "task"),
        (f"evaluate {BANDIT} {BANDIT}", f"{BANDIT} is given twice"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(
    words: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and why in told[0]
    assert not list(tmp_path.iterdir())


def test_training_on_is_refused_and_works_from_the_weights(tmp_path: Path) -> None:
    run = load(BANDIT)
    for refused in (lambda: run.learn(1), lambda: resume(BANDIT)):
        with pytest.raises(RequestError, match="comes with metarl and is only read"):
            refused()
    assert not list(tmp_path.iterdir())
    run.policy.save("start.safetensors")
    family = {"family": "bandit", "family_arg": {}, "hidden": (32,), "iterations": 1}
    further = train(type(run.config)(**TINY | family | {"init_from": "start.safetensors"}), "further")
    assert further.iteration == 1


def test_an_agent_is_trained_again_from_its_own_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that its report proposes, which names no folder of the machine that wrote the report."""
    line = commands(read_run(Path(BANDIT)))[0]
    assert line == "metarl train promp --config zoo:bandit-promp --out runs/zoo/bandit-promp-again"
    asked: list[TrainConfig] = []

    def train(config: TrainConfig, out: Any) -> Any:
        asked.append(config)
        raise RequestError("not today")

    monkeypatch.setattr("metarl.run.runs.train", train)
    assert main(shlex.split(line)[1:]) == 2
    assert asked == [load_config(source(BANDIT) / "config.yaml")]
