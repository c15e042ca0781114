"""Adapted networks as users hold them: ``predict`` and ``save``, as Stable-Baselines3's users know them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from metarl.core.errors import RequestError
from metarl.core.models import Apply
from metarl.core.params import Params, to_device
from metarl.rollout.collector import noise_for, readable, to_action_space
from metarl.run.agent.agent import Agent
from metarl.run.store.files import write_atomic

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnv

Space = gymnasium.Space[Any]


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
        observation_space: Space,
        action_space: Space,
        noise: np.random.Generator | int | None = None,
        agent: Agent | None = None,
    ) -> None:
        self._apply, self._agent = apply, agent
        self.params = to_device(params, "cpu")
        self.observation_space, self.action_space = observation_space, action_space
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
        obs, single = _batched(
            "observation", observation, self.observation_space, self.observation_space.dtype
        )
        with torch.no_grad():
            policy = self._apply(self.params, torch.from_numpy(readable(obs)))
            action = policy.mode() if deterministic else policy.sample(self._noise(len(obs)))
        actions = to_action_space(self.action_space, action.numpy())
        return (actions.squeeze(0) if single else actions), state

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
        from metarl.run.sb3.ppo import ppo_of  # which takes a second

        if self._agent is None:
            raise RequestError("to_sb3 needs a policy of a run: run.policy or run.adapt(...)")
        return ppo_of(self._agent, self.params, env, **options)

    def _noise(self, n: int) -> Tensor:
        shape = (n, *(self.action_space.shape or ()))
        return torch.from_numpy(noise_for(self.action_space, self._rng, shape))


class Predictor:
    """Adapted ``params`` of one task and what they say: ``outputs`` maps x "shot …" to outputs "shot …".

    A network with batch normalisation normalises as the run's ``statistics`` say; with ``batch`` a prediction
    depends on the others of the same call.
    """

    def __init__(
        self,
        outputs: Callable[[Tensor], Tensor],
        params: Params,
        observation_space: Space,
        action_space: Space,
    ) -> None:
        self.params = to_device(params, "cpu")
        self.observation_space, self.action_space = observation_space, action_space
        self._outputs = outputs

    def predict(self, x: Any) -> np.ndarray:
        """Return the value or the label of one example, or of each row of a batch of them.

        Raises:
            RequestError: examples of another shape.
        """
        rows, single = _batched("x", x, self.observation_space, np.float32)
        outputs = self._outputs(torch.from_numpy(rows)).cpu()
        classifies = isinstance(self.action_space, gymnasium.spaces.Discrete)
        answers: np.ndarray = (outputs.argmax(-1) if classifies else outputs).numpy()
        return np.asarray(answers[0]) if single else answers

    def save(self, path: str | Path) -> Path:
        """Write the parameters as a safetensors file, which ``--init-from`` reads."""
        return write_atomic(Path(path), safetensors.torch.save(self.params))


def _batched(name: str, values: Any, space: Space, dtype: Any) -> tuple[np.ndarray, bool]:
    """Return values with a batch axis, and whether they were of one observation."""
    shape, rows = space.shape or (), np.asarray(values, dtype)
    single = rows.shape == shape
    if not single and rows.shape[1:] != shape:
        raise RequestError(f"{name} has shape {rows.shape}; allowed: {shape} or (n, {shape})")
    return (rows[None] if single else rows), single
