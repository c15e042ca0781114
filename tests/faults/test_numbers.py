"""Numbers that are not finite, and environments that answer something else than they promised.

What a policy, a loss or a step is guilty of costs an iteration (``test_training_events.py``).
What an environment is guilty of ends the run, which says where, and goes on once that is put right.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from faulty_families import Faulty
from metarl.cli import main
from metarl.core.errors import RunFailed
from metarl.core.params import all_finite
from metarl.rollout.registry import families
from metarl.run.config.train_config import to_yaml
from metarl.run.store import checkpoint as store
from metarl.run.train.callbacks import Callback
from metarl.run.use.runs import Run, resume, train
from tiny_runs import alike, rows, taught, tiny

Capture = pytest.CaptureFixture[str]
FAULTY: dict[str, Any] = {"family": "faulty_families:Faulty", "family_arg": {"horizon": 6}, "iterations": 4}
FAULTY |= {"checkpoint_every": 4, "executor": "inline"}
WHERE = "family 'faulty' (random): task 1 "
TOLD = {
    "observation": ", episode 1, step 2: the observation is [",
    "reward": ", episode 1, step 2: the reward is inf, not finite",
    "shape": "the observations are float32 (12, 1), its space has float32 (12, 2)",
    "kind": "the observations are complex128 (12, 2), its space has float32 (12, 2)",
    "flag": "terminated is float64 (12,), allowed: bool (12,)",
    "error": ", episode 1, step 2: Fell: the robot fell",
}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny(**FAULTY), tmp_path_factory.mktemp("numbers") / "straight")


@pytest.mark.parametrize("what", TOLD)
@pytest.mark.parametrize("collection", [5, 6])  # of iteration 3: before its inner step, and after
def test_an_environment_that_fails_ends_the_run_at_its_last_good_state(
    what: str, collection: int, straight: Run, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("faulty.yaml").write_text(to_yaml(tiny(**FAULTY)))
    with monkeypatch.context() as patch:
        patch.setattr(Faulty, "what", what)
        patch.setattr(Faulty, "at", collection)
        assert main(["train", "--config", "faulty.yaml", "--out", "run"]) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("metarl: iteration 3 failed: family 'faulty' (random): ") and TOLD[what] in last
    assert (WHERE in last) == (", episode 1" in TOLD[what])
    assert last.endswith("go on with: metarl resume run --trust")
    saved = store.load(store.find(Path("run/checkpoints")))
    assert saved.iteration == 2 and all_finite(saved.tensors)
    assert [row["iteration"] for row in rows(Path("run"))] == [1, 2]
    assert main(["resume", "run", "--trust"]) == 0  # the environment has been put right
    assert alike(Run.resume("run", trust=True), straight)


@pytest.mark.parametrize(("always", "steps"), [("goes on", 6), ("ends", 1)])
def test_endless_episodes_are_cut_at_the_horizon_and_the_shortest_are_learned_from(
    always: str, steps: int, tmp_path: Path
) -> None:
    run = train(tiny(**FAULTY | {"family_arg": {"horizon": 6, "always": always}}), tmp_path / "run")
    assert [row["env_steps"] for row in rows(run.path)] == [i * 2 * 12 * steps for i in (1, 2, 3, 4)]
    assert all(row["skipped"] == 0 for row in rows(run.path))
    assert all_finite(run.meta)


def test_examples_that_are_not_finite_end_the_run_and_are_not_blamed_on_the_learner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sinusoid: Any = families["sinusoid"]
    draw = sinusoid.sample_shots

    def spoilt(self: Any, *args: Any) -> Any:
        drawn = draw(self, *args)
        drawn["query_y"][2, 4] = np.nan
        return drawn

    class Spoil(Callback):
        def on_rollout_start(self, iteration: int) -> None:
            if iteration == 3:
                monkeypatch.setattr(sinusoid, "sample_shots", spoilt)

    told = "'sinusoid': query_y has numbers that are not finite float32, first those of task 2"
    with pytest.raises(RunFailed, match=f"iteration 3 failed: family {told}"):
        train(taught(iterations=4, checkpoint_every=4), tmp_path / "run", [Spoil()])
    monkeypatch.undo()
    assert store.available(tmp_path / "run" / "checkpoints") == [2]
    straight = train(taught(iterations=4, checkpoint_every=4), tmp_path / "straight")
    assert alike(resume(tmp_path / "run"), straight)


def poisoned(observation_space: Any, action_space: Any) -> torch.nn.Module:
    network = torch.nn.Linear(observation_space.shape[0], 2)
    torch.nn.init.constant_(network.bias, torch.nan)

    class Policy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network

        def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
            mean = self.net(obs)
            return mean, torch.zeros_like(mean)

    return Policy()


def test_weights_that_are_not_finite_are_no_start(tmp_path: Path, capsys: Capture) -> None:
    params = dict(train(tiny(iterations=0), tmp_path / "good").meta.model)
    params["net.0.weight"][0, 0] = torch.inf
    Path("bad.safetensors").write_bytes(safetensors.torch.save(params))
    Path("tiny.yaml").write_text(to_yaml(tiny()))
    capsys.readouterr()
    for options, origin, name in [
        ("--init-from bad.safetensors", "init-from file bad.safetensors", "net.0.weight"),
        (f"--model {__name__}:poisoned", f"model '{__name__}:poisoned'", "net.bias"),
    ]:
        assert main(["train", "--config", "tiny.yaml", *options.split(), "--out", "run"]) == 2
        assert capsys.readouterr().err == f"metarl: {origin} has values that are not finite in {name}\n"
    assert not Path("run").exists()


@pytest.mark.parametrize("line", ["meta_lr: .nan", "inner_lr: .inf", "gamma: -.inf", "family_arg: {x: .nan}"])
def test_no_number_of_a_file_is_one(line: str, capsys: Capture) -> None:
    Path("bad.yaml").write_text(f"family: point-goal\n{line}\n")
    assert main(["train", "maml", "--config", "bad.yaml", "--out", "run"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.startswith(f"metarl: {line.split(':')[0]} must be ")
    assert not Path("run").exists()
