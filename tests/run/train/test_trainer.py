"""A run directory and what training writes into it."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from metarl.core.errors import RequestError
from metarl.run.config.admission import load_config
from metarl.run.config.train_config import default_path
from metarl.run.log.metrics_file import read_metrics
from metarl.run.store import checkpoint as store
from metarl.run.train.callbacks import Callback
from metarl.run.train.run_state import RunState
from metarl.run.use.runs import Run, load, train
from tiny_runs import rows, same, taught, tiny, validated


class Counting(Callback):
    """Counts environment steps by the episodes themselves."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.lengths: set[int] = set()

    def on_rollout_end(self, iteration: int, experience: Any) -> None:
        lengths = torch.cat([batch.mask.sum(-1).flatten() for batch in experience.batches])
        self.steps.append(int(lengths.sum()))
        self.lengths |= set(lengths.int().tolist())


# metrics.jsonl -----------------------------------------------------------------------------------


def test_each_finished_iteration_is_a_row(tmp_path: Path) -> None:
    counting = Counting()
    options = {"meta_optimizer": "trpo", "inner_steps": 2, "iterations": 4, "checkpoint_every": 3}
    config = tiny(family="tiny_families:Field", **options)
    run = train(config, tmp_path / "run", [counting])
    found = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["iteration"] for row in found] == [1, 2, 3, 4]
    assert len(counting.lengths) > 3  # episodes do end early here
    totals = torch.tensor(counting.steps).cumsum(0).tolist()
    assert [row["env_steps"] for row in found] == totals
    assert run.standing.samples == totals[-1]
    for row in found:
        assert [key for key in row if key.startswith("return/")] == [f"return/step_{k}" for k in range(3)]
        assert {"loss", "kl", "entropy", "grad_norm", "explained_variance", "skipped"} <= row.keys()
        assert row["seconds"] > 0
        validated = [key for key in row if key.startswith("validation/")]
        expected = [f"validation/return/step_{k}" for k in range(3)] if row["iteration"] == 3 else []
        assert validated == expected


def test_returns_of_a_row_are_means_over_the_training_tasks(tmp_path: Path) -> None:
    means = []

    class Means(Callback):
        def on_rollout_end(self, iteration: int, experience: Any) -> None:
            means.append([float((b.reward * b.mask).sum() / 12) for b in experience.batches])

    train(tiny(), tmp_path / "run", [Means()])
    for row, expected in zip(rows(tmp_path / "run"), means, strict=True):
        assert [row["return/step_0"], row["return/step_1"]] == pytest.approx(expected, rel=1e-5)


def test_every_iteration_collects_anew(tmp_path: Path) -> None:
    seen = []

    class Seen(Callback):
        def on_rollout_end(self, iteration: int, experience: Any) -> None:
            seen.append(experience.data.query)

    train(tiny(iterations=3, family="tiny_families:Field"), tmp_path / "run", [Seen()])
    for a, b in itertools.pairwise(seen):
        assert not (a.obs[:, :, 0] == b.obs[:, :, 0]).all(-1).any()
        assert not (a.reward == b.reward).all(-1).any()


def test_seeds_decide_and_nothing_else_does(tmp_path: Path) -> None:
    runs = {name: train(tiny(seed=seed), tmp_path / name) for name, seed in {"a": 3, "b": 3, "c": 4}.items()}
    assert same(runs["a"].meta, runs["b"].meta)
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    assert rows(tmp_path / "a") != rows(tmp_path / "c")


def test_labelled_examples_leave_rows_of_their_own(tmp_path: Path) -> None:
    config = taught(iterations=3, inner_steps=2, family_arg={"shots": 6, "queries": 4})
    run = train(config, tmp_path / "run")
    found = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["examples"] for row in found] == [40, 80, 120]
    assert run.standing.samples == 120
    for row in found:
        assert not {"env_steps", "kl", "entropy", "explained_variance"} & row.keys()
        assert [key for key in row if key.startswith("mse/")] == [f"mse/step_{k}" for k in range(3)]
        assert row["loss"] == pytest.approx(row["mse/step_2"], rel=1e-5)  # the objective is the metric
        validated = [key for key in row if key.startswith("validation/")]
        assert validated == ([f"validation/mse/step_{k}" for k in range(3)] if row["iteration"] == 2 else [])


