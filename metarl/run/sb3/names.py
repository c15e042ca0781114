"""The policies that Stable-Baselines3's ``MlpPolicy`` can express, and the two names of their weights.

Without Stable-Baselines3 itself, which only whoever builds its models needs.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple, cast

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from torch import nn

from metarl.core.advantages import value_unit
from metarl.core.critic import PREFIX
from metarl.core.errors import RequestError
from metarl.core.models import Gaussian
from metarl.core.params import Params
from metarl.rollout.family import Family, TaskFamily, is_supervised
from metarl.run.config.train_config import TrainConfig

POLICY, VALUE = ("mlp_extractor.policy_net", "action_net"), ("mlp_extractor.value_net", "value_net")


def check_expressible(config: TrainConfig, family: Family) -> None:
    """Refuse a run whose policy no ``MlpPolicy`` can be.

    Raises:
        RequestError: naming what the policy is and what Stable-Baselines3 takes.
    """
    actions, named = family.action_space, f"family {config.family!r}"
    if is_supervised(family):
        policy, allowed = f"{named}, which gives labelled examples", "families of episodes"
    elif config.model != "mlp":
        policy, allowed = f"model {config.model!r}", "model mlp"
    elif isinstance(actions, Discrete | MultiDiscrete) and np.any(actions.start):
        policy, allowed = f"{named} with actions in {actions}", "actions that count from 0"
    elif isinstance(actions, Box) and not actions.is_bounded("both"):
        policy, allowed = f"{named} with actions in {actions}", "bounded actions"
    else:
        return
    raise RequestError(f"Stable-Baselines3's MlpPolicy cannot express {policy}; allowed: {allowed}")


class Names(NamedTuple):
    """The two names of each weight.

    Attributes:
        sb3: an ``MlpPolicy``'s names by ours, in our order; the value network's if we have one.
        unit: what our value network's outputs are multiples of (``value_unit``); an ``MlpPolicy``'s are
            returns.
    """

    sb3: Mapping[str, str]
    unit: float

    def to_sb3(self, params: Params) -> Params:
        """Return our parameters as entries of an ``MlpPolicy``'s state."""
        state = {name: params[ours].detach().cpu().clone() for ours, name in self.sb3.items()}
        state |= {name: x / self.unit for name, x in state.items() if name.startswith("value_net.")}
        if "log_std" in state:
            state["log_std"] = state["log_std"].clamp(min=math.log(Gaussian.min_std))
        return state

    def from_sb3(self, state: Params) -> Params:
        """Return an ``MlpPolicy``'s state under our names. What our policy lacks keeps its name, so that it
        is seen; the value network, which is always there, is left out where we have none.
        """
        ours = {sb3: name for name, sb3 in self.sb3.items()}
        valued = any(name.startswith(PREFIX) for name in self.sb3)
        return {
            ours.get(name, name): x * self.unit if name.startswith("value_net.") else x
            for name, x in state.items()
            if valued or not name.startswith(VALUE)
        }


def names_of(config: TrainConfig, family: Family, module: nn.Module, valued: bool) -> Names:
    """Return the names for a run's network, which can be expressed; ``valued``: with a value network."""
    last, weights = 2 * len(config.hidden), dict(module.named_parameters())
    networks = [("net." if "net.0.weight" in weights else "", *POLICY)]
    if valued:
        networks.append((PREFIX, *VALUE))
    names = {"log_std": "log_std"} if "log_std" in weights else {}
    for prefix, hidden, output in networks:  # linear layers at 0, 2, …, of which the last stands apart there
        for i in range(0, last + 1, 2):
            layer = output if i == last else f"{hidden}.{i}"
            names |= {f"{prefix}{i}.{kind}": f"{layer}.{kind}" for kind in ("weight", "bias")}
    return Names(names, value_unit(config.gamma, cast(TaskFamily, family).horizon))
