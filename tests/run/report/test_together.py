"""The report's part on several seeds together, and why there is none where there cannot be."""

import re
from pathlib import Path

import numpy as np

from metarl.run.report.page import write_report
from metarl.run.report.together import _thinned, together
from metarl.run.results.groups import find_groups
from metarl.run.results.pooled import pooled
from metarl.run.results.read import Series, read_run
from synthetic_run import make_evaluation, make_measured, make_run


def levels(rng: np.random.Generator, tasks: int) -> np.ndarray:
    return np.add(rng.normal(-30, 5, (tasks, 1)), [0, 10, 15]) + rng.normal(0, 1, (tasks, 3))


def seeds(path: Path, tasks: int = 5, n: int = 3) -> list[Path]:
    rng = np.random.default_rng(0)
    values = [levels(rng, tasks) for _ in range(n)]
    return [
        make_measured(path / f"s{i}", v, {"random": v - 40} if i != 2 else {}, seed=i)
        for i, v in enumerate(values, 1)
    ]


def test_seeds_of_one_configuration_stand_together(tmp_path: Path) -> None:
    paths = seeds(tmp_path)
    page = write_report(paths).read_text()
    runs = [read_run(path) for path in paths]
    (start,) = [m.start() for m in re.finditer('<article id="group-1">', page)]
    part = page[start : page.index("</article>", start)]
    assert "<h2>maml, seeds 1 2 3 together</h2>" in part
    assert re.findall("<h3>(.*?)</h3>", part) == ["Adaptation", "Learning", "Task by task"]
    found = pooled(find_groups(runs)[0])
    for value, (low, high) in zip(found.mean, found.ci, strict=True):
        assert f"<td>{value:.1f}<small>{low:.1f} to {high:.1f}</small></td>".replace("-", "−") in part
    assert "left out: random" in part  # one run has none
    assert part.count("<svg") == 2 + 5  # adaptation and learning, five tasks


def test_of_many_tasks_some_are_shown(tmp_path: Path) -> None:
    part = "".join(together([read_run(path) for path in seeds(tmp_path, tasks=40, n=2)]))
    assert "24 of 40 tasks." in part
    assert ">task 1<" in part and ">task 40<" in part


def test_why_runs_are_not_put_together_is_said(tmp_path: Path) -> None:
    one, _ = seeds(tmp_path, n=2)
    elsewhere = make_measured(tmp_path / "ood", [[0.0, 1.0]], told={"split": "ood"}, seed=9)
    (note,) = together([read_run(path) for path in (one, elsewhere)])
    assert "maml: not put together: " in note and "split is test and ood" in note
    bare = make_run(tmp_path / "bare", evaluation={}, seed=7)
    (note,) = together([read_run(path) for path in (one, bare)])
    assert "has not been evaluated; next: metarl evaluate" in note
    old = [make_run(tmp_path / f"old{i}", evaluation=make_evaluation(), seed=i) for i in (1, 2)]
    (note,) = together([read_run(path) for path in old])
    assert "older metarl" in note
    assert together([read_run(one), read_run(make_run(tmp_path / "r", algorithm="reptile"))]) == []
    twin = make_measured(tmp_path / "twin", [[0.0, 1.0]], seed=1)
    (note,) = together([read_run(one), read_run(twin)])
    assert "the same configuration and seed 1" in note


def test_long_lines_become_means_of_neighbours() -> None:
    x = np.arange(301.0)
    thin = _thinned(Series(x, 2 * x))
    np.testing.assert_allclose(thin.x[:2], [1, 4])  # of 0, 1, 2 and of 3, 4, 5
    np.testing.assert_allclose(thin.x[-1], 300)  # alone
    np.testing.assert_allclose(thin.y, 2 * thin.x)
    assert len(_thinned(Series(x[:150], x[:150])).x) == 150