def test_accuracy_stands_beside_the_loss(tmp_path: Path) -> None:
    train(taught(family="tiny_families:Blobs", inner_lr=0.5), tmp_path / "run")
    for row in rows(tmp_path / "run"):
        shares = [row["accuracy/step_0"], row["accuracy/step_1"]]
        assert [60 * share for share in shares] == pytest.approx([round(60 * share) for share in shares])
        assert row["loss"] > 0
        assert row["examples"] == row["iteration"] * 4 * 3 * 9


def test_every_iteration_draws_examples_anew_and_of_other_tasks(tmp_path: Path) -> None:
    seen = []

    class Seen(Callback):
        def on_rollout_end(self, iteration: int, experience: Any) -> None:
            seen.append(experience.data)

    train(taught(iterations=3), tmp_path / "run", [Seen()])
    for a, b in itertools.pairwise(seen):
        assert not (a.support[0].x == b.support[0].x).any()
        assert not (a.query.y == b.query.y).any()
        assert not (a.support[0].x == a.query.x).any()


# The other files ---------------------------------------------------------------------------------


def test_the_configuration_is_kept_with_all_that_was_chosen(tmp_path: Path) -> None:
    asked = tiny(chunk=None, threads=None, executor=None, device=None, iterations=0)
    run = train(asked, tmp_path / "run")
    kept = load_config(tmp_path / "run" / "config.yaml")
    assert kept == run.config
    assert kept.device in ("cpu", "cuda")
    assert kept.chunk == run.agent.chunking.size
    assert kept.threads == asked.threads
    assert kept.executor == "inline"
    text = (tmp_path / "run" / "config.yaml").read_text()
    assert f"chunk: {run.agent.chunking.size}\n" in text


def test_the_machine_is_on_record(tmp_path: Path) -> None:
    train(tiny(iterations=0, threads=2), tmp_path / "run")
    machine = json.loads((tmp_path / "run" / "machine.json").read_text())
    assert machine["torch"] == torch.__version__
    assert (machine["device"], machine["threads"]) == ("cpu", 2)
    assert all(machine[key] for key in ("processor", "platform", "python", "numpy"))


def test_checkpoints_come_when_due_and_at_the_end_and_old_ones_go(tmp_path: Path) -> None:
    run = train(tiny(iterations=7, checkpoint_every=2, keep_checkpoints=2), tmp_path / "run")
    best = int(store.find(run.checkpoints, "best").name)
    assert set(store.available(run.checkpoints)) == {6, 7, best}
    saved = store.load(store.find(run.checkpoints, "last"))
    assert saved.iteration == 7
    found = rows(tmp_path / "run")
    scores = {row["iteration"]: row["validation/return/step_1"] for row in found if row["iteration"] % 2 == 0}
    scores[7] = validated(run.agent, run.meta)["validation/return/step_1"]  # a candidate for the best, too
    assert saved.extra == {"samples": run.standing.samples, "skipped": 0, "validation": scores[7]}
    assert best == max(scores, key=lambda iteration: scores[iteration])
    assert store.read_manifest(store.find(run.checkpoints, best))["extra"]["validation"] == scores[best]


