"""Chunks and threads: order, errors, and the same bits whatever their number."""

import threading
import time
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core.batch import Episodes
from metarl.core.models import GaussianMLP, initial_params, policy
from metarl.core.objectives import surrogate, vpg
from metarl.core.params import Meta, leaves, ravel
from metarl.core.rules import sgd
from metarl.learn.adapt import adapt
from metarl.learn.chunks import Chunking, map_chunks, run_all
from metarl.learn.maml import maml
from metarl.learn.problem import TaskData
from metarl.learn.trust_region import TrustRegion

TASKS, EPISODES, STEPS = 8, 4, 50


def test_results_come_in_the_order_of_the_tasks() -> None:
    x = {"a": torch.arange(7)}

    def slow_at_first(piece: dict[str, Tensor], other: Tensor) -> list[int]:
        time.sleep(0.02 if int(piece["a"][0]) == 0 else 0.0)
        return (piece["a"] + other).tolist()

    for threads in (1, 3):
        found = map_chunks(slow_at_first, Chunking(2, threads), x, 10 * torch.arange(7))
        assert found == [[0, 11], [22, 33], [44, 55, 66]]


def test_threads_work_at_the_same_time_with_one_intra_op_thread_each() -> None:
    meet = threading.Barrier(2, timeout=20)  # passes only if two calls are under way together

    def call() -> int:
        meet.wait()
        return torch.get_num_threads()

    assert run_all([call] * 4, 2) == [1] * 4


def test_an_error_in_a_chunk_reaches_the_caller() -> None:
    def fail() -> None:
        raise ArithmeticError("chunk")

    for threads in (1, 2):
        with pytest.raises(ArithmeticError, match="chunk"):
            run_all([fail, fail], threads)


def episodes(seed: int) -> Episodes:
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn((TASKS, EPISODES, *shape), generator=g)

    lengths = torch.randint(1, STEPS + 1, (TASKS, EPISODES, 1), generator=g)
    mask = (torch.arange(STEPS) < lengths).float()
    no = torch.zeros(TASKS, EPISODES, STEPS, dtype=torch.bool)
    log_prob, advantage = draw(STEPS) * 0.1 - 3, draw(STEPS)
    return Episodes(
        draw(STEPS, 3), draw(STEPS, 2), draw(STEPS), no, no, mask, log_prob, draw(3), advantage, advantage
    )


def everything(chunking: Chunking, order: int, products: int = 1) -> Tensor:
    """All that a problem says about one point, as one float32 vector."""
    torch.manual_seed(0)
    module = GaussianMLP(3, 2, hidden=(64, 64))
    apply, meta = policy(module), Meta(initial_params(module), {})
    data = TaskData((episodes(1), episodes(2)), episodes(3))
    problem = maml(
        apply, adapt(apply, vpg, sgd(0.1), order), surrogate, chunking, trust_region=TrustRegion(apply, 4)
    )(data)
    point = problem.at(meta)
    elsewhere = problem.losses(Meta({n: p + 0.01 for n, p in meta.model.items()}, {}), point)
    assert problem.curvature is not None and elsewhere.kl is not None
    curvature = problem.curvature(meta)
    product = [curvature(ravel(point.grad)) for _ in range(products)][-1]
    return torch.cat(
        [
            x.reshape(-1)
            for x in (*leaves((point.loss, point.grad, point.policies)), *leaves(tuple(elsewhere)), product)
        ]
    )


@pytest.mark.parametrize("order", [1, 2])
def test_chunk_size_and_threads_leave_every_bit_alone(order: int) -> None:
    expected = everything(Chunking(8, 1), order)
    assert bool(expected.isfinite().all())
    for size in (2, 3, 4):
        for threads in (1, 2):
            assert torch.equal(everything(Chunking(size, threads), order), expected), (size, threads)


@pytest.mark.parametrize("held", [0, 1, 2, 5, 8])
def test_graphs_that_are_not_held_are_built_anew_with_the_same_bits(
    held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []

    class Counted(TrustRegion):
        def curvature(self, adaptation: Any, meta: Any, data: Any) -> Any:
            built.append(data.tasks)
            return super().curvature(adaptation, meta, data)

    expected = everything(Chunking(2, 1), 2)
    monkeypatch.setitem(globals(), "TrustRegion", Counted)
    assert torch.equal(everything(Chunking(2, 1, held), 2, products=3), expected)
    kept = 2 * (held // 2)
    assert sum(built) == kept + 3 * (8 - kept)
