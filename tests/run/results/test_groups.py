"""Which runs belong together, what they are called, and which may stand side by side."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.core.errors import RequestError
from metarl.run.results.groups import check_comparable, check_one_family, find_groups, labels, run_dirs
from metarl.run.results.read import RunData, read_run
from synthetic_run import make_evaluation, make_measured, make_run

VALUES = [[0.0, 1.0], [2.0, 5.0]]


def measured(path: Path, values: Any = VALUES, **how: Any) -> RunData:
    return read_run(make_measured(path, values, **how))


def test_runs_that_differ_in_seed_or_machine_alone_are_one_group(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{"seed": 10}, {"seed": 2, "device": "cpu", "threads": 7, "chunk": 3}]
    changes += [{"seed": 2, "algorithm": "reptile"}, {"seed": 1, "logger": ["wandb"], "workers": 4}]
    runs = [measured(tmp_path / str(i), **change) for i, change in enumerate(changes)]
    one, other = find_groups(runs)
    assert (one.label, one.seeds) == ("maml", [1, 2, 10])
    assert (other.label, other.seeds) == ("reptile", [2])
    assert [run.path.name for run in one.runs] == ["3", "1", "0"]


def test_values_are_by_seed_and_of_agents_that_every_run_has(tmp_path: Path) -> None:
    both = {"random": [[9.0, 9.0]] * 2, "oracle": [[8.0, 8.0]] * 2}
    first = measured(tmp_path / "a", others=both, seed=2)
    second = measured(tmp_path / "b", np.add(VALUES, 10), others={"random": [[7.0, 7.0]] * 2}, seed=1)
    (group,) = find_groups([first, second])
    assert group.names == ["meta", "random"]
    np.testing.assert_array_equal(group.values(), [np.add(VALUES, 10), VALUES])
    np.testing.assert_array_equal(group.values("random")[:, 0, 0], [7, 9])


def test_a_family_s_every_task_is_no_sample(tmp_path: Path) -> None:
    every = find_groups([measured(tmp_path / "a", told={"tasks_in_all": 2})])[0]
    some = find_groups([measured(tmp_path / "b", told={"tasks_in_all": 3})])[0]
    assert (every.fixed_tasks, some.fixed_tasks) == (True, False)
    assert not find_groups([measured(tmp_path / "c")])[0].fixed_tasks


def test_the_same_configuration_and_seed_is_refused(tmp_path: Path) -> None:
    runs = [measured(tmp_path / name) for name in ("a", "b")]
    with pytest.raises(RequestError, match=r"a and .*b are the same configuration and seed 1"):
        find_groups(runs)
    with pytest.raises(RequestError, match="runs/a is given twice"):
        run_dirs(["runs/a", "runs/b", "runs/a/"])


def test_labels_are_algorithms_and_what_else_tells_them_apart() -> None:
    maml: dict[str, Any] = {"algorithm": "maml", "inner_lr": 0.1, "hidden": [8], "seed": 1, "tasks": 20}
    assert labels([maml, maml | {"algorithm": "reptile", "inner_lr": 9.0}]) == ["maml", "reptile"]
    others = [maml | {"inner_lr": 0.5, "hidden": [64, 64], "seed": 4}, {"algorithm": "lstm"}]
    assert labels([maml, *others]) == ["maml inner_lr=0.1 hidden=8", "maml inner_lr=0.5 hidden=64,64", "lstm"]
    assert labels([maml | {"family_arg": {"horizon": 9}}, maml]) == [
        "maml family_arg=horizon:9",
        "maml family_arg=unset",
    ]


def test_runs_of_other_tasks_are_not_put_together() -> None:
    one: dict[str, Any] = {"family": "point-goal", "spec": "promp", "family_arg": {}}
    check_one_family({"a": one, "b": dict(one), "c": one | {"family_arg": None}})
    for change, told in {
        ("family", "maze"): "a has family point-goal and b maze",
        ("spec", "finn2017"): "a has spec promp and b finn2017",
    }.items():
        with pytest.raises(RequestError, match=told):
            check_one_family({"a": one, "b": one | dict([change])})
    with pytest.raises(RequestError, match="a has family arg none and b horizon:9"):
        check_one_family({"a": one, "b": one | {"family_arg": {"horizon": 9}}})


def test_protocols_must_agree_and_what_they_differ_in_is_named(tmp_path: Path) -> None:
    runs = [measured(tmp_path / "a"), measured(tmp_path / "b", told={"split": "ood", "seed": 2}, seed=2)]
    with pytest.raises(RequestError) as caught:
        check_comparable(runs)
    a, b = tmp_path / "a", tmp_path / "b"
    assert str(caught.value) == f"{a} and {b} are not comparable: split is test and ood; seed is 1 and 2"
    check_comparable([runs[0], measured(tmp_path / "c", told={"checkpoint": "last"}, algorithm="lstm")])


def test_a_run_without_a_fit_evaluation_names_the_command(tmp_path: Path) -> None:
    bare = read_run(make_run(tmp_path / "bare", evaluation={}))
    with pytest.raises(RequestError, match=r"bare has not been evaluated; next: metarl evaluate \S+bare$"):
        check_comparable([measured(tmp_path / "a"), bare])
    old = read_run(make_run(tmp_path / "old", evaluation=make_evaluation()))
    with pytest.raises(
        RequestError, match=r"old was evaluated by an older metarl.*next: metarl evaluate .*old"
    ):
        check_comparable([old])
