"""Runs whose collections are shared out to workers: the same runs, whatever becomes of the workers."""

import re
from pathlib import Path
from typing import Any

import pytest

from metarl.cli import main
from metarl.core.errors import EnvironmentFailed, RunFailed
from metarl.rollout.inline import Inline
from metarl.rollout.processes import Processes
from metarl.run.experience.sources import open_executor
from metarl.run.use.runs import Run, train
from tiny_runs import agent, alike, pupil, tiny

STROLL = "python_stepped:Stroll"


def trained(out: Path, executor: str, **arguments: Any) -> Run:
    """Two iterations with two validations on Stroll, half of whose tasks may get into trouble."""
    options = {"executor": executor, "workers": 2, "worker_timeout": 60.0, "checkpoint_every": 1}
    family = {"family": STROLL, "family_arg": {"horizon": 6, "far": True, **arguments}}
    return train(tiny(**options, **family), out)


def test_the_configuration_names_the_executor() -> None:
    with open_executor(agent()) as inline, open_executor(pupil()) as none:
        assert isinstance(inline, Inline) and none is None
    with open_executor(agent(executor="processes", workers=3, worker_timeout=7.5)) as made:
        assert isinstance(made, Processes)  # it starts with its first collection
        assert (made._limit, made._timeout) == (3, 7.5)


def test_a_run_that_loses_a_worker_is_the_run_of_one_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = trained(tmp_path / "here", "inline", once=str(tmp_path))
    (tmp_path / "exits").touch()
    there = trained(tmp_path / "there", "processes", once=str(tmp_path))
    told = capsys.readouterr().err
    lost = r"metarl: warning: family 'stroll' \(plane\): worker [12] was lost \(exit code 7\); "
    assert len(re.findall(lost, told)) == 1
    assert alike(here, there)
    sizes = {"tasks": 4, "steps": 2, "episodes": 2}
    (tmp_path / "is killed").touch()
    assert there.evaluate(**sizes).as_dict() == here.evaluate(**sizes).as_dict()
    assert " was lost (killed by SIGKILL" in capsys.readouterr().err


def test_a_run_whose_environment_raises_says_where_and_keeps_the_worker_s_traceback(tmp_path: Path) -> None:
    with pytest.raises(RunFailed) as caught:
        trained(tmp_path / "run", "processes", trouble="raises")
    told = str(caught.value)
    assert "\n" not in told and isinstance(caught.value.__cause__, EnvironmentFailed)
    assert told.startswith(
        "iteration 1 failed: family 'stroll' (plane): task 1 {'goal': 3.0}, episode 0, step 2: "
        "KeyError: 'no such key' (all of it: "
    )
    kept = (tmp_path / "run" / "failure.txt").read_text()
    assert "in a worker process:" in kept and "python_stepped.py" in kept


def test_an_evaluation_whose_environment_raises_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(tmp_path / "run", "inline", once=str(tmp_path))
    (tmp_path / "raises").touch()
    capsys.readouterr()
    assert (
        main(["evaluate", str(run.path), "--tasks", "2", "--steps", "0", "--episodes", "1", "--trust"]) == 1
    )
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "task 1 {'goal': 3.0}, episode 0, step 2: KeyError: " in told
