"""PPO of Stable-Baselines3 with an agent's network, trained on a family's tasks or on others' episodes."""

import math
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import torch
from gymnasium import Env
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from metarl.core.batch import Episodes
from metarl.core.errors import RequestError
from metarl.core.models import ACTIVATIONS
from metarl.core.params import Params
from metarl.run.agent.agent import Agent
from metarl.run.log.progress import Progress
from metarl.run.sb3.names import check_expressible, names_of
from metarl.run.sb3.vec_env import TaskVecEnv

MINIBATCHES = 32  # of a rollout, at most; all else is Stable-Baselines3's default


def ppo_of(
    agent: Agent,
    params: Params | None,
    env: Env[Any, Any] | VecEnv | None = None,
    init_seed: int = 0,
    **options: Any,
) -> PPO:
    """Return PPO with the agent's network, on the CPU.

    Args:
        params: of one policy, without a task axis; None for Stable-Baselines3's own initialisation. A value
            network that is not among them starts as Stable-Baselines3 draws it from ``init_seed``.
        env: what the model is to learn in; None leaves that to ``set_env`` or to ``PPO.load(..., env=env)``.
        options: of ``PPO``, in place of its defaults; gamma is the run's, and so is the network, beside which
            ``policy_kwargs`` may say other things. With ``seed`` PPO seeds the process's generators, as it
            always does, and ``init_seed`` counts for nothing; without it they stay as they are.

    Raises:
        RequestError: a policy that Stable-Baselines3 cannot express, or an environment with other spaces;
            both sides are named.
    """
    c, family = agent.config, agent.family
    check_expressible(c, family)
    for name in ("observation_space", "action_space") if env is not None else ():
        of_policy, of_env = getattr(family, name), getattr(env, name)
        if of_policy != of_env:
            raise RequestError(f"the environment's {name} is {of_env}, the policy's is {of_policy}")
    network = {
        "net_arch": {"pi": list(c.hidden), "vf": list(c.hidden)},
        "log_std_init": math.log(c.init_std),
        "activation_fn": ACTIVATIONS[c.activation],
    }
    arguments: dict[str, Any] = {"env": env, "gamma": c.gamma, "device": "cpu"} | options
    arguments["policy_kwargs"] = network | options.get("policy_kwargs", {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init_seed)
        model = PPO("MlpPolicy", _init_setup_model=env is not None, **arguments)
        if env is None:  # as PPO.load makes a model that has no environment yet
            model.observation_space, model.action_space = family.observation_space, family.action_space
            model.n_envs = 1
            model._setup_model()
    model.set_random_seed(model.seed)  # for the learning to come, which the fork has undone
    if params is not None:
        names = names_of(c, family, agent.module, agent.critic is not None)
        model.policy.load_state_dict(names.to_sb3(params), strict=False)
    return model


def train_on_tasks(agent: Agent, env_steps: int, seed: int, about: str = "") -> PPO:
    """Train PPO on fresh training tasks, one an episode, for at least ``env_steps`` environment steps.

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
        model.learn(rollouts * size, callback=_Rollouts(progress))
    return model


def learn_from(model: PPO, batch: Episodes) -> None:
    """Update once on the episodes "episode time" of one task, as PPO does after a rollout of just these.

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
    columns: tuple[Any, ...] = (
        *(x.numpy() for x in (obs, action, reward[happened], starts[happened])),
        values,
        log_prob,
    )
    for i in range(n):
        buffer.add(*(column[i : i + 1] for column in columns))
    buffer.compute_returns_and_advantage(torch.zeros(1, 1), np.ones(1, np.bool_))
    model.rollout_buffer = buffer
    model.set_logger(_silent())
    model.train()


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Seed the global generators, from which Stable-Baselines3 draws, and put them back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002, the one that it uses
    with torch.random.fork_rng(devices=[]):
        try:
            set_random_seed(seed % 2**32)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def _silent() -> Logger:
    return Logger(folder=None, output_formats=[])


class _Rollouts(BaseCallback):
    """Show each finished rollout."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress, self._finished = progress, 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._finished += 1
        self._progress.update(self._finished, {"env_steps": self.num_timesteps})
