"""What runs of one configuration give together, in numbers that can be worked by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.run.results.groups import Group, find_groups
from metarl.run.results.pooled import as_dict, pooled, save, table
from metarl.run.results.read import read_run
from metarl.run.results.statistics import mean, t_interval
from synthetic_run import make_measured

# Seeds 1 and 2, two tasks each, before and after one step.
VALUES = np.array([[[0.0, 10.0], [4.0, 20.0]], [[2.0, 14.0], [6.0, 24.0]]])


def group(tmp_path: Path, values: np.ndarray = VALUES, **told: Any) -> Group:
    runs = [
        read_run(make_measured(tmp_path / f"seed{i}", rows, {"random": rows - 50}, told, seed=i))
        for i, rows in enumerate(values, 1)
    ]
    (found,) = find_groups(runs)
    return found


def test_means_and_intervals_are_over_seeds_and_tasks(tmp_path: Path) -> None:
    found = pooled(group(tmp_path))
    np.testing.assert_array_equal(found.mean, [3, 17])
    np.testing.assert_array_equal(found.iqm, [3, 17])  # 2 and 4; 14 and 20
    np.testing.assert_array_equal(found.ci, t_interval(mean, VALUES))
    assert found.covers == "tasks and seeds"
    np.testing.assert_array_equal(found.episodes, [0, 20])
    np.testing.assert_array_equal(found.episode_env_steps, [0, 200])


def test_where_these_are_all_tasks_only_seeds_are_covered(tmp_path: Path) -> None:
    found = pooled(group(tmp_path, tasks_in_all=2))
    assert found.covers == "seeds"
    # The seeds' means after the step are 15 and 19: mean 17, error 2, t of one degree 12.706.
    np.testing.assert_allclose(found.ci[1], [17 - 2 * 12.7062, 17 + 2 * 12.7062], rtol=1e-4)


def test_shares_stay_between_none_and_all(tmp_path: Path) -> None:
    found = pooled(
        group(tmp_path, np.array([[[0.0, 1.0], [0.2, 0.9]], [[0.1, 1.0], [0.0, 1.0]]]), metric="success")
    )
    assert found.ci.min() == 0 and found.ci.max() == 1
    assert found.iqm_ci.min() >= 0 and found.iqm_ci.max() <= 1


def test_the_table_is_by_steps_and_by_what_they_consume(tmp_path: Path) -> None:
    title, covers, *lines = table(group(tmp_path)).splitlines()
    assert title.startswith(
        "2 runs of maml together (seeds 1 2): return on 2 test tasks of point-goal (finn2017)"
    )
    assert "protocol metarl-v1 " in title
    assert covers == "95 % t-intervals over tasks and seeds"
    assert lines[0].split() == ["before", "step", "1"]
    assert lines[1].split() == ["episodes", "of", "a", "task", "0", "20"]
    assert lines[2].split() == ["environment", "steps", "of", "a", "task", "0", "200"]
    assert [line.split()[:2] for line in lines[3:]][::2] == [["meta", "mean"], ["random", "mean"]]
    low, high = t_interval(mean, VALUES)[1]
    assert f"17.0 [{low:.1f}, {high:.1f}]".replace("-", "−") in lines[3]
    assert len({len(line) for line in lines[3:]}) == 1  # aligned


def test_the_table_gives_a_terminal_no_orders(tmp_path: Path) -> None:
    told = table(group(tmp_path, spec="a\x1b[2Jb"))
    assert r"(a\x1b[2Jb)" in told and "\x1b" not in told


def test_the_file_holds_every_number_and_whose_they_are(tmp_path: Path) -> None:
    one = group(tmp_path)
    found = json.loads(save(one, tmp_path / "all.json").read_text(), parse_constant=pytest.fail)
    assert found["seeds"] == [1, 2] and found["runs"] == [str(tmp_path / "seed1"), str(tmp_path / "seed2")]
    assert found["interval"] == "95 % t-intervals over tasks and seeds"
    assert found["protocol"]["hash"] == one.evaluation.protocol["hash"]
    assert not {"algorithm", "checkpoint"} & set(found["protocol"])
    meta = found["agents"]["meta"]
    assert meta["mean"] == [3, 17] and meta["iqm"] == [3, 17]
    assert meta["per_seed"] == [[2, 15], [4, 19]] and meta["per_task"] == [[1, 12], [5, 22]]
    assert meta["episodes"] == [0, 20]
    np.testing.assert_allclose(meta["ci95"], t_interval(mean, VALUES))
    # Runs drawn within tasks: means between those of the lower and of the higher run on every task.
    assert meta["stratified_bootstrap"]["mean"][1] == [15, 19]
    assert as_dict(one)["agents"].keys() == {"meta", "random"}