@pytest.mark.parametrize(
    ("options", "best_of"), [({}, min), ({"family": "tiny_families:Blobs", "inner_lr": 0.5}, max)]
)
def test_the_best_checkpoint_has_the_smallest_error_or_the_largest_accuracy(
    tmp_path: Path, options: dict[str, Any], best_of: Any
) -> None:
    many = {"iterations": 6, "checkpoint_every": 1, "keep_checkpoints": 1, "meta_lr": 0.3}
    run = train(taught(**many, validation_tasks=6, **options), tmp_path / "run")
    key = f"validation/{run.agent.metric}/step_1"
    scores = {row["iteration"]: row[key] for row in rows(run.path)}
    best = best_of(scores, key=lambda iteration: scores[iteration])
    assert scores[best] != scores[6]  # or best and last could be mistaken for one another
    assert load(run.path, trust=True).iteration == int(store.find(run.checkpoints, "best").name) == best
    assert set(store.available(run.checkpoints)) == {best, 6}


def test_validation_is_always_on_the_same_held_out_tasks(tmp_path: Path) -> None:
    run = train(tiny(iterations=1), tmp_path / "run")
    first = validated(run.agent, run.meta)
    assert first == validated(run.agent, run.meta)
    assert list(first) == ["validation/return/step_0", "validation/return/step_1"]
    assert first != {f"validation/{k}": v for k, v in rows(run.path)[0].items() if k.startswith("return")}


# Where a run may start ---------------------------------------------------------------------------


@pytest.mark.parametrize("taken", ["a folder", "a file"])
def test_an_existing_run_directory_is_refused_and_left_alone(tmp_path: Path, taken: str) -> None:
    path = tmp_path / "run"
    if taken == "a folder":
        path.mkdir()
    kept = path / "notes" if taken == "a folder" else path
    kept.write_text("mine")
    with pytest.raises(RequestError, match=f"run directory {path} exists already"):
        train(tiny(), path)
    assert kept.read_text() == "mine"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [kept]


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match=f"run directory {tmp_path / 'file' / 'run'} cannot be made"):
        train(tiny(), tmp_path / "file" / "run")


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert train(tiny(iterations=0), tmp_path / "run").iteration == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"tasks": 0},
        {"family_arg": {"horizon": -1}},
        {"init_from": "absent"},
        {"model": "absent:net"},
        {"objective": "luck"},
        {"logger": ("paper",)},
    ],
)
def test_a_request_that_cannot_be_met_writes_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        train(tiny(**changes), tmp_path / "deep" / "run")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_directory_goes_where_its_name_says(tmp_path: Path) -> None:
    assert default_path(tiny()) == Path("runs/point-goal-finn2017-maml-seed3")
    assert RunState.start(tiny()).path == Path("runs/point-goal-finn2017-maml-seed3")
    assert (tmp_path / "runs/point-goal-finn2017-maml-seed3/config.yaml").is_file()
    named = default_path(tiny(family="tiny_families:Field", algorithm="fomaml"))
    assert named == Path("runs/tiny_families.Field-random-fomaml-seed3")


def test_what_is_no_run_is_refused_by_name(tmp_path: Path) -> None:
    for open_run in (load, Run.resume):
        with pytest.raises(RequestError, match=f"{tmp_path} is not a run directory"):
            open_run(tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_run_of_a_gpu_is_used_but_not_trained_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tiny(), tmp_path / "run")
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("device: cpu", "device: cuda"))
    loaded = load(run.path, "last")
    assert "trained on a GPU" in capsys.readouterr().err
    assert same(loaded.meta, run.meta)
    assert loaded.evaluate(tasks=2, steps=0, episodes=2).mean
    with pytest.raises(RequestError, match="device 'cuda' is not available"):
        Run.resume(run.path)


def test_wandb_mirrors_every_row(tmp_path: Path) -> None:
    import wandb

    run = train(tiny(logger=("wandb",), wandb_mode="offline", iterations=2), tmp_path / "run")
    assert len(rows(run.path)) == 2
    wandb.teardown()  # its own process writes the file, now and then a moment after finish() returned
    (mirrored,) = run.path.glob("wandb/offline-run-*/run-*.wandb")
    content = mirrored.read_bytes()
    for row in rows(run.path):
        assert repr(row["return/step_1"]).encode() in content
    assert b"return/step_1" in content
