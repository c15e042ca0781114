"""How many tasks are computed at a time, and what fits into memory."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from metarl.core.cnn import CNN
from metarl.core.errors import RequestError
from metarl.core.models import MLP
from metarl.learn.chunks import Chunking
from metarl.run.agent import chunking
from metarl.run.agent.chunking import choose_chunking, kept_bytes
from metarl.run.config.train_config import TrainConfig
from metarl.run.use.runs import train
from metarl_envs import PointGoal
from tiny_families import Spot
from tiny_runs import IMAGES, agent, pupil, same, tiny

GIB = 2**30


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the memory of the machine that it runs on."""
    with_memory(64 * GIB, monkeypatch)


def with_memory(size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "_memory", lambda device: int(size))


def chosen(
    tasks: int, episodes: int, threads: int, device: str = "cpu", module: nn.Module | None = None
) -> Chunking:
    """For episodes of 100 steps."""
    config = tiny(tasks=tasks, episodes=episodes, chunk=None, threads=threads)
    return choose_chunking(config, torch.device(device), PointGoal(horizon=100), module or nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("tasks", "episodes", "threads", "size"),
    [
        (20, 20, 1, 10),  # 40,000 steps, of which 20,000 fit
        (20, 20, 2, 10),
        (20, 20, 4, 5),  # smaller, so that every thread has something to do
        (20, 40, 2, 5),
        (7, 1, 2, 4),
        (20, 300, 2, 2),  # a task alone is too much already
        (3, 20, 8, 2),
        (1, 300, 8, 1),
    ],
)
def test_chunks_fit_the_caches_and_keep_threads_busy(
    tasks: int, episodes: int, threads: int, size: int
) -> None:
    assert chosen(tasks, episodes, threads) == Chunking(size, threads)


def test_a_chunk_of_one_task_is_chosen_for_one_task_alone() -> None:
    for tasks in range(2, 40):
        for threads in (1, 2, 3, 8, 64):
            assert 2 <= chosen(tasks, 20, threads).size <= tasks


def test_a_gpu_takes_all_tasks_at_once_and_a_given_size_is_kept() -> None:
    assert chosen(50, 20, 2, "cuda") == Chunking(50, 1)
    built = agent(chunk=3)
    assert (built.chunking.size, built.config.chunk) == (3, 3)
    assert agent(chunk=None, threads=2).config.chunk == agent(chunk=None, threads=2).chunking.size == 2


def test_on_a_cpu_what_is_large_takes_few_tasks_at_a_time() -> None:
    """And what is small takes all; a chunk of one task, with bits of its own, is for one task alone."""
    blobs: dict[str, Any] = {"family": "tiny_families:Blobs", "chunk": None}
    wide = {"algorithm": "lstm", "hidden": (200, 200), "inner_lr": None}
    for tasks in (1, 2, 13):
        assert pupil(**blobs, tasks=tasks).chunking.size == tasks
        assert pupil(**blobs | wide | {"hidden": (8,)}, tasks=tasks).chunking.size == tasks
        assert pupil(**blobs | wide, tasks=tasks).chunking.size == min(2, tasks)
        assert pupil(**IMAGES, chunk=None, tasks=tasks).chunking.size == min(2, tasks)
    assert pupil(**IMAGES, chunk=3, tasks=13).chunking.size == 3


# What fits ---------------------------------------------------------------------------------------


def test_what_a_network_keeps_of_an_observation_by_hand() -> None:
    """In floats: of each linear layer its input, of tanh its output (which the next layer keeps: counted
    once), of a ReLU its output; parameters are not counted.
    """
    family = PointGoal()
    assert kept_bytes(MLP(2, (8, 5), 3), family) == 4 * (2 + 8 + 5)
    small = Spot(size=7)
    # The bytes as floats, three maps after ReLU (6×6, 5×5 and 4×4) and 7 units after it.
    maps = 16 * 6 * 6 + 32 * 5 * 5 + 64 * 4 * 4
    assert kept_bytes(CNN((1, 7, 7), 4, (7,)), small) == 4 * (7 * 7 + maps + 7)


def test_a_network_that_cannot_read_the_observations_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match=r"^model 'mlp' cannot be adapted by 'vpg': RuntimeError: "):
        choose_chunking(tiny(), torch.device("cpu"), PointGoal(), nn.Linear(3, 2))


