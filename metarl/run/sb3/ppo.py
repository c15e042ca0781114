"""Training PPO of Stable-Baselines3 on a family's tasks, and on episodes that somebody else collected."""

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import set_random_seed

from metarl.core.batch import Episodes
from metarl.run.agent.agent import Agent
from metarl.run.log.progress import Progress
from metarl.run.sb3.model import ppo_of
from metarl.run.sb3.vec_env import TaskVecEnv

MINIBATCHES = 32  # of a rollout, at most; all else is Stable-Baselines3's default


def train_on_tasks(agent: Agent, env_steps: int, seed: int, about: str = "") -> PPO:
    """PPO on fresh training tasks, one an episode, for at least ``env_steps`` environment steps.

    A rollout has as many rows as a meta-batch has episodes, each of one episode's length. Of the network
    the run says hidden layers, activation and first standard deviation; Stable-Baselines3 draws the weights.
    """
    c, horizon = agent.config, agent.episodic.horizon
    rows = c.tasks * c.episodes
    size = rows * horizon
    # Each has two steps at least, by whose spread advantages are divided.
    batch = size // next((n for n in range(min(MINIBATCHES, size // 2), 0, -1) if size % n == 0), 1)
    rollouts = -(-env_steps // size)
    with (
        own_randomness(seed),
        closing(TaskVecEnv(agent.episodic, rows, seed=seed)) as env,
        Progress(rollouts, description=about, unit="rollout") as progress,
    ):
        model = ppo_of(agent, None, env, n_steps=horizon, batch_size=batch, init_seed=seed)
        model.set_logger(_silent())
        model.learn(rollouts * size, callback=_Told(progress))
    return model


def learn_from(model: PPO, batch: Episodes) -> None:
    """One update on the episodes "episode time" of one task: what PPO does after a rollout of just these.

    The model's own rollouts have a fixed number of steps, whereas episodes may end early.
    """
    happened = batch.mask.bool()
    obs, action = batch.obs[happened], batch.action[happened]
    n, policy = len(obs), model.policy
    with torch.no_grad():
        values, log_prob, _ = policy.evaluate_actions(obs, action)
        final_value = policy.predict_values(batch.final_obs)
    # An episode that time cut short goes on being worth what its last observation is.
    reward = batch.reward + model.gamma * batch.truncated * final_value
    starts = torch.zeros_like(batch.mask)
    starts[:, 0] = 1
    buffer = RolloutBuffer(
        n, model.observation_space, model.action_space, "cpu", model.gae_lambda, model.gamma, n_envs=1
    )
    columns = obs.numpy(), action.numpy(), reward[happened].numpy(), starts[happened].numpy()
    for i in range(n):
        seen, done, gained, begins = (column[i : i + 1] for column in columns)
        buffer.add(seen, done, gained, begins, values[i], log_prob[i : i + 1])
    buffer.compute_returns_and_advantage(torch.zeros(1, 1), np.ones(1, np.bool_))
    model.rollout_buffer = buffer
    model.set_logger(_silent())
    model.train()


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Stable-Baselines3 draws from the global generators: seeded here, and afterwards as they were."""
    before = random.getstate(), np.random.get_state()  # noqa: NPY002, the one that it uses
    with torch.random.fork_rng(devices=[]):
        try:
            set_random_seed(seed % 2**32)
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002


def _silent() -> Logger:
    return Logger(folder=None, output_formats=[])


class _Told(BaseCallback):
    """Shows each finished rollout."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress, self._finished = progress, 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._finished += 1
        self._progress.update(self._finished, {"env_steps": self.num_timesteps})
