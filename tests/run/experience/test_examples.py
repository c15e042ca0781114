"""Labelled examples: what is drawn where, and what an experience of it holds."""

from typing import Any

import numpy as np
import pytest
import torch

from metarl.core.batch import Shots
from metarl.core.params import Params, concat, expand, leaves
from metarl.rollout import seeding
from metarl.rollout.seeding import Address
from metarl.rollout.shots import mini_batch
from metarl.run.agent.agent import Agent
from metarl.run.experience.examples import ExampleSource
from metarl.run.experience.gather import USES, Experience, Source, gather, training_examples
from tiny_runs import ADDRESS, examples_of, meta_of, pupil, same, tasks_of

BLOBS = {"family": "tiny_families:Blobs", "inner_lr": 0.5}


def drawn(built: Agent, address: Address = ADDRESS, tasks: Any = None) -> tuple[Shots, Shots]:
    """All of the support set, and the query set."""
    found = examples_of(built, tasks, address)
    return found.support({}, 0), found.query({}, 0).batch


def experienced(built: Agent, rates: list[float]) -> Experience:
    return gather(built, meta_of(built), examples_of(built), built.adaptations(rates, len(rates)))


# Draws -------------------------------------------------------------------------------------------


def test_examples_are_a_function_of_their_address() -> None:
    built = pupil()
    first = drawn(built)
    assert same(first, drawn(built))
    for change in ({"seed": 6}, {"use": USES["validation"]}, {"iteration": 3}, {"first_task": 40}):
        other = drawn(built, ADDRESS._replace(**change))
        for ours, theirs in zip(first, other, strict=True):
            assert not (ours.x == theirs.x).any(), change


def test_training_draws_a_meta_batch_from_one_generator() -> None:
    built = pupil()
    tasks, address = tasks_of(built), Address(5, USES["train"], 7)
    expected = built.supervised.sample_shots(tasks, seeding.generator(5, "shots", USES["train"], 7, 0))
    support, query = drawn(built, address, tasks)
    np.testing.assert_array_equal(support.x, expected["support_x"])
    np.testing.assert_array_equal(query.y, expected["query_y"])


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("options", [{}, BLOBS], ids=["sinusoid", "blobs"])
def test_elsewhere_a_task_s_examples_do_not_depend_on_the_others(options: Any, use: str) -> None:
    built = pupil(**options)
    tasks, address = tasks_of(built, 5), Address(5, USES[use])
    whole = drawn(built, address, tasks)
    rows = [{key: x[first : first + 2] for key, x in tasks.items()} for first in (0, 2, 4)]
    parts = [drawn(built, address._replace(first_task=2 * k), part) for k, part in enumerate(rows)]
    assert same(whole, concat(parts))
    alike = drawn(built, address, {key: np.repeat(x[:1], 2, 0) for key, x in tasks.items()})
    assert not (alike[0].x[0] == alike[0].x[1]).any()  # nor are two of one task the same


@pytest.mark.parametrize("change", [{"seed": 8}, {"hidden": (5, 5)}, {"algorithm": "lstm"}, {"chunk": 3}])
def test_every_agent_sees_the_same_examples(change: dict[str, Any]) -> None:
    changes = {"inner_lr": None, **change} if "algorithm" in change else change
    assert same(drawn(pupil()), drawn(pupil(**changes)))


def test_an_oracle_sees_the_same_examples_and_the_task() -> None:
    for plain, seen in zip(drawn(pupil()), drawn(pupil(observe_task=True)), strict=True):
        assert torch.equal(seen.x[..., :1], plain.x)
        assert torch.equal(seen.y, plain.y)
        assert seen.x.shape[-1] == 3


def test_a_smaller_support_set_is_one_of_its_own_size() -> None:
    support, query = drawn(pupil(family_arg={"shots": 3, "queries": 7}))
    assert (support.x.shape, query.x.shape) == ((4, 3, 1), (4, 7, 1))


# As a source -------------------------------------------------------------------------------------


def test_every_step_reads_all_of_the_support_and_whatever_the_parameters_one_query() -> None:
    built = pupil()
    found = examples_of(built)
    whole = found.support({}, 0)
    assert whole.x.shape == (4, 10, 1)
    for step in (1, 5):
        assert same(found.support(meta_of(built).model, step), whole)
        query = found.query(meta_of(built).model, step)
        assert same(query.batch, found.query({}, 0).batch)
        assert (query.metrics, query.credit) == ({}, ())
    assert not same(whole, found.query({}, 0).batch)


def test_mini_batches_are_those_of_one_support_set() -> None:
    whole, mini = examples_of(pupil()), examples_of(pupil(inner_batch=4))
    for step in range(6):
        found = mini.support({}, step)
        assert found.x.shape == (4, 4, 1)
        assert same(found, mini_batch(whole.support({}, 0), 4, step))
    assert same(mini.query({}, 0)[0], whole.query({}, 0)[0])


