"""Several runs evaluated in one go, from training to the file of what they give together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.core.errors import RequestError
from metarl.run.evaluate.several_runs import evaluate_runs
from metarl.run.results.statistics import mean, t_interval
from metarl.run.use.runs import train
from tiny_runs import tiny

FEW: dict[str, Any] = {"tasks": 3, "steps": 1, "episodes": 2}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of MAML, and FOMAML."""
    path = tmp_path_factory.mktemp("runs")
    wanted: list[dict[str, Any]] = [{"seed": 2}, {"seed": 1}, {"algorithm": "fomaml"}]
    return [train(tiny(iterations=1, **one), path / str(i)).path for i, one in enumerate(wanted)]


def test_each_run_gets_its_file_and_the_seeds_one_together(runs: list[Path], tmp_path: Path) -> None:
    told: list[str] = []
    evaluate_runs(runs[:2], out=tmp_path / "all.json", show=told.append, **FEW)
    each = [json.loads((path / "evaluation.json").read_text()) for path in runs[:2]]
    assert told[0].startswith(f"{runs[0]}\nreturn on 3 test tasks")
    assert "2 runs of maml together (seeds 1 2)" in told[2] and len(told) == 3
    found = json.loads((tmp_path / "all.json").read_text())
    assert found["seeds"] == [1, 2] and found["runs"] == [str(runs[1]), str(runs[0])]
    values = np.array([each[i]["agents"]["meta"]["per_task"] for i in (1, 0)])
    np.testing.assert_allclose(found["agents"]["meta"]["mean"], values.mean((0, 1)))
    np.testing.assert_allclose(found["agents"]["meta"]["ci95"], t_interval(mean, values))
    assert found["protocol"]["hash"] == each[0]["protocol"]["hash"] == each[1]["protocol"]["hash"]


def test_runs_of_several_configurations_are_put_together_by_each(runs: list[Path]) -> None:
    told: list[str] = []
    evaluate_runs([runs[0], runs[2]], show=told.append, **FEW)
    assert len(told) == 2  # one of each: nothing to put together


def test_one_run_may_be_written_anywhere(runs: list[Path], tmp_path: Path) -> None:
    told: list[str] = []
    evaluate_runs([runs[0]], out=tmp_path / "one.json", show=told.append, spec="finn2017", **FEW)
    assert json.loads((tmp_path / "one.json").read_text())["metric"] == "return"
    assert len(told) == 1


def test_nothing_is_measured_where_something_is_wrong(runs: list[Path], tmp_path: Path) -> None:
    other = train(tiny(iterations=0, spec="promp"), tmp_path / "promp").path
    for path in (*runs, other):
        (path / "evaluation.json").unlink(missing_ok=True)
    for names, options, told in (
        ([runs[0], other], {}, f"{runs[0]} has spec finn2017 and {other} promp"),
        (runs[:2], {"spec": "promp"}, f"spec is 'finn2017' in {runs[0]}, got 'promp'"),
        (runs, {"out": tmp_path / "x.json"}, "3 runs of different configurations (maml; fomaml)"),
        (runs[:2], {"out": tmp_path / "no" / "x.json"}, "cannot be written"),
        ([runs[0], tmp_path], {}, "is not a run directory"),
    ):
        with pytest.raises(RequestError) as caught:
            evaluate_runs(names, **options, **FEW)
        assert told in str(caught.value) and "\n" not in str(caught.value)
    assert not [path for path in (*runs, other) if (path / "evaluation.json").exists()]
