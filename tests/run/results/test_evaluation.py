"""An evaluation is written and read by one class, which checks what it reads."""

import json

import numpy as np
import pytest

from metarl.core.errors import RequestError
from metarl.run.log.measures import Measure, measure_of, read_measure, register
from metarl.run.results.evaluation import Evaluation, checkpoint_words
from synthetic_run import AGENTS, make_evaluation, make_fits, make_lessons, make_samples


def written(path, **changes):
    """An evaluation.json that lacks or replaces top-level entries."""
    values = {key: value for key, value in {**make_evaluation(), **changes}.items() if value is not ...}
    path.write_text(json.dumps(values))
    return path


def test_reads_what_was_written_and_writes_it_again(tmp_path):
    evaluation = Evaluation.read(written(tmp_path / "a.json"))
    assert [agent.name for agent in evaluation.results] == list(AGENTS) == list(evaluation.agents)
    random = evaluation.results[1]
    assert random.mean.tolist() == list(AGENTS["random"]) and random.per_task.shape == (8, 4)
    assert random.low.tolist() == pytest.approx([mean - 2.05 for mean in AGENTS["random"]])
    assert random.inner_lr == (0.5, 0.25, 0.25) and random.samples == 8e6
    assert evaluation.mean == list(AGENTS["meta"]) and len(evaluation.per_task) == 8
    assert evaluation.ci95[0] == [-40.1 - 2.05, -40.1 + 1.95]
    again = json.loads(evaluation.save(tmp_path / "b.json").read_text())
    assert again.pop("measure") == measure_of("return").as_dict()
    old = make_evaluation()
    old["protocol"] |= {"checkpoint": "best", "iteration": 20}  # "best (iteration 20)" in an old file
    assert again == old
    assert (
        Evaluation.read(tmp_path / "b.json")
        == evaluation
        != Evaluation.read(written(tmp_path / "c", metrics={}))
    )


@pytest.mark.parametrize(("metric", "pictures"), [("mse", make_fits()), ("accuracy", make_samples())])
def test_examples_come_with_pictures_and_are_counted_where_steps_would_be(tmp_path, metric, pictures):
    evaluation = Evaluation.read(make_lessons(tmp_path / "run", metric) / "evaluation.json")
    assert evaluation.results[0].samples == 15_000
    assert evaluation.results[-1].samples == (None if metric == "accuracy" else 15_000)  # nearest learns none
    kept = evaluation.as_dict()["samples" if metric == "accuracy" else "fits"]
    assert kept == json.loads(json.dumps(pictures), parse_float=lambda text: round(float(text), 4))
    assert (evaluation.traces, evaluation.fits or evaluation.samples) != (None, None)


def test_the_trained_agent_comes_first_wherever_it_stands(tmp_path):
    agents = dict(reversed(make_evaluation()["agents"].items()))
    evaluation = Evaluation.read(written(tmp_path / "e.json", agents=agents))
    assert [agent.name for agent in evaluation.results] == ["meta", "oracle", "pretrained", "random"]


def test_null_and_infinity_are_unknown(tmp_path):
    data = make_evaluation()
    data["agents"]["meta"]["mean"][1] = None
    data["agents"]["meta"]["per_task"][0][0] = float("inf")
    data["traces"]["agents"]["meta"]["0"][0][0] = [[0.0, 1.0], [None, None], [2.0, 3.0]]
    evaluation = Evaluation.read(written(tmp_path / "e.json", **data))
    assert np.isnan(evaluation.results[0].mean[1]) and np.isnan(evaluation.results[0].per_task[0, 0])
    assert evaluation.traces.before[0][0].tolist() == [[0.0, 1.0], [2.0, 3.0]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metric": ...}, "'metric' is missing"),
        ({"agents": ...}, "'agents' is missing"),
        ({"agents": {}}, "no agents"),
        ({"agents": {"meta": {"mean": [1.0]}}}, "'ci95' is missing"),
        ({"agents": {"meta": {"mean": [1.0, 2.0], "ci95": [[0.0, 2.0]]}}}, "2 means"),
        ({"agents": {"meta": {"mean": ["x"], "ci95": [[0.0, 2.0]]}}}, "damaged"),
        ({"agents": [1]}, "damaged"),
        ({"agents": {"meta": 1}}, "damaged"),
        ({"protocol": 3}, "damaged"),
        ({"metrics": 3}, "damaged"),
        ({"measure": 3}, "damaged"),
        ({"measure": {"share": "yes"}}, "share 'yes', expected bool"),
        ({"agents": {"meta": {"mean": [10**400], "ci95": [[0.0, 2.0]]}}}, "too large"),
        ({"traces": {"agents": {"meta": {"0": [[[[]]]], "3": [[[[1, 2]]]]}}}}, "less than two numbers"),
        ({"traces": {"marks": [], "agents": {"meta": {"0": [[[1, 2]]], "3": [[[1, 2]]]}}}}, "damaged"),
    ],
)
def test_a_damaged_evaluation_is_one_line_that_names_the_file(tmp_path, changes, words):
    path = written(tmp_path / "evaluation.json", **changes)
    with pytest.raises(RequestError) as error:
        Evaluation.read(path)
    assert str(path) in str(error.value) and words in str(error.value) and "\n" not in str(error.value)


def test_the_table_names_the_checkpoint_and_its_number():
    assert checkpoint_words({"checkpoint": "best", "iteration": 20}) == "best (iteration 20)"
    assert checkpoint_words({"checkpoint": "7", "iteration": 7}) == "7"
    assert checkpoint_words({"checkpoint": "last", "iteration": "x"}) == "last"


def test_a_metric_is_stated_once_and_an_evaluation_keeps_it(tmp_path):
    register("return", measure_of("return"))  # the same again does no harm
    for name in ("return", "a/b"):
        with pytest.raises(RequestError, match=name):
            register(name, Measure("other", "others"))
    stated = {"of_task": "regret", "of_tasks": "mean regret", "lower_is_better": True, "share": False}
    evaluation = Evaluation.read(written(tmp_path / "e.json", metric="regret", measure=stated))
    assert evaluation.measure == Measure("regret", "mean regret", lower_is_better=True)
    assert evaluation.as_dict()["measure"] == stated | {"of": None, "meaning": ""}
    assert read_measure("mse", None) == measure_of("mse")
