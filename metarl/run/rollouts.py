"""The world of episodes: batches are collected by the policies that learn from them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from metarl.core.advantages import Estimate, with_advantage, with_critic_advantage
from metarl.core.batch import Episodes, undiscounted_returns
from metarl.core.critic import values_of_tasks
from metarl.core.errors import Diverged, RequestError
from metarl.core.params import Params, all_finite, to_device
from metarl.core.returns import credit
from metarl.learn.problem import TaskData
from metarl.rollout.collector import Tasks
from metarl.rollout.executors import Executor, Inline
from metarl.rollout.processes import Processes
from metarl.rollout.registry import families
from metarl.rollout.seeding import Address
from metarl.rollout.worker import Recipe, Setup
from metarl.run.agent import Agent
from metarl.run.experience import Query, Serve
from metarl.run.files import warn

# In the observations that a value network judges at a time, of each task: bounds the memory for images.
NUMBERS_AT_ONCE = 2**24

# (policies with the task axis first on the CPU, address, deterministic) -> episodes of all tasks
Collector = Callable[[Params, Address, bool], Episodes]


def collector(executor: Executor, tasks: Tasks, episodes: int) -> Collector:
    """Collects ``episodes`` episodes of each of ``tasks``."""

    def run(policies: Params, address: Address, deterministic: bool) -> Episodes:
        return executor.collect(
            policies, tasks, episodes=episodes, address=address, deterministic=deterministic
        )

    return run


def executor_of(agent: Agent) -> Executor:
    """The executor that the configuration names."""
    c = agent.config
    if c.executor == "inline":
        return Inline(agent.episodic, agent.apply_tasks)
    recipe = Recipe(families[c.family], c.spec, dict(c.family_arg), c.observe_task)
    return Processes(Setup(recipe, agent.module), workers=c.workers or 1, timeout=c.worker_timeout, warn=warn)


class Rollouts:
    """A ``Source`` of fresh episodes before each inner step and after the last; they run on the CPU.

    Parameters that are not finite, or whose actions are not, collect none: ``Diverged``.

    ``deterministic`` measures the values on further episodes, in which the policies take their most likely
    action; adaptation learns from random ones.
    """

    def __init__(
        self, agent: Agent, tasks: int, collect_all: Collector, address: Address, deterministic: bool = False
    ) -> None:
        self.tasks = tasks
        self._agent, self._collect = agent, collect_all
        self._address, self._deterministic = address, deterministic
        self._taken = 0

    def support(self, policies: Params, step: int) -> Episodes:
        """The episodes that the policies collect, with advantages."""
        return self._judged(policies, step)[0]

    def query(self, policies: Params, step: int) -> Query:
        """The same, the share of the returns' variance that the baselines explain, and the tasks' credit."""
        batch, found = self._judged(policies, step)
        shares = credit(found.start_return, found.std, batch.mask.to(found.std))
        return Query(
            batch,
            {"explained_variance": found.explained},
            shares.to(batch.reward.dtype).to(batch.mask.device),
        )

    def _judged(self, policies: Params, step: int) -> tuple[Episodes, Estimate]:
        """Episodes with advantages, on the device, and what their estimation found out."""
        c, critic = self._agent.config, self._agent.critic
        batch = self._episodes(policies, step, deterministic=False)
        if critic is None:
            batch, found = with_advantage(batch, c.gamma, c.gae_lambda)
        else:
            value, params = values_of_tasks(critic), to_device(policies, "cpu")
            rows = batch.obs.flatten(1, 2)
            pieces = rows.split(max(1, NUMBERS_AT_ONCE // rows[0, 0].numel()), 1)
            with torch.no_grad():
                of_steps = torch.cat([value(params, x) for x in pieces], 1).unflatten(1, batch.mask.shape[1:])
                of_ends = value(params, batch.final_obs)
            batch, found = with_critic_advantage(batch, of_steps, of_ends, c.gamma, c.gae_lambda)
        return to_device(batch, self._agent.device), found

    def measures(self, path: Sequence[Params], data: TaskData) -> dict[str, Float[Tensor, "steps task"]]:
        """Mean undiscounted return, and where it is the family's metric, the share of successful episodes."""
        batches = [*data.support, data.query]
        if self._deterministic:
            batches = [self._episodes(params, k, deterministic=True) for k, params in enumerate(path)]
        found = {"return": torch.stack([undiscounted_returns(batch).cpu() for batch in batches])}
        if "success" in self._agent.metrics:
            found["success"] = torch.stack([self._successes(batch).cpu() for batch in batches])
        return found

    def _successes(self, batch: Episodes) -> Float[Tensor, " task"]:
        if batch.success is None:
            name = self._agent.family.name
            raise RequestError(
                f"family {name!r} is measured by success, but says no info['success'] at its steps"
            )
        return batch.success.mean(1)

    def samples(self, data: TaskData) -> int:
        """Environment steps."""
        return sum(int(batch.mask.sum()) for batch in [*data.support, data.query])

    def _episodes(self, policies: Params, step: int, deterministic: bool) -> Episodes:
        if not all_finite(policies):
            raise Diverged(f"the parameters after inner step {step} are not finite", self._taken)
        address = self._address._replace(inner_step=step)
        try:
            batch = self._collect(to_device(policies, "cpu"), address, deterministic)
        except Diverged as error:
            raise Diverged(str(error), self._taken) from error
        self._taken += int(batch.mask.sum())
        return batch


@contextmanager
def open_rollouts(agent: Agent) -> Iterator[Serve]:
    """One executor for all collections, which keeps environments and processes until it is closed."""
    with closing(executor_of(agent)) as executor:

        def serve(tasks: Tasks, episodes: int, address: Address, deterministic: bool) -> Rollouts:
            n = len(next(iter(tasks.values())))
            return Rollouts(agent, n, collector(executor, tasks, episodes), address, deterministic)

        yield serve
