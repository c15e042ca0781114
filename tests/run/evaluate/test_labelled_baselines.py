"""Baselines of runs on labelled examples: joint training with no rule to learn, or of all classes at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarl.core.errors import RequestError
from metarl.run.config.algorithms import ALGORITHMS
from metarl.run.config.train_config import as_dict
from metarl.run.evaluate import protocol
from metarl.run.evaluate.evaluate import evaluate_run
from metarl.run.evaluate.trained_baselines import (
    TRAINED,
    baseline_config,
    baseline_of,
    is_few_shot,
    train_baseline,
)
from metarl.run.train.callbacks import Callback
from metarl.run.use.runs import Run, load, train
from metarl_envs.few_shot.sinusoid import Sinusoid
from tiny_runs import IMAGES, rows, same, taught, tiny

BLOBS: dict[str, Any] = {"family": "tiny_families:Blobs", "inner_lr": 0.5}
FEW: dict[str, Any] = {"tasks": 3, "steps": 1}


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = taught(**BLOBS, inner_steps=2, iterations=3, meta_lr=0.05)
    return train(config, tmp_path_factory.mktemp("few") / "run")


def changes(kind: str, **values: Any) -> dict[str, Any]:
    """What a baseline's configuration changes."""
    before = taught(**values)
    after = as_dict(baseline_config(kind, before))
    return {name: value for name, value in after.items() if value != getattr(before, name)}


# One network for all tasks ------------------------------------------------------------------------

OWN = Sinusoid.defaults["inner_lr"]
JOINT = {"inner_steps": 0, "iterations": 10, "checkpoint_every": 4}
# Of the rule and the learner that there is nothing for: what plain MAML would have.
OF_MAML: dict[str, dict[str, Any]] = {
    "maml": {},
    "fomaml": {},
    "anil": {},
    "reptile": {"algorithm": "maml", "learner": "maml", "meta_optimizer": "adam", "meta_lr": 1e-3},
    "lstm": {"algorithm": "maml", "rule": "sgd", "inner_lr": OWN, "order": 2},
    "meta-sgd": {"algorithm": "maml", "rule": "sgd", "inner_lr": OWN},
}


@pytest.mark.parametrize("algorithm", [a for a in ALGORITHMS if a not in ("promp", "e-maml")])
def test_joint_training_has_no_rule_to_learn_and_nowhere_to_move(algorithm: str) -> None:
    values: dict[str, Any] = {
        "algorithm": algorithm,
        "iterations": 5,
        "checkpoint_every": 2,
        "inner_steps": 3,
    }
    values |= {"inner_lr": None if algorithm == "lstm" else 0.05}
    if algorithm == "reptile":
        values |= {"meta_optimizer": None, "meta_lr": 0.1}
    assert changes("pretrained", **values) == JOINT | OF_MAML[algorithm]
    assert changes("oracle", **values) == JOINT | OF_MAML[algorithm] | {"observe_task": True}
    assert changes("random", **values) == OF_MAML[algorithm] | {"iterations": 0}


@pytest.mark.parametrize("algorithm", ["reptile", "lstm"])
def test_it_can_be_trained_whatever_the_algorithm(algorithm: str, tmp_path: Path) -> None:
    unset: dict[str, Any] = dict.fromkeys(("inner_lr", "meta_optimizer", "meta_lr"))
    run = train(taught(algorithm=algorithm, inner_steps=2, iterations=1, **unset), tmp_path / "run")
    for kind in TRAINED:
        found = baseline_of(kind, run)
        assert not found.agent.rule.learns
        assert (found.config.learner, found.config.rule) == ("maml", "sgd")
    assert same(baseline_of("random", run).meta.model, run.agent.initial_meta().model)
    assert len(rows(run.path / "baselines" / "pretrained")) == 2


