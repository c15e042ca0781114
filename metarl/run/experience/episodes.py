"""Batches of episodes: collected by the policies that learn from them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from metarl.core.advantages import Estimate, with_advantage, with_critic_advantage
from metarl.core.batch import Episodes
from metarl.core.critic import values_of_tasks
from metarl.core.errors import Diverged, RequestError
from metarl.core.params import Params, all_finite, to_device
from metarl.core.returns import credit
from metarl.learn.problem import TaskData
from metarl.rollout.collector import Tasks
from metarl.rollout.executors import Executor
from metarl.rollout.seeding import Address
from metarl.run.agent.agent import Agent
from metarl.run.agent.scores import scores
from metarl.run.experience.gather import Curves, Query

# Numbers in the observations that a value network reads at a time, of each task: bounds memory for images.
NUMBERS_AT_ONCE = 2**24


class EpisodeSource:
    """A ``Source`` of fresh episodes before each inner step and after the last; they run on the CPU.

    Parameters that are not finite, or whose actions are not, collect none: ``Diverged``.

    Args:
        episodes: of each task in a batch; None takes the configuration's.
        deterministic: measure on further episodes, in which the policies take their most likely action;
            adaptation learns from random ones.
    """

    def __init__(
        self,
        agent: Agent,
        executor: Executor,
        tasks: Tasks,
        address: Address,
        *,
        episodes: int | None = None,
        deterministic: bool = False,
    ) -> None:
        self.tasks = len(next(iter(tasks.values())))
        self._agent, self._executor, self._rows, self._address = agent, executor, tasks, address
        self._episodes_of_each = agent.config.episodes if episodes is None else episodes
        self._deterministic = deterministic
        self._taken = 0

    def support(self, policies: Params, step: int) -> Episodes:
        """Return the episodes that the policies collect, with advantages."""
        return self._with_advantages(policies, step)[0]

    def query(self, policies: Params, step: int) -> Query:
        """Return the same, the share of the returns' variance that is explained, and the tasks' credit."""
        batch, estimate = self._with_advantages(policies, step)
        shares = credit(estimate.start_return, estimate.std, batch.mask.to(estimate.std))
        return Query(
            batch,
            {"explained_variance": estimate.explained},
            shares.to(batch.reward.dtype).to(batch.mask.device),
        )

    def measures(self, path: Sequence[Params], data: TaskData) -> Curves:
        """Return the agent's metrics of each batch."""
        batches: list[Episodes] = [*data.support, data.query]
        if self._deterministic:
            batches = [self._collect(params, k, deterministic=True) for k, params in enumerate(path)]
        return {
            metric: torch.stack([self._score(metric, batch) for batch in batches])
            for metric in self._agent.metrics
        }

    def samples(self, data: TaskData) -> int:
        """Return the number of environment steps."""
        return sum(int(batch.mask.sum()) for batch in [*data.support, data.query])

    def _score(self, metric: str, batch: Episodes) -> Tensor:
        try:
            return scores[metric](batch).cpu()
        except RequestError as error:
            raise RequestError(f"family {self._agent.family.name!r} {error}") from error

    def _with_advantages(self, policies: Params, step: int) -> tuple[Episodes, Estimate]:
        """Return episodes with advantages, on the device, and the estimate that these are made of."""
        c, critic = self._agent.config, self._agent.critic
        batch = self._collect(policies, step, deterministic=False)
        if critic is None:
            batch, estimate = with_advantage(batch, c.gamma, c.gae_lambda)
        else:
            value, params = values_of_tasks(critic), to_device(policies, "cpu")
            rows = batch.obs.flatten(1, 2)
            pieces = rows.split(max(1, NUMBERS_AT_ONCE // rows[0, 0].numel()), 1)
            with torch.no_grad():
                of_steps = torch.cat([value(params, x) for x in pieces], 1).unflatten(1, batch.mask.shape[1:])
                of_ends = value(params, batch.final_obs)
            batch, estimate = with_critic_advantage(batch, of_steps, of_ends, c.gamma, c.gae_lambda)
        return to_device(batch, self._agent.device), estimate

    def _collect(self, policies: Params, step: int, deterministic: bool) -> Episodes:
        if not all_finite(policies):
            raise Diverged(f"the parameters after inner step {step} are not finite", self._taken)
        try:
            batch = self._executor.collect(
                to_device(policies, "cpu"),
                self._rows,
                episodes=self._episodes_of_each,
                address=self._address._replace(inner_step=step),
                deterministic=deterministic,
            )
        except Diverged as error:
            raise Diverged(str(error), self._taken) from error
        self._taken += int(batch.mask.sum())
        return batch
