"""The collector: all episodes of all tasks step together in one vector environment, on the CPU."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.batch import Episodes
from metarl.core.distributions import Distribution
from metarl.core.models import Apply
from metarl.core.params import Params, leaves, replace_leaves
from metarl.rollout import seeding
from metarl.rollout.checked import Checked
from metarl.rollout.seeding import Address

Tasks = dict[str, np.ndarray]


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
    title: str = "environment",
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
        title: what messages about the environment begin with, such as ``family.title_of(family)``.

    Returns:
        Episodes with leading axes task, episode, time and zero advantages. Start states and action noise are
        drawn per task from ``address``; they do not depend on which other tasks are in the batch.

    Raises:
        EnvironmentFailed, Diverged: what the environment did, or a policy's action; see ``Checked``.
    """
    m = len(next(iter(tasks.values())))
    each = seeding.seeds_of_each(address.seed, "starts", *address.shared, last=address.last(m), n=episodes)
    start_seeds: Any = each.ravel().tolist()  # Gymnasium's annotation knows one number only
    noise = None if deterministic else action_noise(env.single_action_space, m, episodes, horizon, address)
    record = _Record(env.single_observation_space, env.single_action_space, (m, episodes), horizon)
    policies: list[Distribution] = []
    checked = Checked(env, tasks, episodes, title, address.first_task)
    obs = record.start(checked.reset(start_seeds))
    with torch.no_grad():
        for t in range(horizon):
            policy = act(params, torch.from_numpy(obs).view(m, episodes, *obs.shape[1:]))
            action = policy.mode() if noise is None else policy.sample(noise[t])
            flat = action.reshape(m * episodes, *action.shape[2:]).numpy()
            taken = to_action_space(env.single_action_space, flat)
            found, reward, terminated, truncated, info = checked.step(flat, taken, record.going)
            record.note(info)
            obs = record.put(t, flat, reward, terminated, truncated, found)
            policies.append(policy)
            over = not record.going.any()
            if over or len(policies) == BLOCK or t == horizon - 1:
                record.add_log_probs(t + 1, policies)
                policies = []
            if over:
                break
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
    record = _Record(env.observation_space, env.action_space, (1, episodes), horizon)
    with torch.no_grad():
        for e in range(episodes):
            row = slice(e, e + 1)
            obs = record.start(np.asarray(env.reset(seed=int(start_seeds[e]))[0])[None], row)
            for t in range(horizon):
                policy = act(params, torch.from_numpy(obs)[None])
                action = policy.mode() if noise is None else policy.sample(noise[t, :, row])
                record.log_prob[e, t] = policy.log_prob(action)
                taken = action[0, 0].numpy()
                found, reward, terminated, truncated, info = env.step(
                    to_action_space(env.action_space, taken)
                )
                record.note(info, row)
                ends = np.array([terminated]), np.array([truncated])
                obs = record.put(t, taken[None], reward, *ends, np.asarray(found)[None], row)
                if not record.going[e]:
                    break
    return record.episodes()


def action_noise(
    space: gymnasium.Space[Any], m: int, episodes: int, horizon: int, address: Address
) -> Tensor:
    """Draw the noise of all actions, "time task episode …": ``noise_for`` each task's generator."""
    noise = np.empty((m, episodes, horizon, *(space.shape or ())), np.float32)
    each = seeding.generators(address.seed, "actions", *address.shared, last=address.last(m))
    for task, rng in zip(noise, each, strict=True):
        task[...] = noise_for(space, rng, task.shape)
    return torch.from_numpy(noise).movedim(2, 0)


