"""Sources of an agent's batches: episodes that an executor collects, or labelled examples."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from metarl.rollout.collector import Tasks
from metarl.rollout.executors import Executor, Resources, executors
from metarl.rollout.registry import families
from metarl.rollout.seeding import Address
from metarl.rollout.worker import Recipe
from metarl.run.agent.agent import Agent
from metarl.run.agent.data_kinds import EXAMPLES
from metarl.run.experience.episodes import EpisodeSource
from metarl.run.experience.examples import ExampleSource
from metarl.run.experience.gather import Source
from metarl.run.store.terminal import warn


@contextmanager
def open_executor(agent: Agent) -> Iterator[Executor | None]:
    """Open the executor that the configuration names, which keeps environments and processes until it closes.

    None where no episodes are to be collected.
    """
    if agent.kind is EXAMPLES:
        yield None
        return
    c, family = agent.config, agent.episodic
    recipe = Recipe(families[c.family], c.spec, dict(c.family_arg), c.observe_task)
    resources = Resources(
        family, agent.apply_tasks, recipe, agent.module, c.workers or 1, c.worker_timeout, warn
    )
    with closing(executors[c.executor](resources)) as executor:
        yield executor


def source_of(
    agent: Agent,
    executor: Executor | None,
    tasks: Tasks,
    address: Address,
    *,
    episodes: int | None = None,
    deterministic: bool = False,
) -> Source:
    """Return where the batches of tasks come from; ``executor`` is what ``open_executor`` gave.

    Args:
        episodes, deterministic: see ``EpisodeSource``.
    """
    if agent.kind is EXAMPLES:
        return ExampleSource.of_tasks(agent, tasks, address)
    assert executor is not None, "episodes are collected by an executor"
    return EpisodeSource(agent, executor, tasks, address, episodes=episodes, deterministic=deterministic)
