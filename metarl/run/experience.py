"""Collect, adapt, collect again: the one place where experience and learning meet.

Training, evaluation and the adaptation of a single policy all go through ``gather``.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from gymnasium.vector import VectorEnv
from jaxtyping import Float
from torch import Tensor

from metarl.core.baselines import with_advantage
from metarl.core.batch import Episodes, undiscounted_returns
from metarl.core.params import Inner, Meta, Params, concat, expand, to_device
from metarl.learn.adapt import Adaptation, begin_tasks, step_tasks
from metarl.learn.chunks import map_chunks
from metarl.learn.maml import TaskData
from metarl.rollout.collector import Address, Tasks, collect
from metarl.run.agent import Agent

# What a collection is for, as it stands in every address. Append only.
USES = {"train": 0, "validation": 1, "test": 2, "ood": 3, "adapt": 4}


class Experience(NamedTuple):
    """What K inner steps gave for each of m tasks.

    Attributes:
        data: K support batches and the query batch, advantages filled in, on the device.
        returns: undiscounted return before each inner step and after the last.
        explained_variance: of the baselines on the query batch.
        params: the adapted policies.
        env_steps: environment steps taken.
    """

    data: TaskData
    returns: Float[Tensor, "steps task"]
    explained_variance: Float[Tensor, " task"]
    params: Params
    env_steps: int

    @property
    def batches(self) -> tuple[Episodes, ...]:
        """The K + 1 batches in the order in which they were collected."""
        return (*self.data.support, self.data.query)


# (policies with the task axis first on the CPU, address, deterministic) -> episodes of all tasks
Collector = Callable[[Params, Address, bool], Episodes]


def collector(agent: Agent, tasks: Tasks, env: VectorEnv, episodes: int) -> Collector:
    """Collects ``episodes`` episodes of each of ``tasks`` in ``env``, which has a row for each."""
    horizon = agent.family.horizon

    def run(policies: Params, address: Address, deterministic: bool) -> Episodes:
        return collect(
            env,
            agent.act,
            policies,
            tasks,
            episodes=episodes,
            horizon=horizon,
            address=address,
            deterministic=deterministic,
        )

    return run


def explore(
    agent: Agent,
    meta: Meta,
    tasks: int,
    collect_all: Collector,
    adaptations: Sequence[Adaptation],
    address: Address,
) -> tuple[list[Params], list[Episodes]]:
    """The inner loop with fresh episodes: collect and adapt, once for each of ``adaptations``.

    Collection runs on the CPU, adaptation on the agent's device. Returns all tasks' policies before each
    step and after the last, and the batch of each step.
    """
    each_meta = expand(meta, tasks)
    # A rule's memory outlives the collections in between. With no step at all, any rule begins alike.
    inner = begin_tasks((*adaptations, agent.adaptation(agent.config.inner_lr))[0], each_meta)
    policies, batches = [inner.params], []
    for k, adaptation in enumerate(adaptations):
        batch, _ = _batch(agent, inner.params, collect_all, address._replace(inner_step=k))
        inner = _adapt(agent, adaptation, each_meta, inner, batch)
        policies.append(inner.params)
        batches.append(batch)
    return policies, batches


def gather(
    agent: Agent,
    meta: Meta,
    tasks: int,
    collect_all: Collector,
    adaptations: Sequence[Adaptation],
    address: Address,
    deterministic: bool = False,
) -> Experience:
    """``explore``, and a last batch to judge the adapted policies by.

    ``deterministic`` measures the returns on further episodes, in which the policies take their most likely
    action; adaptation learns from random ones.
    """
    policies, support = explore(agent, meta, tasks, collect_all, adaptations, address)
    query, explained = _batch(agent, policies[-1], collect_all, address._replace(inner_step=len(support)))
    measured = [*support, query]
    if deterministic:
        measured = [
            collect_all(to_device(params, "cpu"), address._replace(inner_step=k), True)
            for k, params in enumerate(policies)
        ]
    returns = torch.stack([undiscounted_returns(batch).cpu() for batch in measured])
    steps = sum(int(batch.mask.sum()) for batch in [*support, query])
    return Experience(TaskData(tuple(support), query), returns, explained, policies[-1], steps)


def _batch(
    agent: Agent, params: Params, collect_all: Collector, address: Address
) -> tuple[Episodes, Float[Tensor, " task"]]:
    """A batch of every task with advantages, on the agent's device; what its baselines explain."""
    c = agent.config
    batch = collect_all(to_device(params, "cpu"), address, False)
    batch, explained = with_advantage(batch, c.gamma, c.gae_lambda)
    return to_device(batch, agent.device), explained


def _adapt(agent: Agent, adaptation: Adaptation, meta: Meta, inner: Inner, batch: Episodes) -> Inner:
    """One inner step of all tasks, chunk by chunk, as the meta-learner repeats it."""

    def step(meta: Meta, inner: Inner, batch: Episodes) -> Inner:
        with torch.no_grad():
            return step_tasks(adaptation, meta, inner, batch)[0]

    return concat(map_chunks(step, agent.chunking, meta, inner, batch))
