"""The algorithms by name: each trains in both worlds, goes on where it stopped, and is what it is called."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from metarl.core.errors import RequestError
from metarl.core.objectives import objectives
from metarl.core.params import Params, expand, leaves, ravel
from metarl.core.rules import rules
from metarl.learn.adapt import unroll
from metarl.learn.learners import learners
from metarl.learn.maml import maml
from metarl.learn.optimizers import optimizers
from metarl.learn.problem import Point, TaskData
from metarl.learn.reptile import reptile
from metarl.run.agent.agent import Agent
from metarl.run.config.algorithms import ALGORITHMS
from metarl.run.config.train_config import TrainConfig
from metarl.run.config.train_fields import DEFAULTS
from metarl.run.experience.gather import training_examples
from metarl.run.use.runs import train
from tiny_runs import TAUGHT, TINY, agent, configured, examples_of, gathered, meta_of, pupil, rows, same

FAMILIES = ["sinusoid", "point-goal"]
METRIC = {"sinusoid": "mse", "point-goal": "return"}
SAMPLES = {"sinusoid": "examples", "point-goal": "env_steps"}
LEARNED = ("lstm", "meta-sgd")
OF_EPISODES = ("promp", "e-maml")


def config(algorithm: str, family: str, **changes: Any) -> TrainConfig:
    """A tiny one in which whatever the algorithm says is said by the algorithm."""
    values = {k: v for k, v in (TAUGHT if family == "sinusoid" else TINY).items() if k != "inner_lr"}
    del values["meta_optimizer"], values["meta_lr"]
    return TrainConfig(**values | {"algorithm": algorithm} | changes)


@pytest.mark.parametrize(
    ("algorithm", "family"),
    [(a, f) for a in ALGORITHMS for f in FAMILIES if f != "sinusoid" or a not in OF_EPISODES],
)
def test_each_trains(algorithm: str, family: str, tmp_path: Path) -> None:
    whole = train(config(algorithm, family, tasks=2, validation_tasks=2), tmp_path / "whole")
    start = whole.agent.initial_meta()
    assert not any(map(torch.equal, leaves(whole.meta.model), leaves(start.model)))
    assert bool(start.rule) is (algorithm in LEARNED)
    assert not any(map(torch.equal, leaves(whole.meta.rule), leaves(start.rule)))
    steps = whole.config.inner_steps
    found = rows(whole.path)
    assert [row["iteration"] for row in found] == [1, 2]
    for row in found:
        measured = [name for name in row if name.startswith(METRIC[family])]
        assert sorted(measured) == sorted(f"{METRIC[family]}/step_{k}" for k in range(steps + 1))
        assert all(math.isfinite(row[name]) for name in ("loss", "grad_norm", *measured))
        assert row["skipped"] == 0
    assert 0 < found[0][SAMPLES[family]] < found[1][SAMPLES[family]] == whole.standing.samples
    assert f"validation/{METRIC[family]}/step_{steps}" in found[1]


@pytest.mark.parametrize(
    ("algorithm", "why"), [("promp", "'promp' is of episodes"), ("e-maml", "'e-maml' is of episodes")]
)
def test_those_that_need_episodes_refuse_examples_by_name(algorithm: str, why: str) -> None:
    with pytest.raises(RequestError, match=rf"{why}.*'sinusoid' gives labelled examples; (allowed|use)"):
        configured(algorithm, "sinusoid")


COMPOSITIONS: dict[str, dict[str, Any]] = {
    "maml": {"learner": "maml", "rule": "sgd", "order": 2, "adapts": "all", "inner_steps": 1},
    "fomaml": {"learner": "maml", "rule": "sgd", "order": 1, "adapts": "all", "inner_steps": 1},
    "reptile": {"learner": "reptile", "rule": "sgd", "order": 1, "adapts": "all", "inner_steps": 5},
    "lstm": {"learner": "maml", "rule": "lstm", "order": 1, "adapts": "all", "max_grad_norm": 0.25},
    "meta-sgd": {"learner": "maml", "rule": "meta-sgd", "order": 2, "adapts": "all", "inner_steps": 1},
    "promp": {"learner": "maml", "rule": "sgd", "order": 2, "objective": "lvc", "meta_optimizer": "ppo"},
    "e-maml": {"learner": "e-maml", "rule": "sgd", "order": 2, "objective": "vpg", "meta_optimizer": "trpo"},
    "anil": {"learner": "maml", "rule": "sgd", "order": 2, "adapts": "head", "inner_steps": 1},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_name_stands_for_a_composition(family: str) -> None:
    assert set(COMPOSITIONS) == set(ALGORITHMS)
    for algorithm, parts in COMPOSITIONS.items():
        if family == "sinusoid" and algorithm in OF_EPISODES:
            continue
        found = configured(algorithm, family)
        assert {name: getattr(found, name) for name in parts} == parts
        assert found.learner in learners
        assert found.rule in rules
        assert found.meta_optimizer in optimizers
        assert ALGORITHMS[algorithm].summary


def test_the_lstm_takes_a_trust_region_where_there_is_a_policy() -> None:
    assert configured("lstm", "point-goal").meta_optimizer == "trpo"
    assert configured("lstm", "sinusoid").meta_optimizer == "adam"
    assert configured("lstm", "sinusoid").meta_lr == 1e-3


def test_what_an_algorithm_brings_along_can_be_said_otherwise() -> None:
    for name, value in {"order": 2, "inner_steps": 3, "max_grad_norm": 0.5, "statistics": "batch"}.items():
        assert getattr(configured("lstm", "sinusoid", **{name: value}), name) == value
    assert set().union(*(algorithm.defaults for algorithm in ALGORITHMS.values())) <= set(DEFAULTS)
    assert (learners["maml"], learners["reptile"]) == (maml, reptile)


# What makes each of them what it is --------------------------------------------------------------


def dealt(family: str) -> TaskData:
    """What two inner steps learned from, the same for all algorithms."""
    if family == "point-goal":
        return gathered(agent(), [0.1, 0.1]).data
    built = pupil()
    return training_examples(built, meta_of(built), examples_of(built), 2).data


def built_and_its_point(algorithm: str, family: str, **changes: Any) -> tuple[Agent, Point]:
    built = (agent if family == "point-goal" else pupil)(algorithm=algorithm, inner_steps=2, **changes)
    return built, built.learner(dealt(family)).at(meta_of(built))


def adapted(built: Agent, family: str) -> Params:
    each = expand(meta_of(built), 4)
    return unroll(built.adaptation, each, dealt(family).support).params


def close(a: Params, b: Params) -> None:
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_fomaml_is_the_gradient_at_the_adapted_parameters(family: str) -> None:
    built, first = built_and_its_point("fomaml", family)
    _, second = built_and_its_point("maml", family)
    end = {name: p.requires_grad_() for name, p in adapted(built, family).items()}
    objective = objectives["surrogate"] if family == "point-goal" else built.objective
    losses = torch.vmap(lambda params, batch: objective(built.apply, params, batch))(end, dealt(family).query)
    grads = torch.autograd.grad(losses.mean(), list(end.values()))
    close(first.grad.model, {name: g.sum(0) for name, g in zip(end, grads, strict=True)})
    torch.testing.assert_close(first.loss, second.loss)
    assert not torch.allclose(ravel(first.grad), ravel(second.grad), rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_reptile_goes_towards_the_adapted_parameters(family: str) -> None:
    built, found = built_and_its_point("reptile", family)
    ends = adapted(built, family)
    close(found.grad.model, {name: p - ends[name].mean(0) for name, p in meta_of(built).model.items()})


@pytest.mark.parametrize("family", FAMILIES)
def test_anil_adapts_the_last_layer_and_learns_all(family: str) -> None:
    built, found = built_and_its_point("anil", family)
    for name, ends in adapted(built, family).items():
        last = name.endswith(("2.weight", "2.bias"))
        assert torch.equal(ends[0], meta_of(built).model[name]) is not last, name
    assert all(bool(g.any()) for g in found.grad.model.values())
    _, whole = built_and_its_point("maml", family)
    assert not torch.equal(found.loss, whole.loss)


@pytest.mark.parametrize("family", FAMILIES)
def test_meta_sgd_begins_as_maml_and_learns_each_step_size(family: str) -> None:
    built, found = built_and_its_point("meta-sgd", family)
    rates = built.initial_meta().rule
    assert {name: x.shape for name, x in rates.items()} == {
        name: p.shape for name, p in built.initial_meta().model.items()
    }
    assert {float(x) for x in ravel(rates)} == {float(torch.tensor(built.config.inner_lr))}
    # ``meta_of`` has moved the step sizes; at their start the two agree, in loss and in gradient.
    same_start = built.initial_meta()
    plain = (agent if family == "point-goal" else pupil)(inner_steps=2)
    ours, theirs = (
        b.learner(dealt(family)).at(m) for b, m in ((built, same_start), (plain, plain.initial_meta()))
    )
    torch.testing.assert_close(ours.loss, theirs.loss)
    close(ours.grad.model, theirs.grad.model)
    assert all(bool(g.any()) for g in found.grad.rule.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_lstm_learns_its_weights_which_the_seed_draws(family: str) -> None:
    built, found = built_and_its_point("lstm", family, inner_lr=None)
    assert all(bool(g.any()) for g in found.grad.rule.values())
    assert all(bool(g.any()) for g in found.grad.model.values())
    make = agent if family == "point-goal" else pupil
    again, other = (make(algorithm="lstm", inner_lr=None, seed=seed).initial_meta() for seed in (3, 4))
    assert same(again, built.initial_meta())
    assert not any(map(torch.equal, leaves(again.rule), leaves(other.rule)))
    assert 4 < float(again.rule["b_F"]) < 5


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_meta_gradient_is_clipped_where_a_norm_is_given(optimizer: str) -> None:
    built, free = built_and_its_point("maml", "sinusoid", meta_optimizer=optimizer)
    norm = float(ravel(free.grad).norm())
    state = built.optimizer.init(meta_of(built))
    problem = built.learner(dealt("sinusoid"))

    def step(max_norm: float | None) -> torch.Tensor:
        clipping = pupil(meta_optimizer=optimizer, inner_steps=2, max_grad_norm=max_norm).optimizer
        return ravel(clipping.step(problem, meta_of(built), state)[0]) - ravel(meta_of(built))

    assert torch.equal(step(None), step(2 * norm))
    half = step(norm / 2)
    if optimizer == "sgd":
        torch.testing.assert_close(half, step(None) / 2, rtol=1e-3, atol=1e-6)
    else:
        torch.testing.assert_close(half, step(None), rtol=1e-3, atol=1e-4)  # Adam divides by the size again
        assert not torch.equal(half, step(None))
