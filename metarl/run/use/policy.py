"""A policy as Stable-Baselines3's users know it: ``predict`` and ``save``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import safetensors.torch
import torch

from metarl.core.errors import RequestError
from metarl.core.models import Apply
from metarl.core.params import Params, to_device
from metarl.rollout.collector import noise_for, readable, to_action_space
from metarl.run.agent.agent import Agent
from metarl.run.store.files import write_atomic

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnv


class Policy:
    """Parameters with the network that reads them, for one task.

    ``params`` is a dict of tensors on the CPU. Each policy draws its actions from a generator of its own.

    Args:
        noise: the generator, or a seed of one; None takes a seed from the system.
        agent: the agent whose network it is, which ``to_sb3`` needs.
    """

    def __init__(
        self,
        apply: Apply,
        params: Params,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        noise: np.random.Generator | int | None = None,
        agent: Agent | None = None,
    ) -> None:
        self._agent = agent
        self.params = to_device(params, "cpu")
        self.observation_space, self.action_space = observation_space, action_space
        self._apply = apply
        self._rng = np.random.default_rng(noise)

    @classmethod
    def of(cls, agent: Agent, params: Params, noise: np.random.Generator | int | None = None) -> "Policy":
        """Return a policy of an agent, whose network and family it knows."""
        family = agent.episodic
        return cls(agent.apply, params, family.observation_space, family.action_space, noise, agent)

    def seed(self, seed: int) -> "Policy":
        """Draw actions from a seed from now on: two policies of one seed draw alike. Return the policy."""
        self._rng = np.random.default_rng(seed)
        return self

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Return the action for one observation, or one for each row of a batch of them.

        Args:
            observation: shape of the observation space, with or without a leading batch axis.
            state, episode_start: as in Stable-Baselines3, for policies with a memory; this one has none.
            deterministic: the most likely action instead of a random one.

        Returns:
            Actions inside the action space, and ``state`` unchanged.
        """
        shape = self.observation_space.shape or ()
        obs = np.asarray(observation, dtype=self.observation_space.dtype)
        single = obs.shape == shape
        if not single and obs.shape[1:] != shape:
            raise RequestError(f"observation has shape {obs.shape}; allowed: {shape} or (n, {shape})")
        obs = obs[None] if single else obs
        with torch.no_grad():
            policy = self._apply(self.params, torch.from_numpy(readable(obs)))
            action = policy.mode() if deterministic else policy.sample(self._noise(len(obs)))
        chosen = to_action_space(self.action_space, action.numpy())
        return (chosen.squeeze(0) if single else chosen), state

    def save(self, path: str | Path) -> Path:
        """Write the parameters as a safetensors file, which ``--init-from`` reads."""
        return write_atomic(Path(path), safetensors.torch.save(self.params))

    def to_sb3(self, env: "gymnasium.Env[Any, Any] | VecEnv | None" = None, **options: Any) -> "PPO":
        """Return the policy as a PPO model of Stable-Baselines3, on the CPU: it acts alike and learns on.

        Args:
            env: what it is to learn in; None leaves that to ``set_env`` or ``PPO.load(..., env=env)``.
            options: of ``PPO``, in place of its defaults; gamma is the run's.

        Raises:
            RequestError: a policy that Stable-Baselines3 cannot express, or another environment's spaces.
        """
        from metarl.run.sb3.model import ppo_of  # which takes a second

        if self._agent is None:
            raise RequestError("to_sb3 needs a policy of a run: run.policy or run.adapt(...)")
        return ppo_of(self._agent, self.params, env, **options)

    def _noise(self, n: int) -> torch.Tensor:
        shape = (n, *(self.action_space.shape or ()))
        return torch.from_numpy(noise_for(self.action_space, self._rng, shape))
