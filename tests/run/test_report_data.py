import json

import numpy as np
import pytest

from metarl.core.errors import RequestError
from metarl.run.report_data import (
    best_iteration,
    better,
    drawn_key,
    read_run,
    series,
    step_keys,
    training_metric,
)
from synthetic_run import AGENTS, make_evaluation, make_lessons, make_run


def damaged(path, **changes):
    """A run whose evaluation lacks or replaces top-level entries."""
    values = {key: value for key, value in {**make_evaluation(), **changes}.items() if value is not ...}
    return make_run(path, evaluation=values)


def test_reads_what_was_written(tmp_path):
    run = read_run(make_run(tmp_path / "run"))
    assert run.config["family"] == "point-goal" and len(run.rows) == 30
    assert [agent.name for agent in run.evaluation.agents] == list(AGENTS)
    random = run.evaluation.agents[1]
    assert random.mean.tolist() == list(AGENTS["random"]) and random.per_task.shape == (8, 4)
    assert random.low.tolist() == pytest.approx([mean - 2.05 for mean in AGENTS["random"]])
    assert random.inner_lr == (0.5, 0.25, 0.25) and random.samples == 8e6
    assert run.evaluation.pictures[1:] == (None, None)
    traces = run.evaluation.pictures.traces
    assert traces.steps == 3 and len(traces.before) == len(traces.after) == len(traces.goals) == 2
    for task, goal in zip(traces.after, traces.goals, strict=True):
        assert [len(path) for path in task] == [5, 6, 7]
        assert np.allclose(task[0][-1], goal, atol=1e-4)


def test_the_trained_agent_comes_first_wherever_it_stands(tmp_path):
    agents = dict(reversed(make_evaluation()["agents"].items()))
    run = read_run(damaged(tmp_path / "run", agents=agents))
    assert [agent.name for agent in run.evaluation.agents] == ["meta", "oracle", "pretrained", "random"]


def test_a_run_that_has_only_started(tmp_path):
    path = make_run(tmp_path / "run", evaluation={})
    (path / "metrics.jsonl").unlink()
    run = read_run(path)
    assert run.rows == [] and run.evaluation is None


def test_null_and_infinity_are_unknown(tmp_path):
    evaluation = make_evaluation()
    evaluation["agents"]["meta"]["mean"][1] = None
    evaluation["agents"]["meta"]["per_task"][0][0] = float("inf")
    evaluation["traces"]["agents"]["meta"]["0"][0][0] = [[0.0, 1.0], [None, None], [2.0, 3.0]]
    found = read_run(make_run(tmp_path / "run", evaluation=evaluation)).evaluation
    assert np.isnan(found.agents[0].mean[1]) and np.isnan(found.agents[0].per_task[0, 0])
    assert found.pictures.traces.before[0][0].tolist() == [[0.0, 1.0], [2.0, 3.0]]


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
        ({"protocol": 3}, "damaged"),
        ({"agents": {"meta": {"mean": [10**400], "ci95": [[0.0, 2.0]]}}}, "too large"),
        ({"traces": {"agents": {"meta": {"0": [[[[]]]], "3": [[[[1, 2]]]]}}}}, "less than two numbers"),
        ({"traces": {"marks": [], "agents": {"meta": {"0": [[[1, 2]]], "3": [[[1, 2]]]}}}}, "damaged"),
    ],
)
def test_a_damaged_evaluation_is_one_line_that_names_the_file(tmp_path, changes, words):
    path = damaged(tmp_path / "run", **changes)
    with pytest.raises(RequestError) as error:
        read_run(path)
    assert str(path / "evaluation.json") in str(error.value) and words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", b"- 1"),
        ("config.yaml", b"a: ["),
        ("metrics.jsonl", b"{}\n"),
        ("metrics.jsonl", b"x\n"),
        ("metrics.jsonl", b'{"iteration": 1' + b"0" * 400 + b"}\n"),
        ("metrics.jsonl", b'{"iteration": -1}\n'),
        ("machine.json", b"[1]"),
        ("machine.json", b"{"),
        ("evaluation.json", b"{"),
        ("evaluation.json", b"[]"),
        ("evaluation.json", b"\xff"),
    ],
)
def test_any_damaged_file_is_named_in_one_line(tmp_path, name, content):
    path = make_run(tmp_path / "run")
    (path / name).write_bytes(content)
    with pytest.raises(RequestError, match=name) as error:
        read_run(path)
    assert "\n" not in str(error.value)


