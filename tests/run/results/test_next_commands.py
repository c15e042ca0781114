"""The command lines that make a run, its evaluation and its page again."""

import json
import shlex

from metarl.run.results.next_commands import commands, evaluate_command
from metarl.run.results.read import read_run
from metarl.run.store.yaml_values import parse
from synthetic_run import make_evaluation, make_lessons, make_run


def test_commands_repeat_the_evaluation_that_was_made(tmp_path):
    evaluation = make_evaluation()
    evaluation["protocol"] |= {"deterministic": True, "seed": 7}
    evaluation["agents"] = {
        name: evaluation["agents"][name] | {"inner_lr": []} for name in ("meta", "oracle")
    }
    run = read_run(make_run(tmp_path / "my run", evaluation=evaluation))
    train, evaluate, report = (shlex.split(command) for command in commands(run))
    path = str(tmp_path / "my run")
    assert train == ["metarl", "train", "maml", "--config", f"{path}/config.yaml", "--out", f"{path}-again"]
    assert report == ["metarl", "report", f"{path}-again"]
    options = "--checkpoint best --split test --tasks 8 --steps 3 --episodes 20 --seed 7 --deterministic"
    assert evaluate == ["metarl", "evaluate", f"{path}-again", *options.split(), "--baselines", "oracle"]


def test_commands_name_the_step_sizes_and_no_checkpoint_that_no_command_line_can(tmp_path):
    run = read_run(make_run(tmp_path / "run"))
    assert "--inner-lr 0.5 0.25 --baselines" in commands(run)[1]  # the last one serves the rest
    for agent in (evaluation := make_evaluation())["agents"].values():
        agent["inner_lr"] = [0.5, 0.5, 0.5]
    evaluation["protocol"]["checkpoint"] = "as it stands"  # evaluated from Python: no command line says so
    own = read_run(make_run(tmp_path / "own", evaluation=evaluation))
    assert "--inner-lr 0.5 --baselines" in commands(own)[1] and "--checkpoint" not in commands(own)[1]


def test_commands_of_labelled_examples_repeat_what_the_family_was_told(tmp_path):
    told = {"shots": 5, "ways": "all", "noise": 1e-3, "odd": "1: 2", "none": None, "kept": 7}
    path = make_lessons(tmp_path / "run", "mse", family_arg=told)
    config = (path / "config.yaml").read_text().replace("family_arg: {}", "family_arg: {kept: 7, shots: 10}")
    (path / "config.yaml").write_text(config)
    words = shlex.split(evaluate_command(read_run(path)))
    assert "--episodes" not in words and "--deterministic" not in words
    given = words[words.index("--family-arg") + 1 : words.index("--inner-lr")]
    pairs = dict(word.split("=", 1) for word in given)
    assert {name: parse(value) for name, value in pairs.items()} == {
        k: v for k, v in told.items() if k != "kept"
    }
    assert words[words.index("--inner-lr") + 1 :] == ["0.01", "--baselines", "pretrained"]


def test_learned_step_sizes_are_not_named(tmp_path):
    path = make_lessons(tmp_path / "run", "mse")
    evaluation = json.loads((path / "evaluation.json").read_text())
    evaluation["agents"]["meta"]["inner_lr"] = []
    (path / "evaluation.json").write_text(json.dumps(evaluation))
    assert "--inner-lr" not in evaluate_command(read_run(path))
