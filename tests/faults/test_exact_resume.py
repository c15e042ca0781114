"""N of 2N iterations and a resume are 2N in one go, bit for bit, for every algorithm and executor."""

from pathlib import Path
from typing import Any

import pytest

from metarl.run.config.algorithms import ALGORITHMS
from metarl.run.config.train_config import TrainConfig
from metarl.run.store import checkpoint as store
from metarl.run.train import training
from metarl.run.use.runs import Run, load, resume, train
from tiny_runs import IMAGES, TAUGHT, TINY, alike, rows

EPISODES, EXAMPLES = TINY | {"tasks": 2, "episodes": 2}, TAUGHT | {"tasks": 2}
OF_EPISODES = ("promp", "e-maml")
# What else has a state that must survive, or a choice that must not be made anew.
FURTHER: list[dict[str, Any]] = [
    {name: value for name, value in EPISODES.items() if name != "threads"}
    | {"algorithm": "maml", "objective": "a2c", "chunk": None},
    EPISODES | {"algorithm": "reptile", "meta_optimizer": "adam", "rule": "adam", "max_grad_norm": 0.1},
    EPISODES | {"algorithm": "fomaml", "family": "tiny_families:Corridor", "device": "auto"},
    EXAMPLES | IMAGES | {"algorithm": "lstm", "inner_lr": None, "inner_batch": 2},
]


def of_algorithm(algorithm: str, world: dict[str, Any]) -> dict[str, Any]:
    """What the algorithm itself says is left to it."""
    values = {k: v for k, v in world.items() if k not in ("inner_lr", "meta_optimizer", "meta_lr")}
    return values | {"algorithm": algorithm}


@pytest.mark.parametrize(
    "values",
    [
        *(of_algorithm(algorithm, EPISODES) for algorithm in ALGORITHMS),
        *(of_algorithm(algorithm, EXAMPLES) for algorithm in ALGORITHMS if algorithm not in OF_EPISODES),
        *FURTHER,
    ],
    ids=lambda values: f"{values['algorithm']}-{values['family']}-{values.get('objective', '')}",
)
def test_a_resumed_run_is_the_run(values: dict[str, Any], tmp_path: Path) -> None:
    whole = train(TrainConfig(**values | {"checkpoint_every": 3}), tmp_path / "whole")
    train(TrainConfig(**values | {"checkpoint_every": 3, "iterations": 1}), tmp_path / "parts")
    parts = resume(tmp_path / "parts", 2, trust=True)
    assert alike(parts, whole)
    assert [row["iteration"] for row in rows(parts.path)] == [1, 2]
    assert sorted(path.name for path in parts.checkpoints.iterdir()) == ["000001", "000002"]
    assert alike(Run.resume(parts.path, trust=True), whole)  # there is nothing left to do


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_in_worker_processes_is_resumed_in_worker_processes(algorithm: str, tmp_path: Path) -> None:
    values = of_algorithm(algorithm, EPISODES | {"family": "python_stepped:Stroll", "tasks": 4, "workers": 2})
    del values["family_arg"]
    processes, inline = values | {"executor": "processes"}, values | {"executor": "inline"}
    train(TrainConfig(**processes | {"iterations": 1}), tmp_path / "parts")
    parts = resume(tmp_path / "parts", 2, trust=True)
    assert parts.config.executor == "processes"
    assert alike(parts, train(TrainConfig(**inline), tmp_path / "inline"))


def test_the_best_checkpoint_is_that_of_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the end of the first part, which in one go is none, was better than all before and after."""

    def validated(*values: float) -> None:
        curves = [{f"validation/return/step_{k}": k * value for k in (0, 1)} for value in values]
        monkeypatch.setattr(training, "validate", lambda *_: curves.pop(0))

    values = EPISODES | {"checkpoint_every": 2, "keep_checkpoints": 1}
    validated(5.0, 1.0, 1.0, 1.0)  # after 2, 4, 6 and 7
    whole = train(TrainConfig(**values | {"iterations": 7}), tmp_path / "whole")
    validated(5.0, 9.0)  # after 2 and 3
    train(TrainConfig(**values | {"iterations": 3}), tmp_path / "parts")
    assert load(tmp_path / "parts").iteration == 3
    validated(1.0, 1.0, 1.0)
    parts = resume(tmp_path / "parts", 7)
    assert alike(parts, whole)
    assert [load(run.path).iteration for run in (whole, parts)] == [2, 2]
    assert [store.available(run.checkpoints) for run in (whole, parts)] == [[2, 7], [2, 7]]
