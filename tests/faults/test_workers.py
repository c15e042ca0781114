"""Worker processes that raise, die or hang in the middle of a run: it ends as one in which none did."""

from pathlib import Path
from typing import Any

import pytest

from metarl.core.errors import RunFailed
from metarl.run.config.train_config import TrainConfig
from metarl.run.store import checkpoint as store
from metarl.run.train.callbacks import Callback
from metarl.run.use.runs import resume, train
from tiny_runs import alike, rows, tiny


class Trouble(Callback):
    """A task of these iterations, of which ``Stroll`` takes a file in ``folder`` for a sign, gets into it."""

    def __init__(self, folder: Path, when: dict[int, str]) -> None:
        super().__init__()
        self._folder, self._when = folder, when

    def on_rollout_start(self, iteration: int) -> None:
        if iteration in self._when:
            (self._folder / self._when[iteration]).touch()


def stroll(folder: Path, **changes: Any) -> TrainConfig:
    folder.mkdir(exist_ok=True)
    told = {"family": "python_stepped:Stroll", "family_arg": {"far": True, "once": str(folder)}}
    return tiny(**told, iterations=4, checkpoint_every=4, **changes)


def test_workers_that_die_or_hang_cost_a_warning_each_and_no_bit_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "signs"
    straight = train(stroll(folder, executor="inline"), tmp_path / "straight")
    capsys.readouterr()
    config = stroll(folder, executor="processes", workers=1, worker_timeout=1.0)
    trouble = {2: "exits", 3: "is killed", 4: "sleeps"}
    run = train(config, tmp_path / "run", [Trouble(folder, trouble)])
    assert not list(folder.iterdir())  # each got into its trouble
    told = capsys.readouterr().err
    for why in ("exit code 7", "killed by SIGKILL", "no step for 1 s"):
        assert told.count(f"worker 1 was lost ({why}") == 1
    assert alike(run, straight)
    assert rows(run.path) == rows(straight.path)


def test_a_worker_that_raises_ends_the_run_at_its_last_good_state(tmp_path: Path) -> None:
    folder = tmp_path / "signs"
    config = stroll(folder, executor="processes", workers=1)
    told = r"iteration 3 failed: family 'stroll' \(plane\): task \d .*, step 2: KeyError: .* metarl resume"
    with pytest.raises(RunFailed, match=told):
        train(config, tmp_path / "run", [Trouble(folder, {3: "raises"})])
    assert store.available(tmp_path / "run" / "checkpoints") == [2]
    straight = train(stroll(folder, executor="inline"), tmp_path / "straight")
    assert alike(resume(tmp_path / "run", trust=True), straight)
