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
    start_seeds: Any = [  # Gymnasium's annotation knows one number only, its environments take a list
        seed
        for t in range(m)
        for seed in seeding.seeds(address.seed, "starts", *address.of(t), n=episodes).tolist()
    ]
    noise = None if deterministic else action_noise(env.single_action_space, m, episodes, horizon, address)
    record = Record(env.single_observation_space, env.single_action_space, (m, episodes), horizon)
    policies: list[Distribution] = []
    rows = {name: np.repeat(value, episodes, axis=0) for name, value in tasks.items()}
    record.start(env.reset(seed=start_seeds, options={"task": rows})[0])
    observed = record.by_task(record.obs)
    with torch.no_grad():
        for t in range(horizon):
            policy = act(params, observed[t])
            action = policy.mode() if noise is None else policy.sample(noise[t])
            policies.append(policy)
            flat = action.reshape(m * episodes, *action.shape[2:]).numpy()
            obs, reward, terminated, truncated, _ = env.step(to_action_space(env.action_space, flat))
            record.put(t, flat, reward, terminated, truncated, obs)
            if not record.going.any():
                break
        n = len(policies)
        record.log_prob[:n] = _over_time(policies).log_prob(record.by_task(record.action[:n])).flatten(1)
    return record.episodes()


def collect_in(
    env: gymnasium.Env[Any, Any],
    act: Apply,
    params: Params,
    *,
    episodes: int,
    horizon: int,
    address: Address,
    deterministic: bool = False,
) -> Episodes:
    """``collect`` in one plain environment, which is one task: its episodes run one after another.

    ``params`` has a task axis of length 1, as the result has. An environment that is not done after
    ``horizon`` steps is cut short there.
    """
    start_seeds = seeding.seeds(address.seed, "starts", *address.of(0), n=episodes) >> np.uint64(33)
    noise = None if deterministic else action_noise(env.action_space, 1, episodes, horizon, address)
    record = Record(env.observation_space, env.action_space, (1, episodes), horizon)
    with torch.no_grad():
        for e in range(episodes):
            record.start(env.reset(seed=int(start_seeds[e]))[0], e)
            for t in range(horizon):
                policy = act(params, torch.from_numpy(record.obs[t, None, e : e + 1]))
                action = policy.mode() if noise is None else policy.sample(noise[t, :, e : e + 1])
                record.log_prob[t, e] = policy.log_prob(action)
                taken = action[0, 0].numpy()
                obs, reward, terminated, truncated, _ = env.step(to_action_space(env.action_space, taken))
                record.put(t, taken, reward, terminated, truncated, obs, e)
                if not record.going[e]:
                    break
    return record.episodes()


def action_noise(
    space: gymnasium.Space[Any], m: int, episodes: int, horizon: int, address: Address
) -> Tensor:
    """What turns a policy into actions, "time task episode …": normal, for discrete actions uniform."""

    def of_task(t: int) -> np.ndarray:
        rng = seeding.generator(address.seed, "actions", *address.of(t))
        if isinstance(space, gymnasium.spaces.Discrete):
            return rng.random((episodes, horizon), np.float32)
        return rng.standard_normal((episodes, horizon, *(space.shape or ())), np.float32)

    return torch.from_numpy(np.stack([of_task(t) for t in range(m)])).movedim(2, 0).contiguous()


def to_action_space(space: gymnasium.Space[Any], action: np.ndarray) -> np.ndarray:
    """The action as the environment takes it: cut to a Box's bounds, or counted from a Discrete's start."""
    if isinstance(space, gymnasium.spaces.Discrete | gymnasium.spaces.MultiDiscrete):
        return np.asarray(action + space.start)
    return action.clip(space.low, space.high) if isinstance(space, gymnasium.spaces.Box) else action


def readable(obs: Any) -> np.ndarray:
    """Observations as networks read them: floats in single precision."""
    found = np.asarray(obs)
    return found.astype(np.float32, copy=False) if found.dtype.kind == "f" else found


def _over_time(policies: list[Distribution]) -> Distribution:
    """One distribution whose leaves are "time task episode …" from one for each time step."""
    columns = zip(*(leaves(policy) for policy in policies), strict=True)
    return replace_leaves(policies[0], [torch.stack(column) for column in columns])


class Record:
    """Arrays "time row …" of a collection under way (a row is an episode of a task), and which rows go on.

    What a step gave is put down as it comes; what happened after a row's end is struck out at the end.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        lead: tuple[int, int],
        horizon: int,
    ) -> None:
        obs_shape, action_shape = observation_space.shape, action_space.shape
        assert obs_shape is not None and action_shape is not None, "a Box or Discrete space has a shape"
        discrete = isinstance(action_space, gymnasium.spaces.Discrete)
        steps, self._lead = (horizon, lead[0] * lead[1]), lead
        obs_dtype = readable(np.empty(0, observation_space.dtype)).dtype
        self.obs = np.zeros((horizon + 1, steps[1], *obs_shape), obs_dtype)
        self.action = np.zeros((*steps, *action_shape), np.int64 if discrete else np.float32)
        self.reward, self.log_prob = np.zeros((2, *steps), np.float32)
        self.terminated, self.truncated = np.zeros((2, *steps), bool)
        self.going = np.ones(steps[1], bool)

    def start(self, obs: Any, rows: Any = slice(None)) -> None:
        """Enters the first observations of ``rows``."""
        self.obs[0, rows] = obs

    def put(
        self,
        t: int,
        action: np.ndarray,
        reward: Any,
        terminated: Any,
        truncated: Any,
        next_obs: Any,
        rows: Any = slice(None),
    ) -> None:
        """Enters step ``t`` of ``rows``."""
        self.action[t, rows], self.reward[t, rows], self.obs[t + 1, rows] = action, reward, next_obs
        self.terminated[t, rows], self.truncated[t, rows] = terminated, truncated
        self.going[rows] &= np.logical_not(terminated | truncated)

    def episodes(self) -> Episodes:
        """The finished record, with advantages still to be estimated."""
        self.truncated[-1] = True
        over = np.logical_or.accumulate(self.terminated | self.truncated)
        happened = np.concatenate([np.ones_like(over[:1]), ~over[:-1]])
        mask = self._batch(happened.astype(np.float32))
        final_obs = self.obs[happened.sum(0), np.arange(happened.shape[1])]
        return Episodes(
            obs=self._batch(self.obs[:-1]),
            action=self._batch(self.action),
            reward=self._batch(np.where(happened, self.reward, 0.0)),
            terminated=self._batch(self.terminated & happened),
            truncated=self._batch(self.truncated & happened & ~self.terminated),
            mask=mask,
            log_prob=self._batch(self.log_prob) * mask,
            final_obs=torch.from_numpy(final_obs).view(*self._lead, *final_obs.shape[1:]),
            advantage=torch.zeros_like(mask),
            target=torch.zeros_like(mask),
        )

    def by_task(self, x: np.ndarray) -> Tensor:
        """The same memory, "time row …", as a tensor "time task episode …"."""
        return torch.from_numpy(x).view(len(x), *self._lead, *x.shape[2:])

    def _batch(self, x: np.ndarray) -> Tensor:
        return self.by_task(x).movedim(0, 2).contiguous()
