"""Evaluation on labelled examples: what it measures, in blocks, beside its baselines, and what it writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.core.errors import RequestError
from metarl.run.evaluate import protocol
from metarl.run.evaluate.evaluate import evaluate_run
from metarl.run.evaluate.protocol import GRID, Protocol
from metarl.run.results.comparable import protocol_hash
from metarl.run.use.runs import Run, train
from tiny_runs import IMAGES, measured, pupil, rows, same, taught, tuned_rates

FEW: dict[str, Any] = {"tasks": 5, "steps": 2}
PROTOCOL = Protocol("test", 5, 2, 20, 1, False)
BLOBS: dict[str, Any] = {"family": "tiny_families:Blobs", "inner_lr": 0.5}


def trained(tmp_path_factory: pytest.TempPathFactory, **options: Any) -> Run:
    config = taught(iterations=4, checkpoint_every=2, chunk=50, **options)
    return train(config, tmp_path_factory.mktemp("labelled") / "run")


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory, **BLOBS)


# The file ----------------------------------------------------------------------------------------


def test_the_file_holds_what_the_contract_says(waves: Run) -> None:
    evaluation = evaluate_run(waves.path, baselines=["random"], **FEW)
    found = json.loads((waves.path / "evaluation.json").read_text())
    assert found == json.loads(json.dumps(evaluation.as_dict()))
    assert list(found) == ["metric", "measure", "protocol", "metrics", "agents", "fits"]
    assert found["metric"] == "mse"
    best = evaluation.protocol["iteration"]
    assert best in (2, 4)
    assert found["protocol"] == {
        "name": "custom",
        "algorithm": "maml",
        "family": "sinusoid",
        "spec": "maml",
        "family_arg": {},
        "split": "test",
        **FEW,
        "seed": 1,
        "shots": 10,
        "queries": 10,
        "checkpoint": "best",
        "iteration": best,
        "tasks_seen_in_training": False,
        "tasks_in_all": None,
        "interval": "95 % bootstrap over tasks",
        "step_sizes": "own",
        "inner_lr_grid": list(GRID),
        "hash": protocol_hash("mse", found["protocol"]),
    }
    assert found["agents"]["random"].pop("description") == "the untrained initialisation"
    for agent in found["agents"].values():
        assert list(agent) == ["mean", "iqm", "ci95", "per_task", "inner_lr", "examples"]
        assert np.shape(agent["per_task"]) == (5, 3)
        np.testing.assert_allclose(np.mean(agent["per_task"], 0), agent["mean"], rtol=1e-12)
        low, high = np.transpose(agent["ci95"])
        assert (low < agent["mean"]).all()
        assert (agent["mean"] < high).all()
    assert found["agents"]["meta"]["examples"] == best * 4 * (10 + 10)
    assert found["agents"]["random"]["examples"] == 0
    meta = found["agents"]["meta"]
    assert found["metrics"] == {f"mse/step_{k}": value for k, value in enumerate(meta["mean"])}
    assert len(found["fits"]["tasks"]) == 5


def test_accuracy_is_a_share(blobs: Run) -> None:
    found = blobs.evaluate(**FEW)
    assert found.metric == "accuracy"
    assert list(found.metrics) == ["accuracy/step_0", "accuracy/step_1", "accuracy/step_2"]
    correct = np.array(found.per_task) * 15  # of so many queries
    np.testing.assert_allclose(correct, correct.round().clip(0, 15), atol=1e-5)
    assert (found.protocol["shots"], found.protocol["queries"]) == (12, 15)  # of each class 4 and 5
    assert (found.fits, found.samples, found.traces) == (None, None, None)


def test_images_come_with_samples_and_say_what_they_were_normalised_by(tmp_path: Path) -> None:
    run = train(taught(**IMAGES, iterations=1, validation_tasks=2), tmp_path / "run")
    found = run.evaluate(tasks=2, steps=1)
    assert found.protocol["statistics"] == "batch"
    assert found.samples is not None
    assert len(found.samples.queries) == 2
    assert "samples" in found.as_dict()


def test_the_table_says_how_many_examples(waves: Run) -> None:
    title, _, line = str(waves.evaluate(**FEW)).splitlines()
    assert title.startswith("mse on 5 test tasks of sinusoid (maml), 10 support and 10 query examples")
    assert line.endswith("   0.05")  # for all steps


# What is measured --------------------------------------------------------------------------------


def test_step_k_is_the_metric_on_the_query_after_k_steps(waves: Run) -> None:
    found = waves.evaluate(**FEW)
    experience = measured(waves.agent, waves.meta, [0.05, 0.05], PROTOCOL)
    query = experience.data.query
    for k, params in enumerate(experience.path):
        errors = (waves.agent.apply_tasks(params, query.x) - query.y).square().mean((1, 2))
        np.testing.assert_allclose(np.array(found.per_task)[:, k], errors, rtol=1e-6)
    assert waves.evaluate(**FEW | {"steps": 1}).mean == found.mean[:2]
    assert len(set(found.mean)) == 3


@pytest.mark.parametrize("options", [{}, BLOBS], ids=["mse", "accuracy"])
@pytest.mark.parametrize("block", [1, 2, 50])
def test_blocks_of_tasks_do_not_matter(
    options: dict[str, Any], block: int, waves: Run, blobs: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = blobs if options else waves
    kinds = ["random", "nearest"] if options else ["random"]
    monkeypatch.setattr(protocol, "GRID", (0.1,))
    found = []
    for size in (5, block):
        monkeypatch.setattr(protocol, "BLOCK", size)
        found.append(run.evaluate(baselines=kinds, inner_lr=0.3, **FEW))
    whole, other = found
    for name, agent in whole.agents.items():
        np.testing.assert_allclose(other.agents[name]["per_task"], agent["per_task"], rtol=1e-4, atol=1e-6)
    assert other.protocol == whole.protocol
    assert len(other.agents["meta"]["per_task"]) == 5


def test_more_tasks_begin_with_the_same_ones(waves: Run) -> None:
    few, many = (waves.evaluate(tasks=n, steps=1).per_task for n in (3, 7))
    np.testing.assert_allclose(many[:3], few, rtol=1e-5)


def test_by_default_many_tasks_and_steps(waves: Run) -> None:
    found = waves.evaluate()
    assert (found.protocol["tasks"], found.protocol["steps"]) == (600, 10)
    assert np.shape(found.per_task) == (600, 11)
    assert len({tuple(task) for task in found.per_task}) == 600
    assert found.agents["meta"]["inner_lr"] == [0.05] * 10


def test_the_same_evaluation_gives_the_same_and_leaves_the_run_alone(waves: Run) -> None:
    before, on_record = waves.meta, rows(waves.path)
    first = waves.evaluate(**FEW)
    assert first == waves.evaluate(**FEW)
    assert same(waves.meta, before)
    assert rows(waves.path) == on_record
    for change in ({"seed": 2}, {"split": "ood"}, {"split": "validation"}):
        assert not np.isin(np.array(waves.evaluate(**FEW | change).per_task), first.per_task).any()
    assert waves.evaluate(split="train", **FEW).protocol["tasks_seen_in_training"] is True


# Other numbers of examples -----------------------------------------------------------------------


def test_fewer_shots_than_in_training(waves: Run) -> None:
    found = waves.evaluate(family_arg={"shots": 5}, **FEW)
    assert found.protocol["family_arg"] == {"shots": 5}
    assert (found.protocol["shots"], found.protocol["queries"]) == (5, 10)
    built = pupil(family_arg={"shots": 5}, chunk=50)
    expected = measured(built, waves.meta, [0.05, 0.05], PROTOCOL).values
    np.testing.assert_allclose(found.per_task, expected.T, rtol=1e-6)
    assert waves.config.family_arg == {}
    assert waves.evaluate(**FEW).protocol["shots"] == 10
    assert len(found.as_dict()["fits"]["tasks"][0]["support"]) == 5


def test_mini_batches_are_no_smaller_support(tmp_path: Path) -> None:
    run = train(taught(iterations=1, inner_batch=4), tmp_path / "run")
    assert run.evaluate(**FEW).protocol["shots"] == 10


@pytest.mark.parametrize(
    ("family_arg", "told"),
    [
        ({"ways": 2}, "family_arg {'ways': 2} makes the action_space Discrete(2), the run's is Discrete(3)"),
        ({"ways": "all"}, "makes the action_space Discrete(6), the run's is Discrete(3)"),
        ({"shoots": 2}, "unexpected keyword argument 'shoots'"),
    ],
)
def test_arguments_that_make_it_another_problem_are_refused(blobs: Run, family_arg: Any, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        blobs.evaluate(family_arg=family_arg, **FEW)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


# Baselines ---------------------------------------------------------------------------------------


def test_baselines_stand_beside_it(
    waves: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "GRID", (0.0, 0.05, 0.2))
    kinds = ["random", "pretrained", "oracle"]
    found = waves.evaluate(baselines=kinds, family_arg={"shots": 5}, **FEW)
    assert list(found.agents) == ["meta", *kinds]
    told = capsys.readouterr().err
    for kind in kinds:
        first, second = found.agents[kind]["inner_lr"]
        assert first == second  # of labelled examples, no later step is halved
        assert first in (0.0, 0.05, 0.2)
        assert f"metarl: {kind}: mean mse on validation tasks by step size 0: " in told
    # As many examples were learned from: the query sets of twice as many iterations.
    assert found.agents["pretrained"]["examples"] == found.agents["oracle"]["examples"] == 8 * 4 * 10
    assert found.agents["meta"]["examples"] == waves.standing.samples == 4 * 4 * 20
    path = waves.path / "baselines" / "pretrained"
    assert len(rows(path)) == 8
    assert all("mse/step_0" in row and "mse/step_1" not in row for row in rows(path))


def test_a_baseline_s_step_size_is_the_one_with_the_smallest_error(
    waves: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = Protocol("validation", 5, 2, 20, 1, False)
    curves = {lr: measured(waves.agent, waves.meta, [lr, lr], validation).values for lr in GRID}
    scores = {lr: float(values[1:].mean()) for lr, values in curves.items()}
    finite = [lr for lr in GRID if np.isfinite(scores[lr])]
    best, worst = (choose(finite, key=lambda lr: scores[lr]) for choose in (min, max))
    assert tuned_rates(waves.agent, waves.meta, [0.05, 0.05], PROTOCOL, "random") == [best, best]
    assert best != worst
    monkeypatch.setattr(protocol, "GRID", (worst, best, 1e9))  # the last of which diverges
    assert tuned_rates(waves.agent, waves.meta, [0.05, 0.05], PROTOCOL, "random") == [best, best]


def test_classes_are_compared_with_nearest_neighbours(blobs: Run) -> None:
    found = blobs.evaluate(baselines=["nearest", "random"], **FEW)
    assert list(found.agents) == ["meta", "nearest", "random"]
    alone = found.agents["nearest"]
    assert list(alone) == ["mean", "iqm", "ci95", "per_task", "inner_lr", "description"]
    assert alone["mean"][0] == alone["mean"][1] == alone["mean"][2] > 1 / 3
    assert alone["inner_lr"] == []
    assert "nearest" in str(found)


def test_what_cannot_be_compared_with_is_refused_before_anything_is_trained(
    waves: Run, blobs: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fresh = trained(tmp_path_factory)
    for kind, named in (
        ("nearest", "needs a family of classification, 'sinusoid'"),
        ("lucky", "allowed: .*nearest"),
    ):
        with pytest.raises(RequestError, match=f"baseline '{kind}'.*{named}"):
            fresh.evaluate(baselines=["pretrained", kind], **FEW)
    assert not (fresh.path / "baselines").exists()


# Rules that learn their steps --------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["lstm", "meta-sgd"])
def test_learned_steps_are_not_chosen(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "GRID", (0.1, 0.2))
    options = {"inner_lr": None} if algorithm == "lstm" else {}
    run = train(taught(algorithm=algorithm, iterations=1, chunk=50, **options), tmp_path / "run")
    found = run.evaluate(baselines=["pretrained"], **FEW)
    assert found.agents["meta"]["inner_lr"] == []
    assert found.agents["pretrained"]["inner_lr"][0] in (0.1, 0.2)  # which descends plainly
    assert np.shape(found.per_task) == (5, 3)
    with pytest.raises(RequestError, match=f"inner_lr has no meaning for rule '{algorithm}'"):
        run.evaluate(inner_lr=0.1, **FEW)
