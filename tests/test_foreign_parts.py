"""One part of each kind from a module of somebody else's, through every command in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from metarl.cli import main
from tiny_runs import rows

FOREIGN = """
import json
import math

import torch

from metarl.core.models import GaussianMLP
from metarl.core.objectives import vpg
from metarl.core.rules import Rule
from metarl.learn.maml import maml
from metarl.learn.optimizers import sgd
from metarl.rollout.inline import Inline
from metarl.run.evaluate.baselines import Baseline
from metarl.run.log.measures import Measure, register
from metarl.run.evaluate.protocol import measure, result
from metarl.run.agent.scores import scores
from metarl.run.experience.sources import open_executor
from metarl_envs import PointGoal

register("closeness", Measure("closeness", "mean closeness", of="episodes"))


@scores.register("closeness")
def closeness(episodes):
    return ((episodes.reward.exp() * episodes.mask).sum(-1) / episodes.mask.sum(-1)).mean(-1)


class Near(PointGoal):
    metric = "closeness"


def objective(apply, params, batch):
    return 2 * vpg(apply, params, batch)


def rule(lr=0.05):
    def step(rule_params, carry, params, grads, loss):
        return {name: p - lr * grads[name].clamp(-1, 1) for name, p in params.items()}, carry

    return Rule("clipped", step=step)


def learner(*parts, **options):
    return maml(*parts, **options)


def optimizer(lr, max_norm=math.inf):
    return sgd(lr / 2, max_norm)


def network(observation_space, action_space):
    return GaussianMLP(observation_space.shape[0], action_space.shape[0], (6,))


def executor(resources):
    return Inline(resources.family, resources.act)


class Notes:
    def start(self, config, run_dir):
        self.path = run_dir / "notes.txt"

    def write(self, line):
        with self.path.open("a") as file:
            file.write(line + "\\n")

    def row(self, row):
        self.write(f"row {row['iteration']}")

    def evaluation(self, evaluation):
        self.write(f"evaluation {evaluation['metric']}")

    def finish(self):
        self.write("finish")


def measure_untouched(begun, trial):
    with open_executor(trial.agent) as opened:
        rates = [1e-9] * trial.protocol.steps
        experience = measure(trial.agent, trial.agent.initial_meta(), rates, trial.protocol, opened)
    return result(experience, [], trial.protocol)


untouched = Baseline("as the seed draws it", measure_untouched)
"""
PARTS = (
    *("--family", "foreign:Near", "--objective", "foreign:objective", "--rule", "foreign:rule"),
    *("--learner", "foreign:learner", "--meta-optimizer", "foreign:optimizer", "--logger", "foreign:Notes"),
    *("--model", "foreign:network", "--executor", "foreign:executor"),
)
SMALL = ["--iterations", "2", "--tasks", "4", "--episodes", "2", "--threads", "1", "--validation-tasks", "2"]
EVALUATE = ["--tasks", "2", "--steps", "1", "--episodes", "2", "--baselines", "foreign:untouched"]


def metarl(*words: str, status: int = 0) -> str:
    """What a command prints on both streams."""
    ran = subprocess.run(
        [sys.executable, "-m", "metarl", *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == status, ran.stderr
    return ran.stdout + ran.stderr


def test_each_kind_of_part_comes_from_a_foreign_module(tmp_path: Path) -> None:
    Path("foreign.py").write_text(FOREIGN)
    metarl("train", "maml", *PARTS, *SMALL, "--out", "run")
    metarl("train", "maml", *PARTS, *SMALL, "--seed", "2", "--out", "other")
    kept = (tmp_path / "run" / "config.yaml").read_text()
    assert all(part in kept for part in PARTS[1::2])
    for row in rows(tmp_path / "run"):
        assert 0 < row["closeness/step_1"] < 1 and row["return/step_1"] < 0

    for command in (["evaluate", "run", *EVALUATE], ["resume", "run", "--iterations", "3"]):
        refused = metarl(*command, status=2)
        assert refused.count("\n") == 1 and "foreign:" in refused and "--trust" in refused
    metarl("resume", "run", "--iterations", "3", "--trust")
    assert [row["iteration"] for row in rows(tmp_path / "run")] == [1, 2, 3]
    for run in ("run", "other"):
        assert "foreign:untouched" in metarl("evaluate", run, *EVALUATE, "--trust")
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["metric"] == "closeness" and evaluation["measure"]["of_tasks"] == "mean closeness"
    assert evaluation["agents"]["foreign:untouched"]["description"] == "as the seed draws it"
    notes = (tmp_path / "run" / "notes.txt").read_text().splitlines()
    assert notes == ["row 1", "row 2", "finish", "row 3", "finish", "evaluation closeness", "finish"]

    metarl("compare", "run", "other", "--out", "page.html")
    metarl("report", "run", "--out", "run.html")
    for page in ("page.html", "run.html"):
        assert "closeness" in (tmp_path / page).read_text()
    assert "as the seed draws it" in (tmp_path / "run.html").read_text()


def test_a_part_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("objective", "rule", "learner", "meta-optimizer", "model", "executor", "logger"):
        assert main(["train", "maml", "--family", "point-goal", f"--{part}", "no_such:part"]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and "'no_such:part' cannot be imported" in line
