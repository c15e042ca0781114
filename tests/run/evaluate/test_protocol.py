"""What an evaluation measures, and how a step size is chosen on validation tasks."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from metarl.core.errors import RequestError
from metarl.run.evaluate import protocol as module
from metarl.run.evaluate.protocol import GRID, Protocol, held_out_tasks
from tiny_runs import agent, measured, same, tuned_rates

PROTOCOL = Protocol(split="test", tasks=5, steps=2, episodes=3, seed=1, deterministic=False)
CORNERS: dict[str, Any] = {"spec": "promp"}


def changed(**values: Any) -> Protocol:
    return dataclasses.replace(PROTOCOL, **values)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"split": "exam"}, "unknown split 'exam'; allowed: train, validation, test, ood"),
        ({"tasks": 0}, "tasks must be at least 1, got 0"),
        ({"steps": -1}, "steps must be at least 0, got -1"),
        ({"episodes": 0}, "episodes must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_an_impossible_protocol_is_refused_in_one_line(values: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError) as caught:
        changed(**values)
    assert str(caught.value) == told


# Tasks -------------------------------------------------------------------------------------------


def test_test_tasks_are_the_published_ones_for_every_agent() -> None:
    published = np.random.RandomState(1).uniform(-0.5, 0.5, (5, 2))
    for built in (agent(), agent(seed=8, inner_steps=0), agent(observe_task=True)):
        np.testing.assert_array_equal(held_out_tasks(built, PROTOCOL)["goal"], published)


def test_validation_tasks_depend_on_the_seed_of_the_evaluation_alone() -> None:
    first = held_out_tasks(agent(), changed(split="validation"))["goal"]
    np.testing.assert_array_equal(held_out_tasks(agent(seed=8), changed(split="validation"))["goal"], first)
    assert not np.isin(held_out_tasks(agent(), changed(split="validation", seed=2))["goal"], first).any()
    assert not np.isin(held_out_tasks(agent(), changed(split="train"))["goal"], first).any()
    outside = held_out_tasks(agent(), changed(split="ood"))["goal"]
    assert (np.abs(outside).max(1) > 0.5).all()


def test_each_of_finitely_many_tasks_is_given_once() -> None:
    built = agent(**CORNERS)
    goals = held_out_tasks(built, changed(tasks=40))["goal"]
    assert sorted(map(tuple, goals.tolist())) == [(-2, -2), (-2, 2), (2, -2), (2, 2)]
    assert len(held_out_tasks(built, changed(tasks=3))["goal"]) == 3
    assert measured(built, built.initial_meta(), [0.1], changed(tasks=40, steps=1)).values.shape == (2, 4)


# Measuring ---------------------------------------------------------------------------------------


def test_it_measures_what_it_says() -> None:
    built = agent()
    meta = built.initial_meta()
    found = measured(built, meta, [0.5, 0.25], PROTOCOL)
    assert found.values.shape == (3, 5)
    assert found.data.query.reward.shape == (5, 3, 10)
    assert same(found.params, measured(built, meta, [0.5, 0.25], PROTOCOL).params)
    halved = measured(built, meta, [0.5, 0.5], PROTOCOL)
    assert torch.equal(halved.values[:2], found.values[:2])  # the second step size says nothing before
    assert not torch.equal(halved.values[2], found.values[2])
    sooner = measured(built, meta, [0.5, 0.25], changed(tasks=2))
    torch.testing.assert_close(sooner.values, found.values[:, :2])  # tasks do not know of one another
    for other in (changed(seed=2), changed(split="validation"), changed(deterministic=True)):
        assert not (measured(built, meta, [0.5, 0.25], other).values[0] == found.values[0]).any()


# Tuning ------------------------------------------------------------------------------------------


def fake_measure(monkeypatch: pytest.MonkeyPatch, scores: dict[float, list[float]]) -> list[Any]:
    """Returns by the first step size instead of by episodes; what was asked is in the list."""
    asked: list[Any] = []

    def fake(agent: Any, meta: Any, profile: list[float], protocol: Protocol, executor: Any) -> Any:
        asked.append((profile, protocol))
        steps = scores.get(profile[0], [0.0, -9.0, -9.0])
        return SimpleNamespace(curves={"return": torch.tensor(steps)[:, None].expand(3, 5)})

    monkeypatch.setattr(module, "measure", fake)
    return asked


def test_the_best_on_validation_tasks_after_adaptation_is_chosen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # 0.05 is best before adapting, 0.2 at the last step, 0.1 in the mean of all adapted ones.
    scores = {0.05: [9.0, -5.0, -5.0], 0.1: [-9.0, -2.0, -2.0], 0.2: [-9.0, -6.0, -1.0]}
    asked = fake_measure(monkeypatch, scores)
    built = agent()
    best = tuned_rates(built, built.initial_meta(), [0.4, 0.2], PROTOCOL, "oracle")
    assert best == [0.1, 0.05]
    assert [profile for profile, _ in asked] == [[first, first / 2] for first in GRID]
    assert {protocol for _, protocol in asked} == {changed(split="validation")}
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("metarl: oracle: mean return on validation tasks by step size 0: -9, ")
    assert "0.1: -2, " in told
    assert told.endswith("best 0.1\n")


def test_of_step_sizes_that_succeed_alike_the_one_of_the_higher_return_is_best(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    success = {0.05: [0.5, 0.5], 0.1: [0.0, 0.5], 0.2: [0.0, 0.25]}
    returns = {0.05: [9.0, 1.0], 0.1: [0.0, 2.0], 0.2: [0.0, 3.0]}

    def fake(built: Any, meta: Any, profile: Any, protocol: Protocol, executor: Any) -> Any:
        given = [torch.tensor(x.get(profile[0], [0.0, 0.0]))[:, None] for x in (success, returns)]
        return SimpleNamespace(curves={"success": given[0], "return": given[1]})

    monkeypatch.setattr(module, "measure", fake)
    built = agent(family="tiny_families:Bells")
    assert tuned_rates(built, built.initial_meta(), [0.4], changed(steps=1), "random") == [0.1]
    assert "mean success on validation tasks" in capsys.readouterr().err


def test_without_steps_there_is_nothing_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake_measure(monkeypatch, {})
    built = agent()
    assert tuned_rates(built, built.initial_meta(), [], changed(steps=0), "random") == []
    assert asked == []