def test_a_directory_that_is_no_run(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RequestError) as error:
            read_run(path)
        assert str(error.value) == f"{path} is not a run directory: no config.yaml"


def test_series_leaves_out_the_rows_without_a_finite_number():
    rows = [{"iteration": i, "kl": kl} for i, kl in enumerate([0.1, None, float("nan"), "x", 0.5], 1)]
    rows += [{"iteration": 8, "kl": kl} for kl in (10**400, -1e308)]  # more than a figure has room for
    x, y = series([*rows, {"iteration": 6}, {"iteration": 7, "kl": True}], "kl")
    assert x.tolist() == [1, 5, 7] and y.tolist() == [0.1, 0.5, 1.0]
    assert series(rows, "absent")[0].shape == (0,)


def test_step_keys_reach_as_far_as_any_row():
    rows = [{"return/step_0": 1.0, "return/step_10": 1.0}, {"return/step_1": 1.0}]
    assert step_keys(rows, "return") == ["return/step_0", "return/step_1"]
    assert step_keys(rows, "mse") == []


def test_lower_is_better_for_errors_alone():
    new, old = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    assert better("return", new, old).tolist() == [False, True, True]
    assert better("mse", new, old).tolist() == [True, True, False]


def test_best_iteration_is_the_evaluations_else_the_best_validation(tmp_path):
    named = read_run(make_run(tmp_path / "a"))
    assert best_iteration(named, "return") == 20
    evaluation = make_evaluation()
    evaluation["protocol"]["checkpoint"] = "best (iteration 10)"
    assert best_iteration(read_run(make_run(tmp_path / "b", evaluation=evaluation)), "return") == 10
    evaluation["protocol"]["checkpoint"] = "last (iteration 30)"
    assert best_iteration(read_run(make_run(tmp_path / "c", evaluation=evaluation)), "return") == 20
    young = read_run(make_run(tmp_path / "d", iterations=5, evaluation={}))
    assert best_iteration(young, "return") is None


def test_best_iteration_of_an_error_is_its_lowest(tmp_path):
    path = make_run(tmp_path / "run", evaluation={})
    rows = [{"iteration": i, "mse/step_0": 1.0, "validation/mse/step_0": abs(i - 3.2)} for i in range(1, 6)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = read_run(path)
    assert training_metric(run) == "mse" and best_iteration(run, "mse") == 3


def test_best_iteration_of_equal_success_is_that_of_the_highest_return(tmp_path):
    path = make_run(tmp_path / "run", evaluation={})
    success, returns = [0.2, 0.5, 0.5, 0.5, 0.4], [9.0, 1.0, 3.0, 2.0, 8.0]
    rows = [
        {"iteration": i, "return/step_0": 1.0, "success/step_0": 0.0}
        | {"validation/return/step_0": y, "validation/success/step_0": x}
        for i, (x, y) in enumerate(zip(success, returns, strict=True), 1)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = read_run(path)
    assert training_metric(run) == "success" and best_iteration(run, "success") == 3
    assert best_iteration(run, "return") == 1


def test_what_training_draws_is_known_from_the_rows_or_else_from_the_evaluation(tmp_path):
    assert drawn_key(read_run(make_run(tmp_path / "a"))) == "env_steps"
    path = make_lessons(tmp_path / "b", "mse")
    assert drawn_key(read_run(path)) == "examples"
    (path / "metrics.jsonl").unlink()
    assert drawn_key(read_run(path)) == "examples"


def test_examples_stand_where_environment_steps_would(tmp_path):
    agents = read_run(make_lessons(tmp_path / "run", "accuracy")).evaluation.agents
    assert [(agent.name, agent.samples) for agent in agents] == [
        ("meta", 15_000.0),
        ("pretrained", 15_000.0),
        ("nearest", None),
    ]