def noise_for(
    space: gymnasium.Space[Any], rng: np.random.Generator, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Random numbers by which policies draw: uniform for choices, normal for amounts."""
    draw = rng.random if chooses(space) else rng.standard_normal
    return draw(shape, np.float32)


def chooses(space: gymnasium.Space[Any]) -> bool:
    """Return whether actions are choices, whole numbers, and not amounts."""
    return isinstance(space, gymnasium.spaces.Discrete | gymnasium.spaces.MultiDiscrete)


def possibilities(space: gymnasium.Space[Any]) -> list[int]:
    """Among how many each component of an action is a choice; none for amounts."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return [int(space.n)]
    return space.nvec.flatten().tolist() if isinstance(space, gymnasium.spaces.MultiDiscrete) else []


def to_action_space(space: gymnasium.Space[Any], action: np.ndarray) -> np.ndarray:
    """The action as the environment takes it: cut to a Box's bounds, or counted from where a Discrete or
    MultiDiscrete starts. ``space`` is that of one environment: the batch of a MultiDiscrete is a Box.
    """
    if isinstance(space, gymnasium.spaces.Discrete | gymnasium.spaces.MultiDiscrete):
        return np.asarray(action + space.start)
    return action.clip(space.low, space.high) if isinstance(space, gymnasium.spaces.Box) else action


def readable(obs: Any) -> np.ndarray:
    """Observations as networks read them: floats in single precision."""
    found = np.asarray(obs)
    return found.astype(np.float32, copy=False) if found.dtype.kind == "f" else found


# Time steps whose log-probabilities are worked out together: enough to be quick, few enough to take no room.
BLOCK = 16


class _Record:
    """Arrays "row time …" of a collection under way (a row is an episode of a task), and which rows go on.

    What a step gave is put down as it comes; what happened after a row's end is struck out at the end. The
    finished episodes are these arrays and no copies of them, so that a collection takes little more room than
    what it returns.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        lead: tuple[int, int],
        horizon: int,
    ) -> None:
        obs_shape, action_shape = observation_space.shape, action_space.shape
        assert obs_shape is not None and action_shape is not None, (
            "Box, Discrete and MultiDiscrete have a shape"
        )
        steps, self._lead = (lead[0] * lead[1], horizon), lead
        obs_dtype = readable(np.empty(0, observation_space.dtype)).dtype
        self.obs = np.zeros((*steps, *obs_shape), obs_dtype)
        self.final_obs = np.zeros((steps[0], *obs_shape), obs_dtype)
        self.action = np.zeros((*steps, *action_shape), np.int64 if chooses(action_space) else np.float32)
        self.reward, self.log_prob = np.zeros((2, *steps), np.float32)
        self.terminated, self.truncated = np.zeros((2, *steps), bool)
        self.success: np.ndarray | None = None  # float "row", once an environment speaks of it
        self.going = np.ones(steps[0], bool)

    def start(self, obs: Any, rows: slice = slice(None)) -> np.ndarray:
        """Enters the first observations of ``rows``, and returns them as they are put down."""
        found = self._as_kept(obs)
        self.obs[rows, 0] = self.final_obs[rows] = found
        return found

    def note(self, info: Mapping[str, Any], rows: slice = slice(None)) -> None:
        """Enters a step's info["success"] (whether, or above 0), if there is one, of rows that go on."""
        if "success" not in info:
            return
        if self.success is None:
            self.success = np.zeros(len(self.going), np.float32)
        self.success[rows][self.going[rows] & (np.asarray(info["success"]) > 0)] = 1.0

    def put(
        self,
        t: int,
        action: np.ndarray,
        reward: Any,
        terminated: Any,
        truncated: Any,
        next_obs: Any,
        rows: slice = slice(None),
    ) -> np.ndarray:
        """Enters step ``t`` of ``rows``, and returns the observations that follow as they are put down."""
        found = self._as_kept(next_obs)
        self.action[rows, t], self.reward[rows, t] = action, reward
        self.terminated[rows, t], self.truncated[rows, t] = terminated, truncated
        going = self.going[rows].reshape(-1, *(1,) * (found.ndim - 1))
        np.copyto(self.final_obs[rows], found, where=going)
        if t + 1 < self.obs.shape[1]:
            self.obs[rows, t + 1] = found
        self.going[rows] &= np.logical_not(terminated | truncated)
        return found

    def add_log_probs(self, end: int, policies: list[Distribution]) -> None:
        """Enter the log-probabilities of the last actions before ``end``, by the policy of each time step."""
        steps = slice(end - len(policies), end)
        columns = zip(*(leaves(policy) for policy in policies), strict=True)
        over_time = replace_leaves(policies[0], [torch.stack(column, 2) for column in columns])
        found: Tensor = over_time.log_prob(self._by_task(self.action[:, steps]))
        self.log_prob[:, steps] = found.flatten(0, 1)

    def episodes(self) -> Episodes:
        """The finished record, with advantages still to be estimated."""
        self.truncated[:, -1] = True
        over = np.logical_or.accumulate(self.terminated | self.truncated, axis=1)
        happened = np.concatenate([np.ones_like(over[:, :1]), ~over[:, :-1]], axis=1)
        self.truncated &= happened & ~self.terminated
        self.terminated &= happened
        self.reward[~happened] = 0.0
        self.log_prob[~happened] = 0.0
        mask = self._by_task(happened.astype(np.float32))
        return Episodes(
            obs=self._by_task(self.obs),
            action=self._by_task(self.action),
            reward=self._by_task(self.reward),
            terminated=self._by_task(self.terminated),
            truncated=self._by_task(self.truncated),
            mask=mask,
            log_prob=self._by_task(self.log_prob),
            final_obs=self._by_task(self.final_obs),
            advantage=torch.zeros_like(mask),
            target=torch.zeros_like(mask),
            success=None if self.success is None else self._by_task(self.success),
        )

    def _as_kept(self, obs: Any) -> np.ndarray:
        """Observations in the record's numbers, as torch takes them."""
        found = np.asarray(obs)
        if found.dtype == self.obs.dtype and found.flags.carray:
            return found  # np.require would take its time to find out
        return np.require(readable(found), self.obs.dtype, ["C", "W"])

    def _by_task(self, x: np.ndarray) -> Tensor:
        """The same memory, "row …", as a tensor "task episode …"."""
        rows: Tensor = torch.from_numpy(x)
        return rows.view(*self._lead, *x.shape[1:])
