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


def gather(
    agent: Agent,
    meta: Meta,
    tasks: int,
    collect_all: Collector,
    adaptations: Sequence[Adaptation],
    address: Address,
    deterministic: bool = False,
) -> Experience:
    """Episodes of every task before each of ``adaptations`` and after the last.

    Collection runs on the CPU, adaptation on the agent's device. ``deterministic`` measures the returns on
    further episodes, in which the policies take their most likely action; adaptation learns from random ones.
    """
    c = agent.config
    batches: list[Episodes] = []
    measured: list[Episodes] = []
    each_meta = expand(meta, tasks)
    # A rule's memory outlives the collections in between. With no step at all, any rule begins alike.
    inner = begin_tasks((*adaptations, agent.adaptation(c.inner_lr))[0], each_meta)
    with torch.no_grad():
        for k in range(len(adaptations) + 1):
            policies, here = to_device(inner.params, "cpu"), address._replace(inner_step=k)
            batch = collect_all(policies, here, False)
            measured.append(collect_all(policies, here, True) if deterministic else batch)
            batch, explained = with_advantage(batch, c.gamma, c.gae_lambda, c.bootstrap)
            batches.append(to_device(batch, agent.device))
            if k < len(adaptations):
                inner = _adapt(agent, adaptations[k], each_meta, inner, batches[-1])
    returns = torch.stack([undiscounted_returns(batch) for batch in measured])
    steps = int(sum(float(batch.mask.sum()) for batch in batches))
    data = TaskData(tuple(batches[:-1]), batches[-1])
    return Experience(data, returns, explained, inner.params, steps)


def _adapt(agent: Agent, adaptation: Adaptation, meta: Meta, inner: Inner, batch: Episodes) -> Inner:
    """One inner step of all tasks, chunk by chunk, as the meta-learner repeats it."""

    def step(meta: Meta, inner: Inner, batch: Episodes) -> Inner:
        with torch.no_grad():
            return step_tasks(adaptation, meta, inner, batch)[0]

    return concat(map_chunks(step, agent.chunking, meta, inner, batch))
