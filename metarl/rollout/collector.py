"""The collector: all episodes of all tasks step together in one vector environment, on the CPU."""

from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from metarl.core.batch import Episodes
from metarl.core.distributions import Distribution
from metarl.core.models import Apply
from metarl.core.params import Params, leaves, replace_leaves
from metarl.rollout import seeding

Tasks = dict[str, np.ndarray]


class Address(NamedTuple):
    """Where in a run a collection stands. Each random draw of it is a function of this and of the task.

    ``use`` keeps training, validation and evaluation apart; ``first_task`` is the global index of the first
    of the given tasks, so that a chunk of tasks draws what it would draw among all of them.
    """

    seed: int
    use: int
    iteration: int = 0
    inner_step: int = 0
    first_task: int = 0

    def of(self, task: int) -> tuple[int, int, int, int]:
        """The indices that follow a purpose in ``seeding``, for the task at this position of the batch."""
        return self.use, self.iteration, self.inner_step, self.first_task + task


def collect(
    env: VectorEnv,
    act: Apply,
    params: Params,
    tasks: Tasks,
    *,
    episodes: int,
    horizon: int,
    address: Address,
    deterministic: bool = False,
) -> Episodes:
    """``episodes`` episodes of each of m tasks by each task's own policy.

    Args:
        env: m · ``episodes`` sub-environments that are not reset automatically; row t · ``episodes`` + e
            serves episode e of task t.
        act: the policy of all tasks, ``act(params, obs)`` with leading axes task, episode: ``vmap`` of a
            policy, or ``models.policy_of_tasks``.
        params: one policy for each task, the task axis first on every tensor, on the CPU.
        tasks: arrays with one row a task.
        horizon: steps after which an episode that has not ended is cut short (truncated).
        deterministic: act by the distribution's mode instead of drawing.

    Returns:
        Episodes with leading axes task, episode, time and zero advantages. Start states and action noise are
        drawn per task from ``address``; they do not depend on which other tasks are in the batch.
    """
    m = len(next(iter(tasks.values())))
    start_seeds = [
        seed for t in range(m) for seed in seeding.seeds(address.seed, "starts", *address.of(t), n=episodes)
    ]
    noise = None if deterministic else _noise(env.single_action_space, m, episodes, horizon, address)
    record = _Record(env, m, episodes, horizon)
    policies: list[Distribution] = []
    rows = {name: np.repeat(value, episodes, axis=0) for name, value in tasks.items()}
    obs, _ = env.reset(seed=start_seeds, options={"task": rows})
    with torch.no_grad():
        for t in range(horizon):
            policy = act(params, torch.from_numpy(obs).view(m, episodes, *obs.shape[1:]))
            action = policy.mode() if noise is None else policy.sample(noise[:, :, t])
            policies.append(policy)
            flat = action.reshape(m * episodes, *action.shape[2:]).numpy()
            next_obs, reward, terminated, truncated, _ = env.step(_inside(env.single_action_space, flat))
            record.put(t, obs, flat, reward, terminated, truncated, next_obs)
            obs = next_obs
            if not record.alive.any():
                break
        return record.episodes(_over_time(policies))


def _noise(space: gymnasium.Space[Any], m: int, episodes: int, horizon: int, address: Address) -> Tensor:
    """What turns a policy into actions: normal for continuous, uniform for discrete ones; "task episode time …"."""

    def of_task(t: int) -> np.ndarray:
        rng = seeding.generator(address.seed, "actions", *address.of(t))
        if isinstance(space, gymnasium.spaces.Discrete):
            return rng.random((episodes, horizon), np.float32)
        return rng.standard_normal((episodes, horizon, *(space.shape or ())), np.float32)

    return torch.from_numpy(np.stack([of_task(t) for t in range(m)]))


def _inside(space: gymnasium.Space[Any], action: np.ndarray) -> np.ndarray:
    """The action as the environment takes it: a Gaussian's is cut to the bounds of the space."""
    return action.clip(space.low, space.high) if isinstance(space, gymnasium.spaces.Box) else action


def _over_time(policies: list[Distribution]) -> Distribution:
    """One distribution whose leaves are "task episode time …" from one for each time step."""
    columns = zip(*(leaves(policy) for policy in policies), strict=True)
    return replace_leaves(policies[0], [torch.stack(column, dim=2) for column in columns])


class _Record:
    """Arrays of a collection under way, rows of the vector environment first, and which rows still go on."""

    def __init__(self, env: VectorEnv, m: int, episodes: int, horizon: int) -> None:
        def array(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            return np.zeros((m * episodes, *shape), dtype)

        obs_space, action_space = env.single_observation_space, env.single_action_space
        assert obs_space.shape is not None and action_space.shape is not None
        self._lead, self._horizon = (m, episodes), horizon
        discrete = isinstance(action_space, gymnasium.spaces.Discrete)
        self.obs = array((horizon, *obs_space.shape), obs_space.dtype)
        self.action = array((horizon, *action_space.shape), np.int64 if discrete else np.float32)
        self.reward = array((horizon,), np.float32)
        self.terminated, self.truncated = array((horizon,), bool), array((horizon,), bool)
        self.mask = array((horizon,), np.float32)
        self.final_obs = array(obs_space.shape, obs_space.dtype)
        self.alive = np.ones(m * episodes, bool)

    def put(
        self,
        t: int,
        obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        next_obs: np.ndarray,
    ) -> None:
        """Enters step ``t`` of every row; a row that had ended before leaves no reward, no flag and no mask."""
        cut = truncated | (t == self._horizon - 1)
        ended = (terminated | cut) & self.alive
        self.obs[:, t], self.action[:, t], self.mask[:, t] = obs, action, self.alive
        self.reward[:, t] = np.where(self.alive, reward, 0.0)
        self.terminated[:, t] = terminated & ended
        self.truncated[:, t] = cut & ~terminated & ended
        if ended.any():
            self.final_obs[ended] = next_obs[ended]
            self.alive &= ~ended

    def episodes(self, policy: Distribution) -> Episodes:
        """The finished record; ``policy`` covers the steps that were taken, the rest is padding."""
        taken = leaves(policy)[0].shape[2]

        def tensor(x: np.ndarray) -> Tensor:
            return torch.from_numpy(x).view(*self._lead, *x.shape[1:])

        action, mask = tensor(self.action), tensor(self.mask)
        log_prob = torch.zeros_like(mask)
        log_prob[:, :, :taken] = policy.log_prob(action[:, :, :taken])
        return Episodes(
            obs=tensor(self.obs),
            action=action,
            reward=tensor(self.reward),
            terminated=tensor(self.terminated),
            truncated=tensor(self.truncated),
            mask=mask,
            log_prob=log_prob * mask,
            final_obs=tensor(self.final_obs),
            advantage=torch.zeros_like(mask),
        )
