"""What Stable-Baselines3's ``MlpPolicy`` can express, and how the same weights are called there and here.

Without Stable-Baselines3 itself, which only whoever builds its models needs.
"""

import math
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from metarl.core.baselines import value_unit
from metarl.core.critic import PREFIX
from metarl.core.errors import RequestError
from metarl.core.models import Gaussian
from metarl.core.params import Params
from metarl.rollout.family import is_supervised
from metarl.run.agent import Agent

POLICY, VALUE = ("mlp_extractor.policy_net", "action_net"), ("mlp_extractor.value_net", "value_net")


def check_expressible(agent: Agent) -> None:
    """Whether an ``MlpPolicy`` can be the agent's policy.

    Raises:
        RequestError: naming what the policy is and what Stable-Baselines3 takes.
    """
    c, family = agent.config, agent.family
    if is_supervised(family):
        raise _refusal(f"family {c.family!r} gives labelled examples", "families of episodes")
    if c.model != "mlp":
        raise _refusal(f"model {c.model!r}", "model mlp")
    space, actions = family.observation_space, family.action_space
    if isinstance(actions, Discrete | MultiDiscrete) and np.any(actions.start):
        raise _refusal(f"family {c.family!r} with actions in {actions}", "actions that count from 0")
    if isinstance(actions, Box) and not actions.is_bounded("both"):
        raise _refusal(f"family {c.family!r} with actions in {actions}", "bounded actions")
    assert isinstance(space, Box), "which mlp reads"


def to_sb3_names(params: Params, agent: Agent) -> Params:
    """Our parameters as entries of an ``MlpPolicy``'s state; those of the value network only if we have one.

    Its values are in units of return; ours are multiples of ``value_unit``.
    """
    unit, found = _unit(agent), {}
    for ours, theirs in _names(agent).items():
        value = params[ours].detach().cpu().clone()
        found[theirs] = value / unit if theirs.startswith("value_net.") else value
    if "log_std" in found:
        found["log_std"] = found["log_std"].clamp(min=math.log(Gaussian.min_std))
    return found


def from_sb3_names(state: Params, agent: Agent) -> Params:
    """Entries of an ``MlpPolicy``'s state under our names: those that our network has, if they are there.

    What our network lacks of the policy keeps its name, so that it is seen; the value network, which is
    always there, is left out where we have none.
    """
    unit, ours = _unit(agent), {theirs: ours for ours, theirs in _names(agent).items()}
    return {
        ours.get(name, name): value * unit if name.startswith("value_net.") else value
        for name, value in state.items()
        if name in ours or not name.startswith(VALUE)
    }


def ppo_network(agent: Agent) -> dict[str, Any]:
    """The run's network as ``policy_kwargs`` of Stable-Baselines3's PPO, without torch's classes."""
    hidden = list(agent.config.hidden)
    return {
        "net_arch": {"pi": hidden, "vf": hidden},
        "log_std_init": math.log(agent.config.init_std),
    }


def _names(agent: Agent) -> dict[str, str]:
    """Their names by ours, in our order."""
    own = [name for name, _ in agent.module.named_parameters()]
    prefix = "net." if any(name.startswith("net.") for name in own) else ""
    layers = 2 * len(agent.config.hidden)
    names = {"log_std": "log_std"} if "log_std" in own else {}
    names |= _layers(prefix, layers, *POLICY)
    return names if agent.critic is None else names | _layers(PREFIX, layers, *VALUE)


def _layers(prefix: str, last: int, hidden: str, output: str) -> dict[str, str]:
    """An MLP's names: linear layers at 0, 2, …, of which the last stands apart there."""
    places = {**{i: f"{hidden}.{i}" for i in range(0, last, 2)}, last: output}
    return {
        f"{prefix}{i}.{kind}": f"{theirs}.{kind}"
        for i, theirs in places.items()
        for kind in ("weight", "bias")
    }


def _unit(agent: Agent) -> float:
    return value_unit(agent.config.gamma, agent.episodic.horizon)


def _refusal(given: str, allowed: str) -> RequestError:
    return RequestError(f"Stable-Baselines3's MlpPolicy cannot express {given}; allowed: {allowed}")
