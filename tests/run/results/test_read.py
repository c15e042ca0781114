"""A run directory as checked values, and its rows over iterations."""

import json

import pytest

from metarl.core.errors import RequestError
from metarl.run.log.curve import VALIDATION
from metarl.run.results.read import best_iteration, curve_series, read_run, series
from synthetic_run import make_evaluation, make_lessons, make_run


def with_rows(path, rows):
    run = make_run(path, evaluation={})
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_run(run)


def test_reads_a_run_and_one_that_has_only_started(tmp_path):
    path = make_run(tmp_path / "run")
    run = read_run(path)
    assert run.config["family"] == "point-goal" and len(run.rows) == 30
    assert run.machine["threads"] == 2 and run.evaluation.metric == "return" and run.strip is None
    for name in ("metrics.jsonl", "evaluation.json", "machine.json"):
        (path / name).unlink()
    run = read_run(path)
    assert run.rows == [] and run.evaluation is None and run.machine == {}


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


def test_a_curve_reaches_as_far_as_any_row():
    rows = [
        {"iteration": 1, "return/step_0": 1.0},
        {"iteration": 2, "return/step_0": 2.0, "return/step_1": 3.0, "return/step_10": 1.0},
    ]
    first, second = curve_series(rows, "return")
    assert first.x.tolist() == [1, 2] and second.y.tolist() == [3.0]
    assert curve_series(rows, "mse") == curve_series(rows, "return", VALIDATION) == []


def test_best_iteration_is_the_evaluation_s_else_the_best_validation_s(tmp_path):
    assert best_iteration(read_run(make_run(tmp_path / "a")), "return") == 20
    evaluation = make_evaluation()
    for name, (changes, best) in {
        "b": ({"checkpoint": "best (iteration 10)"}, 10),
        "c": ({"checkpoint": "best", "iteration": 9}, 9),
        "d": ({"checkpoint": "last (iteration 30)"}, 20),
        "e": ({"checkpoint": "best", "iteration": 10**400}, 20),
        "f": ({"checkpoint": "best", "iteration": "9"}, 20),
    }.items():
        evaluation["protocol"] = make_evaluation()["protocol"] | changes
        assert best_iteration(read_run(make_run(tmp_path / name, evaluation=evaluation)), "return") == best
    assert best_iteration(read_run(make_run(tmp_path / "young", 5, {})), "return") is None


def test_best_iteration_of_an_error_is_its_lowest(tmp_path):
    rows = [{"iteration": i, "mse/step_0": 1.0, "validation/mse/step_0": abs(i - 3.2)} for i in range(1, 6)]
    run = with_rows(tmp_path / "run", rows)
    assert run.training_metric == "mse" and run.training_measure.lower_is_better
    assert best_iteration(run, "mse") == 3


def test_best_iteration_of_equal_success_is_that_of_the_highest_return(tmp_path):
    success, returns = [0.2, 0.5, 0.5, 0.5, 0.4], [9.0, 1.0, 3.0, 2.0, 8.0]
    rows = [
        {"iteration": i, "success/step_0": 0.0, "return/step_0": 1.0}
        | {"validation/return/step_0": y, "validation/success/step_0": x}
        for i, (x, y) in enumerate(zip(success, returns, strict=True), 1)
    ]
    run = with_rows(tmp_path / "run", rows)
    assert run.training_metric == "success" and best_iteration(run, "success") == 3
    assert best_iteration(run, "return") == 1


def test_what_training_draws_is_known_from_the_rows_or_else_from_the_evaluation(tmp_path):
    assert read_run(make_run(tmp_path / "a")).samples_key == "env_steps"
    path = make_lessons(tmp_path / "b", "mse")
    assert read_run(path).samples_key == "examples"
    (path / "metrics.jsonl").unlink()
    assert read_run(path).samples_key == "examples" and read_run(path).training_metric == "mse"
