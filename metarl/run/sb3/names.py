"""What Stable-Baselines3's ``MlpPolicy`` can express, and how the same weights are called there and here.

Without Stable-Baselines3 itself, which only whoever builds its models needs.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

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
    """Whether an ``MlpPolicy`` can be a run's policy.

    Raises:
        RequestError: naming what the policy is and what Stable-Baselines3 takes.
    """
    if is_supervised(family):
        raise _refusal(f"family {config.family!r}, which gives labelled examples", "families of episodes")
    if config.model != "mlp":
        raise _refusal(f"model {config.model!r}", "model mlp")
    actions = family.action_space
    if isinstance(actions, Discrete | MultiDiscrete) and np.any(actions.start):
        raise _refusal(f"family {config.family!r} with actions in {actions}", "actions that count from 0")
    if isinstance(actions, Box) and not actions.is_bounded("both"):
        raise _refusal(f"family {config.family!r} with actions in {actions}", "bounded actions")


class Names(NamedTuple):
    """The two names of each weight.

    Attributes:
        theirs: an ``MlpPolicy``'s names by ours, in our order; the value network's if we have one.
        unit: what our value network's outputs are multiples of (``value_unit``); theirs are returns.
    """

    theirs: Mapping[str, str]
    unit: float

    def to_sb3(self, params: Params) -> Params:
        """Our parameters as entries of an ``MlpPolicy``'s state."""
        found = {theirs: params[ours].detach().cpu().clone() for ours, theirs in self.theirs.items()}
        found = {name: x / self.unit if name.startswith("value_net.") else x for name, x in found.items()}
        if "log_std" in found:
            found["log_std"] = found["log_std"].clamp(min=math.log(Gaussian.min_std))
        return found

    def from_sb3(self, state: Params) -> Params:
        """An ``MlpPolicy``'s state under our names. What our policy lacks keeps its name, so that it is seen;
        the value network, which is always there, is left out where we have none.
        """
        ours = {theirs: ours for ours, theirs in self.theirs.items()}
        valued = any(name.startswith(PREFIX) for name in self.theirs)
        return {
            ours.get(name, name): x * self.unit if name.startswith("value_net.") else x
            for name, x in state.items()
            if valued or not name.startswith(VALUE)
        }


def names_of(config: TrainConfig, family: Family, module: nn.Module, valued: bool) -> Names:
    """The names for a run's network, which can be expressed, with a value network if it is ``valued``."""
    own = [name for name, _ in module.named_parameters()]
    prefix = "net." if any(name.startswith("net.") for name in own) else ""
    names = {"log_std": "log_std"} if "log_std" in own else {}
    names |= _layers(prefix, 2 * len(config.hidden), *POLICY)
    if valued:
        names |= _layers(PREFIX, 2 * len(config.hidden), *VALUE)
    return Names(names, value_unit(config.gamma, cast(TaskFamily, family).horizon))


def network_options(config: TrainConfig) -> dict[str, Any]:
    """A run's network as ``policy_kwargs`` of Stable-Baselines3, but for the activation, which is a class."""
    hidden = list(config.hidden)
    return {"net_arch": {"pi": hidden, "vf": hidden}, "log_std_init": math.log(config.init_std)}


def _layers(prefix: str, last: int, hidden: str, output: str) -> dict[str, str]:
    """An MLP's names: linear layers at 0, 2, …, of which the last stands apart there."""
    places = {**{i: f"{hidden}.{i}" for i in range(0, last, 2)}, last: output}
    return {
        f"{prefix}{i}.{kind}": f"{theirs}.{kind}"
        for i, theirs in places.items()
        for kind in ("weight", "bias")
    }


def _refusal(given: str, allowed: str) -> RequestError:
    return RequestError(f"Stable-Baselines3's MlpPolicy cannot express {given}; allowed: {allowed}")