@pytest.mark.parametrize("kind", ["pretrained", "oracle"])
def test_each_of_its_iterations_is_a_step_on_the_query_set(kind: str, tmp_path: Path) -> None:
    """With zero inner steps MAML is plain training on all tasks at once."""
    queries = []

    class Seen(Callback):
        def on_rollout_end(self, iteration: int, experience: Any) -> None:
            queries.append(experience.data.query)

    config = baseline_config(kind, taught(iterations=1, meta_optimizer="sgd", meta_lr=0.1))
    run = train(config, tmp_path / kind, [Seen()])
    theta, found = run.agent.initial_meta().model, rows(run.path)
    for query, row in zip(queries, found, strict=True):
        theta = {name: p.requires_grad_() for name, p in theta.items()}
        hidden = (query.x @ theta["0.weight"].T + theta["0.bias"]).tanh()
        loss = (hidden @ theta["2.weight"].T + theta["2.bias"] - query.y).square().mean()
        grads = torch.autograd.grad(loss, list(theta.values()))
        theta = {name: (p - 0.1 * g).detach() for (name, p), g in zip(theta.items(), grads, strict=True)}
        assert row["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
        assert row["mse/step_0"] == pytest.approx(row["loss"], rel=1e-5)
    for name, value in run.meta.model.items():
        torch.testing.assert_close(value, theta[name], rtol=1e-4, atol=1e-6)
    assert [row["examples"] for row in found] == [40, 80]


def test_the_baseline_that_learns_nothing_is_no_run(tmp_path: Path) -> None:
    for make in (tiny, taught):
        with pytest.raises(RequestError, match="'nearest'; allowed: random, pretrained, oracle"):
            train_baseline("nearest", make(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# Few shots ---------------------------------------------------------------------------------------


def test_few_shots_are_those_whose_labels_are_the_task_s_own() -> None:
    assert is_few_shot(taught(**BLOBS))
    assert is_few_shot(taught(**IMAGES))
    assert not is_few_shot(taught())
    assert not is_few_shot(tiny(family="tiny_families:Corridor"))


def test_pretrained_tells_all_training_classes_apart(blobs: Run) -> None:
    joint = {"inner_steps": 0, "tasks": 1, "family_arg": {"ways": "all", "shots": 1, "queries": 1}}
    assert changes("pretrained", **BLOBS, inner_steps=3, family_arg={"shots": 7}) == joint
    baseline_of("pretrained", blobs)
    trained = load(blobs.path / "baselines" / "pretrained", "last", trust=True)
    assert trained.agent.family.action_space.n == 6
    assert trained.meta.model["2.weight"].shape == (6, 8)
    assert [row["examples"] for row in rows(trained.path)] == [6, 12, 18]


def test_its_last_layer_is_drawn_anew_and_its_body_kept(blobs: Run) -> None:
    found = baseline_of("pretrained", blobs)
    trained = load(blobs.path / "baselines" / "pretrained", "last", trust=True).meta.model
    fresh = blobs.agent.initial_meta().model
    for name, value in found.meta.model.items():
        assert torch.equal(value, (fresh if name.startswith("2.") else trained)[name]), name
        assert not torch.equal(value, blobs.meta.model[name])
    assert found.agent.family.action_space.n == 3
    assert found.standing.samples == 18
    assert not torch.equal(trained["0.weight"], fresh["0.weight"])


def test_an_oracle_knows_the_classes_so_that_labels_mean_something_to_it(blobs: Run) -> None:
    found = baseline_of("oracle", blobs)
    assert found.agent.family.observation_space.shape == (2 + 3 * 2,)
    assert found.agent.family.action_space.n == 3
    assert len(rows(blobs.path / "baselines" / "oracle")) == 6
    assert "accuracy/step_0" in rows(found.path)[0]


def test_all_of_them_are_evaluated_on_the_same_examples(blobs: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "GRID", (0.1, 1.0))
    found = blobs.evaluate(baselines=["random", "pretrained", "oracle", "nearest"], **FEW)
    assert list(found.agents) == ["meta", "random", "pretrained", "oracle", "nearest"]
    assert all(np.shape(agent["per_task"]) == (3, 2) for agent in found.agents.values())
    again = blobs.evaluate(baselines=["pretrained"], family_arg={"shots": 2}, **FEW)
    assert again.protocol["shots"] == 6
    assert evaluate_run(blobs.path / "baselines" / "pretrained", checkpoint="last", trust=True, **FEW).mean


def test_of_images_there_is_no_oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "GRID", (0.4,))
    run = train(taught(**IMAGES, iterations=1, validation_tasks=2), tmp_path / "run")
    with pytest.raises(RequestError, match=r"an oracle needs a one-dimensional Box of floats[^\n]*$"):
        run.evaluate(baselines=["oracle"], **FEW)
    found = run.evaluate(baselines=["pretrained", "nearest"], **FEW)
    assert np.shape(found.agents["pretrained"]["per_task"]) == (3, 2)
