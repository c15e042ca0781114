"""Groups side by side: differences on the same tasks, chances, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.core.errors import RequestError
from metarl.run.report.comparison_page import compare
from metarl.run.results.comparison import compare_runs, grouped
from metarl.run.results.statistics import difference, improvement, t_interval
from synthetic_run import make_measured, make_run

BASE = np.array([[0.0, 10.0], [100.0, 200.0], [1000.0, 1500.0]])  # tasks of very different levels
MAML = [BASE, np.add(BASE, [[0, 2], [0, 4], [0, 6]])]
REPTILE = [np.subtract(BASE, [[0, 1], [0, 1], [0, 4]])]


def runs(tmp_path: Path, **told: Any) -> list[Path]:
    """Two seeds of maml and one of reptile."""
    paths = [make_measured(tmp_path / f"maml{i}", v, told=told, seed=i) for i, v in enumerate(MAML, 1)]
    return [*paths, make_measured(tmp_path / "reptile", REPTILE[0], told=told, algorithm="reptile")]


def test_the_first_group_is_what_the_others_are_held_against(tmp_path: Path) -> None:
    found = compare(runs(tmp_path))
    assert found.labels == ["maml", "reptile"]
    (versus,) = found.versus
    # After the step reptile is 1, 1 and 4 below the first seed of maml, 2, 3 and 7 below their mean.
    np.testing.assert_allclose(versus.per_task[:, 1], [-2, -3, -7])
    np.testing.assert_allclose(versus.difference, [0, -4])
    np.testing.assert_allclose(versus.improvement, [0.5, 0])  # before they are equal, afterwards never better
    one, other = np.array(REPTILE), np.array(MAML)
    np.testing.assert_allclose(versus.difference_ci, t_interval(difference, one, other))
    np.testing.assert_allclose(versus.improvement_ci, t_interval(improvement, one, other).clip(0, 1))
    assert versus.covers == "tasks and seeds of the groups that have several"
    # What the tasks' levels differ by, hundreds, is in no paired difference.
    assert np.ptp(versus.difference_ci[1]) < 40 < np.ptp(found.pooled[1].ci[1])
    turned = compare(runs(tmp_path / "again")[::-1])
    np.testing.assert_allclose(turned.versus[0].difference, [0, 4])
    np.testing.assert_allclose(turned.versus[0].improvement, [0.5, 1])


def test_of_errors_the_lower_is_the_better(tmp_path: Path) -> None:
    found = compare(runs(tmp_path, metric="mse"))
    np.testing.assert_allclose(found.versus[0].improvement, [0.5, 1])
    np.testing.assert_allclose(found.versus[0].difference, [0, -4])
    assert "lower is better" in found.table()


def test_the_table_has_every_group_and_every_pair(tmp_path: Path) -> None:
    text = str(compare(runs(tmp_path)))
    assert text.startswith("return on 3 test tasks of point-goal (finn2017), protocol metarl-v1 ")
    assert "maml: 95 % t-intervals over tasks and seeds; reptile: 95 % t-intervals over tasks" in text
    for start in ("maml (seeds 1 2)", "reptile (seed 1)", "reptile less maml", "episodes of a task"):
        assert f"\n{start} " in text
    lines = {line[:20].strip(): line for line in text.splitlines()}
    assert "−4.0" in lines["reptile less maml"]
    assert "0.50 [" in text and "0.00 [0.00, 0.00]" in text


def test_numbers_and_page_are_written_by_the_name(tmp_path: Path) -> None:
    found = compare(runs(tmp_path))
    data = json.loads(found.save(tmp_path / "c.json").read_text(), parse_constant=pytest.fail)
    assert [group["seeds"] for group in data["groups"]] == [[1, 2], [1]]
    assert data["versus"][0]["against"] == "maml" and data["versus"][0]["difference"] == [0, -4]
    assert data["protocol"]["name"] == "metarl-v1"
    assert found.save(tmp_path / "c.html").read_text().startswith("<!doctype html>")
    assert json.loads(compare_runs(runs(tmp_path / "alone")).save(tmp_path / "d.html").read_text())
    with pytest.raises(RequestError, match=r"nowhere/c.html cannot be written"):
        found.save(tmp_path / "nowhere" / "c.html")


def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path: Path) -> None:
    one, other, reptile = runs(tmp_path)
    elsewhere = make_measured(tmp_path / "ood", BASE, told={"split": "ood"}, algorithm="lstm")
    bare = make_run(tmp_path / "bare", evaluation={})
    for paths, told in (
        ([one], "compare needs at least two runs, got 1"),
        ([one, other], "at least two configurations; all 2 are maml and differ in their seed alone"),
        ([one, reptile, one], "is given twice"),
        ([one, elsewhere], "are not comparable: split is test and ood"),
        ([one, bare], "bare has not been evaluated; next: metarl evaluate"),
        ([one, tmp_path / "absent"], "absent is not a run directory"),
    ):
        with pytest.raises(RequestError, match=told) as caught:
            compare(paths)
        assert "\n" not in str(caught.value)


def test_words_that_are_the_same_for_all_are_said_once() -> None:
    assert grouped({"a": "x", "b": "x"}) == "x"
    assert grouped({"a": "x", "b": "y", "c": "x"}) == "a, c: x; b: y"


def test_single_runs_on_all_tasks_there_are_have_no_intervals(tmp_path: Path) -> None:
    values = [[0.0, 1.0], [1.0, 4.0]]
    told = {"tasks_in_all": 2}
    paths = [make_measured(tmp_path / a, values, told=told, algorithm=a) for a in ("maml", "reptile")]
    found = compare(paths)
    assert np.isnan(found.versus[0].difference_ci).all() and found.versus[0].covers == ""
    assert "no intervals: one run, on all tasks there are" in found.table()
    page = found.save(tmp_path / "c.html").read_text()
    assert "(no interval)" in page and "which holds 0" not in page
    assert json.loads(found.save(tmp_path / "c.json").read_text())["groups"][0]["ci95"] == [[None, None]] * 2


def test_the_table_gives_a_terminal_no_orders(tmp_path: Path) -> None:
    runs = [make_measured(tmp_path / name, BASE, objective=f"a\x1b[2J{name}") for name in "ab"]
    table = compare(runs).table()
    assert r"objective=a\x1b[2Jb" in table and "\x1b" not in table
