"""PPO of Stable-Baselines3 with an agent's network."""

from typing import Any

import torch
from gymnasium import Env
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from metarl.core.errors import RequestError
from metarl.core.models import ACTIVATIONS
from metarl.core.params import Params
from metarl.run.agent.agent import Agent
from metarl.run.sb3.names import check_expressible, names_of, network_options


def ppo_of(
    agent: Agent,
    params: Params | None,
    env: Env[Any, Any] | VecEnv | None = None,
    init_seed: int = 0,
    **options: Any,
) -> PPO:
    """PPO with the agent's network, on the CPU.

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
    check_expressible(agent.config, agent.family)
    family = agent.family
    network = network_options(agent.config) | {"activation_fn": ACTIVATIONS[agent.config.activation]}
    told: dict[str, Any] = {"env": env, "gamma": agent.config.gamma, "device": "cpu"} | options
    told["policy_kwargs"] = network | options.get("policy_kwargs", {})
    if env is not None:
        _check_spaces(agent, env)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init_seed)
        model = PPO("MlpPolicy", _init_setup_model=env is not None, **told)
        if env is None:  # as PPO.load makes a model that has no environment yet
            model.observation_space, model.action_space = family.observation_space, family.action_space
            model.n_envs = 1
            model._setup_model()
    model.set_random_seed(model.seed)  # for the learning to come, which the fork has undone
    if params is not None:
        set_policy(model, params, agent)
    return model


def set_policy(model: PPO, params: Params, agent: Agent) -> None:
    """Give the model the agent's weights, and leave the rest as it is."""
    names = names_of(agent.config, agent.family, agent.module, agent.critic is not None)
    model.policy.load_state_dict(names.to_sb3(params), strict=False)


def _check_spaces(agent: Agent, env: Env[Any, Any] | VecEnv) -> None:
    for name in ("observation_space", "action_space"):
        own, theirs = getattr(agent.family, name), getattr(env, name)
        if own != theirs:
            raise RequestError(f"the environment's {name} is {theirs}, the policy's is {own}")