class Wide(nn.Module):
    """Keeps a mebibyte of each observation."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2**18 - 2))
        self.out = nn.Linear(2, 2)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        wide = torch.cat([obs, obs[..., :1] * self.scale], -1)
        return self.out(obs) + (wide * wide).sum(-1, keepdim=True)


def test_memory_bounds_the_threads_the_held_graphs_and_on_a_gpu_the_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """100 steps of a mebibyte and a bit: the gradient takes 0.49 GiB a task, a held graph 0.3 GiB or so."""
    module = Wide()
    each = kept_bytes(module, PointGoal()) * 100
    assert 100 * 2**20 <= each < 101 * 2**20

    def within(tasks_of_gradient: float, device: str = "cpu", threads: int = 4) -> Chunking:
        with_memory(tasks_of_gradient * chunking.GRADIENT * each / chunking.SHARE * 1.001, monkeypatch)
        return chosen(10, 1, threads, device, module)

    assert within(1000) == Chunking(3, 4)
    assert within(12).threads == 4
    assert within(11.9).threads == 3
    assert within(0.1).threads == 1
    assert [within(n).size for n in (1000, 3, 2.9, 0.1)] == [3, 3, 2, 2]
    assert [within(n, "cuda").size for n in (1000, 10, 7.5, 2, 0.1)] == [10, 10, 7, 2, 2]
    graph = chunking.CURVATURE * each  # of all steps of query and support: this horizon is too short to thin

    def held(graphs: float) -> int | None:
        with_memory(graphs * graph / chunking.SHARE * 1.001, monkeypatch)
        return chosen(10, 1, 4, "cpu", module).held

    assert [held(n) for n in (10, 9.5, 3, 0.5)] == [None, 9, 3, 0]
    thinned = tiny(tasks=10, episodes=1, chunk=2, threads=1, curvature_stride=5, support_stride=2)
    with_memory(9.5 * graph / chunking.SHARE, monkeypatch)
    found = choose_chunking(thinned, torch.device("cpu"), PointGoal(horizon=100), module)
    assert found.held is None  # of 27 that fit
    with_memory(1.001 * (0.2 + 0.5) / 2 * 4 * graph / chunking.SHARE, monkeypatch)
    assert choose_chunking(thinned, torch.device("cpu"), PointGoal(horizon=100), module).held == 4


def test_a_value_network_takes_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(tasks=10, episodes=1, chunk=None, threads=4)
    each, family = kept_bytes(Wide(), PointGoal()) * 100, PointGoal(horizon=100)
    with_memory(12 * chunking.GRADIENT * each / chunking.SHARE * 1.001, monkeypatch)
    alone = choose_chunking(config, torch.device("cpu"), family, Wide())
    beside = choose_chunking(config, torch.device("cpu"), family, Wide(), Wide())
    assert (alone.threads, beside.threads) == (4, 2)
    assert choose_chunking(tiny_chunk(99), torch.device("cpu"), family, Wide()).threads == 1  # of 10 tasks


def tiny_chunk(size: int) -> TrainConfig:
    return tiny(tasks=10, episodes=1, chunk=size, threads=4)


def test_the_memory_is_the_machine_s_or_the_container_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = chunking._memory(torch.device("cpu"))
    assert GIB / 4 < found < 2**50


def test_images_take_two_tasks_at_a_time_whatever_the_threads_and_the_horizon() -> None:
    """Groups of two take other kernels than groups of more, so the number must not decide."""
    options: dict[str, Any] = {"family": "tiny_families:Spot", "chunk": None, "tasks": 20, "episodes": 20}
    for threads in (1, 2, 4):
        for horizon in (5, 10, 100):
            made = agent(**options, threads=threads, family_arg={"horizon": horizon})
            assert made.chunking.size == 2


def test_neither_memory_nor_chunks_nor_threads_change_a_bit_of_a_run_on_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = []
    for number, (size, chunk, threads, expected) in enumerate(
        [
            (64 * GIB, 2, 1, Chunking(2, 1)),
            (64 * GIB, 4, 2, Chunking(4, 2)),
            (1, 2, 2, Chunking(2, 1, 0)),
        ]
    ):
        with_memory(size, monkeypatch)
        options = {"chunk": chunk, "threads": threads, "meta_optimizer": "trpo", "iterations": 1}
        config = tiny(family="tiny_families:Spot", family_arg={"horizon": 5}, **options)
        run = train(config, tmp_path / str(number))
        assert run.agent.chunking == expected
        found.append(run.meta)
    assert same(found[0], found[1]) and same(found[0], found[2])
    assert not same(found[0], run.agent.initial_meta())
