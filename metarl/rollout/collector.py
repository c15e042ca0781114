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
    obs, _ = env.reset(seed=start_seeds, options={"task": rows})
    with torch.no_grad():
        for t in range(horizon):
            policy = act(params, torch.from_numpy(readable(obs)).view(m, episodes, *obs.shape[1:]))
            action = policy.mode() if noise is None else policy.sample(noise[:, :, t])
            policies.append(policy)
            flat = action.reshape(m * episodes, *action.shape[2:]).numpy()
            next_obs, reward, terminated, truncated, _ = env.step(
                to_action_space(env.single_action_space, flat)
            )
            record.put(t, obs, flat, reward, terminated, truncated, next_obs)
            obs = next_obs
            if not record.alive.any():
                break
        policy = _over_time(policies)
        action = torch.from_numpy(record.action).view(m, episodes, *record.action.shape[1:])
        log_prob = torch.zeros(m, episodes, horizon)
        log_prob[:, :, : len(policies)] = policy.log_prob(action[:, :, : len(policies)])
    return record.episodes(log_prob)


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
    log_prob = torch.zeros(1, episodes, horizon)
    with torch.no_grad():
        for e in range(episodes):
            obs, _ = env.reset(seed=int(start_seeds[e]))
            for t in range(horizon):
                policy = act(params, torch.from_numpy(readable(obs))[None, None])
                action = policy.mode() if noise is None else policy.sample(noise[:, e : e + 1, t])
                log_prob[:, e : e + 1, t] = policy.log_prob(action)
                taken = action[0, 0].numpy()
                next_obs, reward, terminated, truncated, _ = env.step(
                    to_action_space(env.action_space, taken)
                )
                record.put(
                    t,
                    obs,
                    taken,
                    reward,
                    terminated,
                    truncated,
                    np.asarray(next_obs)[None],
                    rows=slice(e, e + 1),
                )
                obs = next_obs
                if not record.alive[e]:
                    break
    return record.episodes(log_prob)


def action_noise(
    space: gymnasium.Space[Any], m: int, episodes: int, horizon: int, address: Address
) -> Tensor:
    """What turns a policy into actions, "task episode time …": normal, for discrete actions uniform."""

    def of_task(t: int) -> np.ndarray:
        rng = seeding.generator(address.seed, "actions", *address.of(t))
        if isinstance(space, gymnasium.spaces.Discrete):
            return rng.random((episodes, horizon), np.float32)
        return rng.standard_normal((episodes, horizon, *(space.shape or ())), np.float32)

    return torch.from_numpy(np.stack([of_task(t) for t in range(m)]))


def to_action_space(space: gymnasium.Space[Any], action: np.ndarray) -> np.ndarray:
    """The action as the environment takes it: cut to a Box's bounds, or counted from a Discrete's start."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return np.asarray(action + space.start)
    return action.clip(space.low, space.high) if isinstance(space, gymnasium.spaces.Box) else action


def readable(obs: Any) -> np.ndarray:
    """Observations as networks read them: floats in single precision."""
    found = np.asarray(obs)
    return found.astype(np.float32, copy=False) if found.dtype.kind == "f" else found


def _over_time(policies: list[Distribution]) -> Distribution:
    """One distribution whose leaves are "task episode time …" from one for each time step."""
    columns = zip(*(leaves(policy) for policy in policies), strict=True)
    return replace_leaves(policies[0], [torch.stack(column, dim=2) for column in columns])


class Record:
    """Arrays of a collection under way, rows (task times episode) first, and which rows still go on."""

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        lead: tuple[int, int],
        horizon: int,
    ) -> None:
        def array(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            return np.zeros((lead[0] * lead[1], *shape), dtype)

        obs_shape, action_shape = observation_space.shape, action_space.shape
        assert obs_shape is not None and action_shape is not None, "a Box or Discrete space has a shape"
        discrete = isinstance(action_space, gymnasium.spaces.Discrete)
        self._lead, self._horizon = lead, horizon
        obs_dtype = readable(np.empty(0, observation_space.dtype)).dtype
        self.obs = array((horizon, *obs_shape), obs_dtype)
        self.action = array((horizon, *action_shape), np.int64 if discrete else np.float32)
        self.reward = array((horizon,), np.float32)
        self.terminated, self.truncated = array((horizon,), bool), array((horizon,), bool)
        self.mask = array((horizon,), np.float32)
        self.final_obs = array(obs_shape, obs_dtype)
        self.alive = array((), bool) | True

    def put(
        self,
        t: int,
        obs: np.ndarray,
        action: np.ndarray,
        reward: Any,
        terminated: Any,
        truncated: Any,
        next_obs: np.ndarray,
        rows: Any = slice(None),
    ) -> None:
        """Enters step ``t`` of ``rows``; one that had ended before leaves no reward, no flag and no mask."""
        alive = self.alive[rows]
        cut = truncated | (t == self._horizon - 1)
        ended = (terminated | cut) & alive
        self.obs[rows, t], self.action[rows, t], self.mask[rows, t] = obs, action, alive
        self.reward[rows, t] = np.where(alive, reward, 0.0)
        self.terminated[rows, t] = terminated & ended
        self.truncated[rows, t] = cut & np.logical_not(terminated) & ended
        if np.any(ended):
            self.final_obs[rows][ended] = np.asarray(next_obs)[ended]
            self.alive[rows] = alive & ~ended

    def episodes(self, log_prob: Tensor) -> Episodes:
        """The finished record, with advantages still to be estimated; ``log_prob`` is "task episode time"."""

        def tensor(x: np.ndarray) -> Tensor:
            return torch.from_numpy(x).view(*self._lead, *x.shape[1:])

        mask = tensor(self.mask)
        return Episodes(
            obs=tensor(self.obs),
            action=tensor(self.action),
            reward=tensor(self.reward),
            terminated=tensor(self.terminated),
            truncated=tensor(self.truncated),
            mask=mask,
            log_prob=log_prob * mask,
            final_obs=tensor(self.final_obs),
            advantage=torch.zeros_like(mask),
        )
