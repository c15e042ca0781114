"""A network adapted to labelled examples: by plain descent on them, and what it then says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional as F

from metarl.core.errors import RequestError
from metarl.core.params import Params, tree_map
from metarl.core.rules import lstm
from metarl.run.use.policy import Predictor
from metarl.run.use.runs import Run, load, train
from tiny_runs import IMAGES, pupil, same, starting_meta, taught, tiny

X = np.linspace(-4, 4, 7, dtype=np.float32)[:, None]
Y = 3 * np.sin(X)
POINTS = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, -1.0], [0.3, 0.9]], np.float32)
LABELS = np.array([0, 1, 2, 0])


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(taught(iterations=1), tmp_path_factory.mktemp("predicts") / "run")


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = taught(iterations=1, family="tiny_families:Blobs", inner_lr=0.5)
    return train(config, tmp_path_factory.mktemp("predicts") / "run")


def network(params: Params, x: Any) -> torch.Tensor:
    """The tanh network, written out."""
    hidden = (torch.as_tensor(x) @ params["0.weight"].T + params["0.bias"]).tanh()
    return hidden @ params["2.weight"].T + params["2.bias"]


def stepped(params: Params, x: Any, y: Any, lr: float) -> Params:
    theta = {name: p.clone().requires_grad_() for name, p in params.items()}
    target = torch.as_tensor(y)
    loss = (F.mse_loss if target.is_floating_point() else F.cross_entropy)(network(theta, x), target)
    grads = torch.autograd.grad(loss, list(theta.values()))
    return {name: p - lr * g for (name, p), g in zip(params.items(), grads, strict=True)}


def close(a: Params, b: Params) -> None:
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], rtol=1e-4, atol=1e-6)


# Adapting ----------------------------------------------------------------------------------------


def test_shots_change_the_network_by_gradient_steps(waves: Run, blobs: Run) -> None:
    for run, x, y, lr in ((waves, X, Y, 0.05), (blobs, POINTS, LABELS, 0.5)):
        params = run.meta.model
        for steps in (1, 2, 3):  # of the step size of training, each
            params = stepped(params, x, y, lr)
            close(run.adapt(shots=(x, y), steps=steps).params, params)


def test_step_sizes_are_given_one_by_one(waves: Run) -> None:
    params = waves.meta.model
    for lr in (0.2, 0.1, 0.1):
        params = stepped(params, X, Y, lr)
    close(waves.adapt(shots=(X, Y), steps=3, inner_lr=[0.2, 0.1]).params, params)


def test_lists_and_other_precisions_are_understood_and_the_run_stays_as_it_was(
    waves: Run, blobs: Run
) -> None:
    before = tree_map(torch.clone, waves.meta)
    first = waves.adapt(shots=(X, Y), steps=2).params
    for x, y in ((X.tolist(), Y.tolist()), (X.astype(np.float64), torch.from_numpy(Y))):
        assert same(waves.adapt(shots=(x, y), steps=2).params, first)
    assert same(waves.meta, before)
    labelled = blobs.adapt(shots=(POINTS, LABELS)).params
    assert same(blobs.adapt(shots=(POINTS.tolist(), LABELS.tolist())).params, labelled)
    assert same(blobs.adapt(shots=(POINTS, LABELS.astype(np.int32))).params, labelled)


def test_without_steps_it_is_the_initialisation(waves: Run) -> None:
    assert same(waves.adapt(shots=(X, Y), steps=0).params, waves.meta.model)


def test_mini_batches_are_read_as_in_training(tmp_path: Path) -> None:
    run = train(taught(iterations=1, inner_batch=4), tmp_path / "run")
    params = run.meta.model
    for rows in ([0, 1, 2, 3], [4, 5, 6, 0]):
        params = stepped(params, X[rows], Y[rows], 0.05)
    close(run.adapt(shots=(X, Y), steps=2).params, params)


def test_a_learned_rule_adapts_by_what_it_has_learned(tmp_path: Path) -> None:
    run = train(taught(iterations=1, algorithm="lstm", inner_lr=None, inner_steps=2), tmp_path / "run")
    theta = {name: p.clone().requires_grad_() for name, p in run.meta.model.items()}
    loss = F.mse_loss(network(theta, X), torch.as_tensor(Y))
    grads = dict(zip(theta, torch.autograd.grad(loss, list(theta.values())), strict=True))
    rule = lstm()
    carry = rule.begin(run.meta.rule, run.meta.model)
    expected, _ = rule.step(run.meta.rule, carry, run.meta.model, grads, loss.detach())
    close(run.adapt(shots=(X, Y)).params, expected)
    with pytest.raises(RequestError, match="inner_lr has no meaning for rule 'lstm'"):
        run.adapt(shots=(X, Y), inner_lr=0.1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"shots": (X, Y), "task": {"phase": 1.0}}, "an environment or shots, and only one of them"),
        ({"shots": (X, Y), "steps": -1}, "adapt needs steps >= 0 and episodes >= 1, got -1"),
        ({"shots": (X, Y), "inner_lr": 0.0}, "inner_lr must be finite numbers above 0"),
        ({"shots": (X[:, 0], Y)}, "shots_x has shape (1, 7); allowed: "),
        ({"shots": (X, Y[:5])}, "shots_x has shape (1, 7, 1); allowed: (1, 5, 1)"),
        ({"shots": (X[:0], Y[:0])}, "no axis of length 0"),
        ({"shots": (np.full_like(X, np.nan), Y)}, "shots_x has numbers that are not finite"),
        ({"shots": (X, np.full_like(Y, np.inf))}, "shots_y has numbers that are not finite"),
        ({"shots": (["one"], Y)}, "shots_x must be an array of numbers, got ['one']"),
        ({"shots": (X, [[1.0], [2.0, 3.0]])}, "shots_y must be an array of numbers, got [[1.0], [2.0, 3.0]]"),
        ({"shots": (X,)}, "shots are a pair"),
        ({"shots": (X, Y, Y)}, "shots are a pair"),
        ({"shots": (X, None)}, "shots_y must be an array of numbers, got None"),
        ({"task": {"phase": 1.0, "amplitude": 2.0}}, "gives labelled examples, not episodes"),
        ({}, "adapt needs "),
    ],
)
def test_what_cannot_be_adapted_to_is_refused_in_one_line(waves: Run, options: Any, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        waves.adapt(**options)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (np.array([0, 1, 2, 3]), "torch.int64 from 0 to 3; allowed: int64 from 0 to 2"),
        (np.array([0, 1, 2, -1]), "from -1 to 2; allowed: int64 from 0 to 2"),
        (np.array([0.5, 1, 2, 0]), "torch.float32 from 0.0 to 2.0; allowed: int64"),
        (np.eye(4, dtype=int), r"shape \(1, 4, 4\); allowed: \(1, 4\)"),
    ],
)
def test_labels_out_of_range_are_refused(blobs: Run, labels: Any, named: str) -> None:
    with pytest.raises(RequestError, match=f"shots_y has .*{named}"):
        blobs.adapt(shots=(POINTS, labels))


def test_a_policy_learns_from_no_shots_and_a_regressor_has_no_policy(waves: Run, tmp_path: Path) -> None:
    episodic = train(tiny(iterations=0), tmp_path / "run")
    with pytest.raises(RequestError, match="family 'point-goal' gives episodes, not labelled examples"):
        episodic.adapt(shots=(X, Y))
    with pytest.raises(RequestError, match="family 'sinusoid' gives labelled examples, not episodes"):
        waves.policy  # noqa: B018


# Predicting --------------------------------------------------------------------------------------


def test_it_says_a_value_for_one_example_and_for_each_of_many(waves: Run) -> None:
    adapted = waves.adapt(shots=(X, Y), steps=2)
    expected = network(adapted.params, X).numpy()
    many = adapted.predict(X)
    assert many.shape == (7, 1)
    np.testing.assert_allclose(many, expected, rtol=1e-5, atol=1e-6)
    one = adapted.predict([0.0])
    assert one.shape == (1,)
    np.testing.assert_allclose(one, network(adapted.params, [[0.0]])[0], rtol=1e-5, atol=1e-6)
    assert adapted.predict(X[:0]).shape == (0, 1)


def test_it_says_a_label_where_there_are_classes(blobs: Run) -> None:
    adapted = blobs.adapt(shots=(POINTS, LABELS), steps=20)
    said = adapted.predict(POINTS)
    assert said.dtype == np.int64
    np.testing.assert_array_equal(said, LABELS)
    assert adapted.predict(POINTS[1]) == 1
    assert blobs.agent.family.action_space.contains(adapted.predict(POINTS[1]))


@pytest.mark.parametrize("x", [0.0, [0.0, 1.0], np.zeros((2, 2)), np.zeros((2, 1, 1))])
def test_examples_of_another_shape_are_refused(waves: Run, x: Any) -> None:
    with pytest.raises(RequestError, match=r"x has shape .*; allowed: \(1,\)") as caught:
        waves.adapt(shots=(X, Y)).predict(x)
    assert "\n" not in str(caught.value)


def test_it_is_saved_as_weights_to_begin_with(waves: Run, tmp_path: Path) -> None:
    adapted = waves.adapt(shots=(X, Y))
    assert isinstance(adapted, Predictor)
    path = adapted.save(tmp_path / "weights.safetensors")
    found = safetensors.torch.load_file(path)
    assert found.keys() == adapted.params.keys()
    assert all(torch.equal(found[name], p) for name, p in adapted.params.items())
    assert same(starting_meta(pupil(init_from=str(path), seed=8)).model, adapted.params)
    assert same(load(waves.path, "last").adapt(shots=(X, Y)).params, adapted.params)


def test_images_are_told_apart(tmp_path: Path) -> None:
    run = train(taught(**IMAGES, iterations=0), tmp_path / "run")
    family: Any = run.agent.family
    drawn = family.sample_shots(family.sample_tasks(1, np.random.default_rng(0)), np.random.default_rng(1))
    x, y = drawn["support_x"][0], drawn["support_y"][0]
    adapted = run.adapt(shots=(x, y), steps=20, inner_lr=0.5)
    assert (adapted.predict(x) == y).mean() == 1
    assert (run.adapt(shots=(x, y), steps=0).predict(x) == y).mean() < 1
