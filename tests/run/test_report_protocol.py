import json

import pytest

from metarl.run.report_data import read_run
from metarl.run.report_protocol import STATISTICS, agent_words, procedure
from synthetic_run import make_evaluation, make_lessons, make_run


def test_agents_of_episodes_and_of_labelled_examples_are_told_apart(tmp_path):
    words = {
        "return": agent_words(read_run(make_run(tmp_path / "return")).evaluation),
        "mse": agent_words(read_run(make_lessons(tmp_path / "mse", "mse")).evaluation),
        "accuracy": agent_words(read_run(make_lessons(tmp_path / "accuracy", "accuracy")).evaluation),
    }
    assert list(words["return"]) == ["meta", "random", "pretrained", "oracle"]
    assert list(words["accuracy"]) == ["meta", "pretrained", "nearest"]
    assert len({found["pretrained"] for found in words.values()}) == 3
    assert "last layer drawn anew" in words["accuracy"]["pretrained"]
    assert "fine-tuned" in words["mse"]["pretrained"] and "fine-tuned" not in words["return"]["pretrained"]
    assert "pixel by pixel" in words["accuracy"]["nearest"]


def test_an_agent_that_nobody_knows_is_not_explained(tmp_path):
    evaluation = make_evaluation()
    evaluation["agents"]["mine"] = evaluation["agents"]["oracle"]
    run = read_run(make_run(tmp_path / "run", evaluation=evaluation))
    assert "mine" not in agent_words(run.evaluation)


def test_procedure_of_labelled_examples(tmp_path):
    run = read_run(make_lessons(tmp_path / "run", "mse", statistics=...))
    assert procedure(run) == (
        "A task gives 10 labelled examples (the support) to adapt to, all at once in each step, and 10 "
        "others (the queries) to be judged by. A task’s value is the mean squared error over its queries, "
        "before the first step and after each. Each baseline takes the step size of the grid that does best "
        "on validation tasks."
    )


def test_procedure_of_mini_batches_and_single_examples(tmp_path):
    path = make_lessons(tmp_path / "run", "accuracy", shots=20, queries=1)
    config = (path / "config.yaml").read_text()
    (path / "config.yaml").write_text(f"{config}inner_batch: 5\n")
    words = procedure(read_run(path))
    assert "20 labelled examples (the support) to adapt to, 5 examples at a time" in words
    assert "1 other (the queries)" in words and "right label" in words


def test_what_success_is_shares_of(tmp_path):
    run = read_run(make_run(tmp_path / "a", evaluation=make_evaluation() | {"metric": "success"}))
    assert procedure(run).startswith(
        "A task’s value is the share of its episodes that succeed, at any of their steps."
    )
    assert "succeed" not in procedure(read_run(make_run(tmp_path / "b")))


@pytest.mark.parametrize("name", STATISTICS)
def test_how_images_are_normalised_is_told(tmp_path, name):
    words = procedure(read_run(make_lessons(tmp_path / "run", "accuracy", statistics=name)))
    assert [other for other, text in STATISTICS.items() if text in words] == [name]


def test_nothing_is_told_of_what_was_not_measured(tmp_path):
    assert procedure(read_run(make_run(tmp_path / "a", evaluation={}))) == ""
    assert "labelled" not in procedure(read_run(make_run(tmp_path / "b")))
    path = make_lessons(tmp_path / "c", "mse", agents={"meta": [1.0, 0.5]})
    assert "baseline" not in procedure(read_run(path))
    evaluation = json.loads((path / "evaluation.json").read_text())
    evaluation["protocol"] |= {"shots": "many", "queries": None}
    (path / "evaluation.json").write_text(json.dumps(evaluation))
    assert procedure(read_run(path)).startswith("A task’s value is the mean squared error")
