"""What networks say to the query set, by each way to normalise at evaluation."""

from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core.conv import Conv4, observe
from metarl.core.params import tree_map
from metarl.learn.problem import TaskData
from metarl.run.agent.agent import Agent
from metarl.run.experience.gather import Experience, gather
from metarl.run.experience.predictions import predictions
from tiny_runs import IMAGES, examples_of, meta_of, pupil, tasks_of

STEPS = 3


def experienced(built: Agent) -> Experience:
    source = examples_of(built, tasks_of(built, 2))
    return gather(built, meta_of(built), source, built.adaptations([0.2], STEPS))


def said(statistics: str, change: Any = lambda data: data, **options: Any) -> list[Tensor]:
    """The outputs along one and the same path, on a query set that may have been changed."""
    built = pupil(**IMAGES | options, statistics=statistics)
    found = experienced(built)
    return list(predictions(built, found.path, change(found.data), found.data.support[0]))


def with_query(data: TaskData, rows: list[int]) -> TaskData:
    return data._replace(query=tree_map(lambda x: x[:, rows], data.query))


def test_by_the_batch_they_are_the_network_s_outputs() -> None:
    built = pupil(**IMAGES)
    found = experienced(built)
    for params, outputs in zip(found.path, said("batch"), strict=True):
        assert torch.equal(outputs, built.apply_tasks(params, found.data.query.x))


@pytest.mark.parametrize("statistics", ["alone", "running"])
def test_a_query_is_judged_as_if_there_were_no_other(statistics: str) -> None:
    whole = said(statistics)
    alone = said(statistics, lambda data: with_query(data, [4]))
    pairs = zip(whole, alone, strict=True)
    for outputs, one in pairs:
        torch.testing.assert_close(outputs[:, 4:5], one, rtol=1e-4, atol=1e-4)
    transductive = said("batch"), said("batch", lambda data: with_query(data, [4]))
    assert not torch.allclose(transductive[0][0][:, 4:5], transductive[1][0], rtol=1e-2, atol=1e-2)


def test_alone_each_query_stands_in_a_batch_with_the_support() -> None:
    built = pupil(**IMAGES)
    found = experienced(built)
    for params, outputs in zip(found.path, said("alone"), strict=True):
        for task in range(2):
            own = tree_map(lambda x, t=task: x[t], params)
            support, query = found.data.support[0].x[task], found.data.query.x[task]
            for q, image in enumerate(query):
                expected = built.apply(own, torch.cat([support, image[None]]))[-1]
                torch.testing.assert_close(outputs[task, q], expected, rtol=1e-4, atol=1e-4)


def test_running_statistics_are_those_of_the_support_up_to_each_step() -> None:
    """Before the first step, of one look at it."""
    built = pupil(**IMAGES)
    found, module = experienced(built), built.module
    assert isinstance(module, Conv4)
    outputs = said("running")
    assert len(outputs) == STEPS + 1
    for task in range(2):
        path = [tree_map(lambda x, t=task: x[t], params) for params in found.path]
        support = [batch.x[task] for batch in found.data.support]
        for k, params in enumerate(path):
            seen = max(k, 1)
            statistics = module.fresh_statistics(path[0])
            for before, x in zip(path[:seen], support[:seen], strict=True):
                statistics = observe(module, statistics, before, x)
            expected = module.predict(params, found.data.query.x[task], statistics)
            torch.testing.assert_close(outputs[k][task], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("statistics", ["alone", "running"])
def test_a_network_without_normalisation_has_one_way(statistics: str) -> None:
    blobs = {"family": "tiny_families:Blobs", "family_arg": {}, "filters": 32}
    for ours, theirs in zip(said(statistics, **blobs), said("batch", **blobs), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("statistics", ["batch", "alone", "running"])
def test_a_support_that_no_step_read_serves_as_before_the_first_step(statistics: str) -> None:
    built = pupil(**IMAGES, statistics=statistics)
    found = experienced(built)
    unread = TaskData((), found.data.query)
    (before,) = predictions(built, found.path[:1], unread, found.data.support[0])
    assert torch.equal(before, said(statistics)[0])


def test_alone_each_query_stands_beside_the_whole_support_not_a_mini_batch_of_it() -> None:
    built = pupil(**IMAGES, inner_batch=2, statistics="alone")
    source = examples_of(built, tasks_of(built, 2))
    found = gather(built, meta_of(built), source, built.adaptations([0.2], 1))
    whole = source._support
    assert found.data.support[0].x.shape[1] == 2 < whole.x.shape[1]
    by_hand = list(predictions(built, found.path, found.data, whole))
    scores = [(outputs.argmax(-1) == found.data.query.y).float().mean(1) for outputs in by_hand]
    torch.testing.assert_close(found.values, torch.stack(scores))
