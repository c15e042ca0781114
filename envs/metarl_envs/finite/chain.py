"""A chain of two states, small enough that every course of an episode can be written down.

All randomness of an episode is in the actions and in the transitions: an episode of h steps can take 2 · 4ʰ⁻¹
courses (actions and the states they were taken in), 8 for h = 2, each with a probability in closed form.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from metarl_envs.base.analytic_family import AnalyticFamily
from metarl_envs.base.arguments import chosen_spec, no_others, positive_int
from metarl_envs.base.formulas import Floats, Refusal, Tasks, read_tasks
from metarl_envs.finite.exact_values import MDP
from metarl_envs.finite.tabular_mdp import start_in_first, tabular_model


def _slippery(tasks: Tasks) -> MDP:
    """P(s′ = a | s, a) = 1 − slip."""
    slip, n = tasks["slip"], len(tasks["slip"])
    transition = np.empty((n, 2, 2, 2))
    transition[:, :, [0, 1], [0, 1]] = (1.0 - slip)[:, None, None]
    transition[:, :, [0, 1], [1, 0]] = slip[:, None, None]
    return MDP(start_in_first(n, 2), transition, tasks["reward"])


def _tasks(uniforms: Floats, least_slip: float) -> Tasks:
    """Draw rewards uniform in [−1, 1), slip uniform in [least_slip, least_slip + 0.5)."""
    return {
        "slip": least_slip + 0.5 * uniforms[:, 0],
        "reward": 2.0 * uniforms[:, 1:].reshape(-1, 2, 2) - 1.0,
    }


def _no_probability(tasks: Tasks) -> list[Refusal]:
    slip = tasks["slip"]
    return [Refusal("slip", (slip < 0.0) | (slip > 1.0), "a probability from 0 to 1")]


class Chain(AnalyticFamily):
    """The family ``chain``: tasks are ``{"slip": float64 "n", "reward": float64 "n 2 2"}``.

    Action a leads to state a, but with probability ``slip`` to the other one, wherever it is taken. It earns
    exactly ``reward[state, a]``. Each episode starts in state 0; the observation is the state, one-hot.

    Args:
        spec: a key of ``specs``; None takes the first.
        horizon: time steps of an episode.

    Raises:
        ValueError: an unknown spec or argument, or a horizon below 1; one line.
    """

    name = "chain"
    specs = {
        "two-state": "two states and two actions, v1: start in state 0, action a leads to state a, with "
        "probability slip, uniform in [0, 0.5), to the other; rewards uniform in [-1, 1) and without noise; "
        "ood: slip uniform in [0.5, 1)"
    }

    def __init__(self, spec: str | None = None, *, horizon: int = 2, **unknown: object) -> None:
        no_others(self.name, unknown, ["horizon"])
        spec = chosen_spec(self.name, spec, self.specs)
        model = tabular_model(
            f"{self.name}/{spec}",
            positive_int(self.name, "horizon", horizon),
            states=2,
            actions=2,
            mdp=_slippery,
            reward_noise=False,
            task_shapes={"slip": (), "reward": (2, 2)},
            task_draws=5,
            task=partial(_tasks, least_slip=0.0),
            ood=partial(_tasks, least_slip=0.5),
            refuse=_no_probability,
        )
        super().__init__(spec, model)

    def mdp(self, tasks: Mapping[str, Any]) -> MDP:
        """Return tasks as finite MDPs: start "n 2", transition "n 2 2 2" and (certain) reward "n 2 2".

        Raises:
            ValueError: tasks that the family does not have; one line.
        """
        return _slippery(read_tasks(self.model, tasks))
