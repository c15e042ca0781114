import json
import shlex

import numpy as np
import pytest

from metarl.run.measures import measure_of
from metarl.run.report_data import read_run
from metarl.run.report_numbers import form_of
from metarl.run.report_words import commands, evaluate_command, facts, headline, per_task_words
from metarl.run.yamlfile import parse
from synthetic_run import make_evaluation, make_lessons, make_run


def run_with(path, agents=None, metric="return", **protocol):
    """A run of the given agents (name: means), its protocol changed; `...` takes an entry away."""
    evaluation = make_evaluation()
    evaluation["metric"] = metric
    changed = {**evaluation["protocol"], **protocol}
    evaluation["protocol"] = {key: value for key, value in changed.items() if value is not ...}
    if agents:
        means = {name: {"mean": mean, "ci95": [[m, m] for m in mean]} for name, mean in agents.items()}
        evaluation["agents"] = means
    return read_run(make_run(path, evaluation=evaluation))


def test_headline_of_the_usual_evaluation(tmp_path):
    assert headline(run_with(tmp_path / "run")) == (
        "After 3 steps of 20 episodes each the agent’s mean return rises from −40.1 to −7.4 "
        "(−12.3 after the first) on 8 unseen tasks; random reaches −46.8, pretrained −33.9 and oracle −2.3."
    )


@pytest.mark.parametrize(
    ("agents", "metric", "protocol", "sentence"),
    [
        (
            {"meta": [-40.1, -12.3], "pretrained": [-40.0, -35.0]},
            "return",
            {"tasks": 1},
            "After 1 step of 20 episodes the agent’s mean return rises from −40.1 to −12.3 on 1 unseen task; "
            "pretrained reaches −35.0.",
        ),
        (
            {"meta": [3.1, 0.67]},
            "mse",
            {"episodes": ..., "shots": 5, "split": "validation"},
            "After 1 step on 5 examples the agent’s mean squared error falls from 3.10 to 0.670 on 8 "
            "validation tasks.",
        ),
        (
            {"meta": [0.2, 0.2001]},
            "accuracy",
            {"episodes": ..., "split": "ood", "tasks": 1000},
            "After 1 step the agent’s mean accuracy stays at 20.0\u202f% on 1\u202f000 tasks outside the "
            "training distribution.",
        ),
        (
            {"meta": [0.1, 0.5]},
            "success",
            {"tasks_seen_in_training": True, "tasks": 4},
            "After 1 step of 20 episodes the agent’s success rate rises from 10.0\u202f% to 50.0\u202f% on 4 "
            "tasks, all of them seen in training.",
        ),
        (
            {"pretrained": [-1234.5]},
            "return",
            {"tasks_seen_in_training": ...},
            "Without adaptation pretrained’s mean return is −1\u202f234 on 8 tasks.",
        ),
        (
            {"meta": [1.0, None]},
            "return",
            {"split": "train", "tasks_seen_in_training": True},
            "After 1 step of 20 episodes the agent’s mean return goes from 1.00 to – on 8 training tasks.",
        ),
    ],
)
def test_headline_fits_metric_steps_and_tasks(tmp_path, agents, metric, protocol, sentence):
    assert headline(run_with(tmp_path / "run", agents, metric, **protocol)) == sentence


def test_headline_before_the_first_evaluation(tmp_path):
    path = make_run(tmp_path / "run", evaluation={})
    (path / "metrics.jsonl").write_text('{"iteration": 1, "return/step_0": -40.0, "return/step_1": -9.96}\n')
    assert headline(read_run(path)) == (
        "Not evaluated yet. The training tasks’ mean return was last −40.0 before and −10.0 after 1 step of "
        "adaptation."
    )
    (path / "metrics.jsonl").write_text('{"iteration": 1, "return/step_0": -40.0}\n')
    assert headline(read_run(path)).endswith("was last −40.0.")
    (path / "metrics.jsonl").write_text("")
    assert headline(read_run(path)) == "No iteration has finished yet."


def test_per_task_words_count_gains_and_name_the_worst():
    before, after = np.array([0.0, 0.0, 0.0, 5.0]), np.array([2.0, -3.0, 0.0, np.nan])
    words = per_task_words(before, after, "return", form_of(measure_of("return"), [82.7]))
    assert words == (
        "1 of 4 tasks improve; the median change is 0.0. Task 2 ends worst: 0.0 before, −3.0 after."
    )
    words = per_task_words(before, after, "mse", form_of(measure_of("mse"), []))
    assert "Task 1 ends worst: 0 before, 2.00 after." in words


def test_a_change_of_shares_is_in_points():
    before, after = np.array([0.2, 0.5]), np.array([0.7, 0.8])
    words = per_task_words(before, after, "accuracy", form_of(measure_of("accuracy"), []))
    assert (
        "the median change is 40.0 points. Task 1 ends worst: 20.0\u202f% before, 70.0\u202f% after." in words
    )


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        (
            "mse",
            "After 10 steps on 10 examples the agent’s mean squared error falls from 4.00 to 0.113 (2.80 "
            "after the first) on 8 unseen tasks; pretrained reaches 3.00.",
        ),
        (
            "accuracy",
            "After 10 steps on 10 examples the agent’s mean accuracy rises from 20.0 % to 97.7 % (44.0 % "
            "after the first) on 8 unseen tasks; pretrained reaches 40.0 % and nearest 55.0 %.",
        ),
    ],
)
def test_headline_of_labelled_examples(tmp_path, metric, sentence):
    run = read_run(make_lessons(tmp_path / "run", metric))
    assert headline(run).replace("\u202f%", " %") == sentence
    assert facts(run) == [
        "spec finn2017",
        "30 iterations",
        "15k labelled examples",
        "25 tasks an iteration",
        "seed 1",
    ]


def test_headline_of_a_supervised_run_that_is_not_evaluated(tmp_path):
    path = make_lessons(tmp_path / "run", "accuracy")
    (path / "evaluation.json").unlink()
    assert headline(read_run(path)) == (
        "Not evaluated yet. The training tasks’ mean accuracy was last 20.0\u202f% before and 90.0\u202f% "
        "after 1 step of adaptation."
    )


def test_commands_repeat_the_evaluation_that_was_made(tmp_path):
    run = run_with(
        tmp_path / "my run", {"meta": [1.0, 2.0], "oracle": [1.0, 2.0]}, deterministic=True, seed=7
    )
    train, evaluate, report = (shlex.split(command) for command in commands(run))
    path = str(tmp_path / "my run")
    assert train == ["metarl", "train", "maml", "--config", f"{path}/config.yaml", "--out", f"{path}-again"]
    assert report == ["metarl", "report", f"{path}-again"]
    options = "--checkpoint best --split test --tasks 8 --steps 3 --episodes 20 --seed 7 --deterministic"
    assert evaluate == ["metarl", "evaluate", f"{path}-again", *options.split(), "--baselines", "oracle"]


def test_commands_name_the_step_sizes_and_no_checkpoint_that_no_command_line_can(tmp_path):
    run = run_with(tmp_path / "run")
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