def test_examples_are_counted_once_however_often_they_are_read() -> None:
    for options in ({}, {"inner_batch": 4}):
        built = pupil(family_arg={"shots": 10, "queries": 5}, **options)
        assert experienced(built, [0.1] * 3).samples == 4 * (10 + 5)
        assert training_examples(built, meta_of(built), examples_of(built), 3).samples == 4 * 15
    blobs = pupil(**BLOBS)
    assert experienced(blobs, [0.1]).samples == 4 * 3 * (4 + 5)
    assert experienced(blobs, []).samples == 4 * 3 * 5  # without a step nobody reads the support


# Experience --------------------------------------------------------------------------------------


def outputs(params: Params, x: torch.Tensor) -> torch.Tensor:
    """The tanh network of one task, written out."""
    hidden = (x @ params["0.weight"].T + params["0.bias"]).tanh()
    return hidden @ params["2.weight"].T + params["2.bias"]


def stepped(params: Params, shots: Shots, lr: float) -> Params:
    """One step of plain descent on the mean squared error or, for labels, on the cross-entropy."""
    theta = {name: p.clone().requires_grad_() for name, p in params.items()}
    out = outputs(theta, shots.x)
    if shots.y.is_floating_point():
        loss = ((out - shots.y) ** 2).mean()
    else:
        loss = -out.log_softmax(-1)[torch.arange(len(out)), shots.y].mean()
    grads = torch.autograd.grad(loss, list(theta.values()))
    return {name: p - lr * g for (name, p), g in zip(params.items(), grads, strict=True)}


def row(shots: Shots, task: int) -> Shots:
    return Shots(shots.x[task], shots.y[task])


@pytest.mark.parametrize("options", [{}, BLOBS], ids=["mse", "accuracy"])
def test_it_holds_the_metric_on_the_query_before_each_step_and_after_the_last(options: Any) -> None:
    built, rates = pupil(**options), [0.05, 0.5]
    found = experienced(built, rates)
    assert found.values.shape == (3, 4)
    for task in range(4):
        params, query = meta_of(built).model, row(found.data.query, task)
        for k in range(3):
            for name, value in params.items():
                torch.testing.assert_close(found.path[k][name][task], value, rtol=1e-4, atol=1e-6)
            out = outputs(params, query.x)
            right = (out.argmax(-1) == query.y).float() if options else (out - query.y) ** 2
            assert float(found.values[k, task]) == pytest.approx(float(right.mean()), rel=1e-4, abs=1e-6)
            if k < 2:
                params = stepped(params, row(found.data.support[k], task), rates[k])


def test_adaptation_follows_the_mini_batches() -> None:
    built = pupil(inner_batch=4)
    found, whole = experienced(built, [0.05] * 3), drawn(pupil())[0]
    for task in range(4):
        params, own = meta_of(built).model, row(whole, task)
        for rows in ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]):
            params = stepped(params, Shots(own.x[rows], own.y[rows]), 0.05)
        for name, value in params.items():
            torch.testing.assert_close(found.params[name][task], value, rtol=1e-4, atol=1e-6)


def test_training_draws_without_adapting() -> None:
    """The meta-learner adapts, once; its data are what evaluation would have used."""
    built = pupil(inner_batch=4)
    experience = training_examples(built, meta_of(built), examples_of(built), 2)
    gathered = experienced(built, [0.1, 0.1])
    assert (experience.curves, experience.path, experience.metrics) == ({}, (), {})
    assert same(experience.data, gathered.data)
    assert experience.samples == gathered.samples
    point = built.learner(experience.data).at(meta_of(built))
    expected = pupil(inner_batch=4, inner_lr=0.1, inner_steps=2).learner(experience.data).at(meta_of(built))
    reported = [expected.metrics[f"mse/step_{k}"] for k in range(3)]
    assert reported == pytest.approx(gathered.values.mean(1).tolist(), rel=1e-5)
    assert float(expected.loss) == pytest.approx(reported[-1], rel=1e-5)
    assert point.metrics["mse/step_0"] == pytest.approx(reported[0], rel=1e-5)
    assert point.metrics["mse/step_2"] != pytest.approx(reported[2], rel=1e-5)  # its step size is another


@pytest.mark.parametrize("options", [{}, BLOBS], ids=["mse", "accuracy"])
def test_chunks_and_threads_leave_every_bit_alone(options: Any) -> None:
    ways = ({"chunk": 4}, {"chunk": 2}, {"chunk": 2, "threads": 2})
    found = [experienced(pupil(**options, **way), [0.1, 0.1]) for way in ways]
    for other in found[1:]:
        assert same(found[0].path, other.path)
        assert same([found[0].values], [other.values])


def test_without_steps_the_initialisation_is_evaluated() -> None:
    built = pupil()
    found = experienced(built, [])
    assert found.data.support == ()
    assert same(found.path, [expand(meta_of(built).model, 4)])
    assert found.values.shape == (1, 4)


def test_examples_are_a_source() -> None:
    built = pupil()
    assert isinstance(examples_of(built), ExampleSource)
    assert isinstance(examples_of(built), Source)
    assert examples_of(built).tasks == 4
    assert all(x.device == built.device for x in leaves(drawn(built)))
