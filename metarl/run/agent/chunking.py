"""The number of tasks that are computed at a time: as many as are quick and fit into memory."""

import math
import os
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from metarl.core.rules import rules
from metarl.learn.chunks import Chunking
from metarl.rollout.acting import convolves
from metarl.rollout.collector import readable
from metarl.rollout.family import Family, TaskFamily
from metarl.run.agent.data_kinds import EXAMPLES, kind_of
from metarl.run.agent.networks import model_errors
from metarl.run.config.train_config import TrainConfig

# Steps of experience in one chunk on a CPU: large enough that overhead does not show, small enough for the
# caches (2×64 policy, two cores: 20,000 was fastest of 4,000 to 80,000).
CPU_CHUNK_STEPS = 20_000
# What the gradient through an inner step takes at its peak, and what the graphs of the curvature take as long
# as they are held, in multiples of what the network keeps of the steps for one backward pass. Of model cnn,
# at 84×84 pixels: 4.5 to 6 and 5.2 to 5.9; at 7×7, where memory is no concern, 9 and 11.
GRADIENT, CURVATURE = 5, 6
# The share of the memory that chunks and held graphs may each take; the batches themselves come on top.
SHARE = 0.35


def choose_chunking(
    config: TrainConfig,
    device: torch.device,
    family: Family,
    module: nn.Module,
    critic: nn.Module | None = None,
) -> Chunking:
    """The size of a chunk, unless the configuration says it; threads and held tasks by the memory there is.

    Two tasks or more to a chunk, whatever the memory is: then none of this changes a bit of a result. Where a
    network convolves, two tasks take other kernels than more do, so on a CPU its chunks are always of two.
    """
    threads = 1 if device.type == "cuda" else (config.threads or 1)
    if kind_of(family) is EXAMPLES:
        return Chunking(config.chunk or _chunk_of_examples(config, device, module), threads)
    episodic, room = cast(TaskFamily, family), SHARE * _memory(device)
    with model_errors(config):
        kept = sum(kept_bytes(network, episodic) for network in (module, critic) if network is not None)
    each = kept * config.episodes * episodic.horizon  # of a task's batch
    size = config.chunk or _chunk_of_episodes(
        config, device, episodic, module, int(room // (GRADIENT * each))
    )
    threads = max(1, min(threads, int(room // (GRADIENT * each * min(size, config.tasks)))))
    # Of the steps that a graph goes through, query's and supports', in batches; measured was one of either.
    batches = 1 / (config.curvature_stride or 1) + config.inner_steps / (config.support_stride or 1)
    held = int(room // (CURVATURE * each * batches / 2))
    return Chunking(size, threads, None if held >= config.tasks else held)


def kept_bytes(module: nn.Module, family: TaskFamily) -> int:
    """Return the bytes that a network keeps of one observation for its backward pass; 1 at least."""
    space = family.observation_space
    obs = torch.from_numpy(readable(np.zeros((1, *(space.shape or ())), space.dtype)))
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x  # alive, so that no other takes its place
        return x

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda x: x):
        module(obs)
    return max(1, sum(x.untyped_storage().nbytes() for place, x in kept.items() if place not in own))


def _chunk_of_examples(config: TrainConfig, device: torch.device, module: nn.Module) -> int:
    if device.type == "cuda":
        return config.tasks
    if convolves(module):  # larger chunks gain nothing (49 ms a task at 1, 2, 4 and 8), and take more memory
        return min(2, config.tasks)
    at_once = rules.facts(config.rule).coordinates_at_once
    if at_once is not None:
        coordinates = sum(p.numel() for p in module.parameters())
        return min(config.tasks, max(2, at_once // coordinates))
    return config.tasks


def _chunk_of_episodes(
    config: TrainConfig, device: torch.device, family: TaskFamily, module: nn.Module, fitting: int
) -> int:
    """On a GPU all tasks, on a CPU chunks that keep every thread busy; or as many as are ``fitting``.

    Chunks of one task take other kernels, hence other bits, than chunks of several: two at least.
    """
    least = min(2, config.tasks)
    if device.type == "cuda":
        return max(least, min(config.tasks, fitting))
    if convolves(module):
        return least
    threads = config.threads or 1
    rounds = math.ceil(config.tasks * config.episodes * family.horizon / (threads * CPU_CHUNK_STEPS))
    return max(least, min(math.ceil(config.tasks / (threads * rounds)), fitting))


def _memory(device: torch.device) -> int:
    """Bytes of the device; on a CPU those of the machine, or of the container where it says so."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of control groups, version 2 and 1
        limit = Path("/sys/fs/cgroup") / name
        said = limit.read_text().strip() if os.access(limit, os.R_OK) else "max"
        found = min(found, int(said)) if said.isdecimal() else found
    return found
