"""Executors by name: where the episodes of a collection are collected.

All give the same bits. Every draw is addressed by the task's global number, so that it matters neither which
process serves a task nor which other tasks it serves; no share has a single task, which would take other
kernels.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from torch import nn

from metarl.core.batch import Episodes
from metarl.core.models import Apply
from metarl.core.params import Params
from metarl.core.registry import Registry
from metarl.rollout.collector import Tasks
from metarl.rollout.family import TaskFamily
from metarl.rollout.inline import Inline
from metarl.rollout.processes import Processes
from metarl.rollout.seeding import Address
from metarl.rollout.worker import Recipe, Setup


@runtime_checkable
class Executor(Protocol):
    """Collects the episodes of all tasks of a batch; closed once nothing more is to be collected."""

    def collect(
        self, params: Params, tasks: Tasks, *, episodes: int, address: Address, deterministic: bool = False
    ) -> Episodes:
        """Return ``episodes`` episodes of each task, up to the family's horizon: see ``collector.collect``.

        Args:
            params: one policy for each task, the task axis first on every tensor, on the CPU.
            tasks: arrays with one row a task.
        """

    def close(self) -> None:
        """Close the environments and end the processes."""


class Resources(NamedTuple):
    """Resources that an executor may collect with.

    Attributes:
        family: the family, made in this process.
        act: the policies of all tasks, ``act(params, obs "task row …")``.
        recipe: how another process makes the family; ``module`` is the network that it makes ``act`` of.
        workers: how many processes there may be.
        timeout: seconds without a step after which a process counts as stuck.
        warn: takes one line for the user.
    """

    family: TaskFamily
    act: Apply
    recipe: Recipe
    module: nn.Module
    workers: int = 1
    timeout: float = 120.0
    warn: Callable[[str], None] = print


executors: Registry[Callable[[Resources], Executor], None] = Registry(
    "executor", "metarl.executors", no_facts=None
)


@executors.register("inline")
def inline(resources: Resources) -> Inline:
    """Step one vector environment in this process."""
    return Inline(resources.family, resources.act)


@executors.register("processes")
def processes(resources: Resources) -> Processes:
    """Share the tasks out to worker processes, each of which steps its own rows."""
    setup = Setup(resources.recipe, resources.module)
    return Processes(setup, workers=resources.workers, timeout=resources.timeout, warn=resources.warn)
