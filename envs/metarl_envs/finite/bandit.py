"""Multi-armed bandits: arms whose mean rewards have to be found out by pulling them.

``bernoulli`` is the bandit of Duan et al. 2016 ("RL²: Fast reinforcement learning via slow reinforcement
learning"); ``gaussian`` is its textbook sister. Rewards have no unit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from metarl_envs.base.analytic_family import AnalyticFamily
from metarl_envs.base.arguments import chosen_spec, no_others, positive_int
from metarl_envs.base.formulas import Analytic, Bools, Floats, Refusal, Tasks
from metarl_envs.base.from_uniforms import normal

Means = Callable[[Floats], Floats]


@dataclass(frozen=True)
class _Spec:
    """A spec: means from uniform numbers, rewards from means "n" and uniform numbers "n"."""

    text: str
    means: Means
    ood_means: Means
    reward: Callable[[Floats, Floats], Floats]
    refuse: Callable[[Tasks], list[Refusal]] | None = None


def _uniform_means(uniforms: Floats) -> Floats:
    return uniforms.copy()


def _rare_means(uniforms: Floats) -> Floats:
    """Return means uniform in [0, 0.2)."""
    return uniforms * 0.2


def _shifted_means(uniforms: Floats) -> Floats:
    """Return normal means with mean 2 and standard deviation 1."""
    return 2.0 + normal(uniforms)


def _paid(mean: Floats, uniforms: Floats) -> Floats:
    """Pay 1 with probability ``mean``, else 0; u < 1 makes a mean of 1 pay always, and of 0 never."""
    return (uniforms < mean).astype(np.float64)


def _noisy(mean: Floats, uniforms: Floats) -> Floats:
    return mean + normal(uniforms)


def _no_probability(tasks: Tasks) -> list[Refusal]:
    mean = tasks["mean"]
    return [Refusal("mean", np.any((mean < 0.0) | (mean > 1.0), axis=1), "probabilities from 0 to 1")]


_SPECS = {
    "bernoulli": _Spec(
        text="k arms that pay 1 or 0, v1: each arm's probability uniform in [0, 1); ood: in [0, 0.2)",
        means=_uniform_means,
        ood_means=_rare_means,
        reward=_paid,
        refuse=_no_probability,
    ),
    "gaussian": _Spec(
        text="k arms that pay normal rewards of standard deviation 1, v1: each arm's mean normal, N(0, 1); "
        "ood: N(2, 1)",
        means=normal,
        ood_means=_shifted_means,
        reward=_noisy,
    ),
}


def _tasks(uniforms: Floats, means: Means) -> Tasks:
    return {"mean": means(uniforms)}


def _nothing(uniforms: Floats) -> NDArray[np.float32]:
    """Return the one state there is, "n 1": it is the observation, a constant 1."""
    return np.ones((len(uniforms), 1), dtype=np.float32)


def _unchanged(state: NDArray[Any], tasks: Tasks) -> NDArray[Any]:
    return state.copy()


def _pull(
    state: NDArray[Any],
    action: NDArray[Any],
    tasks: Tasks,
    noise: Floats,
    reward: Callable[[Floats, Floats], Floats],
) -> tuple[NDArray[Any], Floats, Bools]:
    mean = tasks["mean"][np.arange(len(action)), action]
    return state.copy(), reward(mean, noise[:, 0]), np.zeros(len(action), dtype=np.bool_)


class Bandit(AnalyticFamily):
    """The family ``bandit``: tasks are ``{"mean": float64 "n arms"}``, an action is the number of an arm.

    Args:
        spec: a key of ``specs``; None takes the first.
        arms: number of arms.
        horizon: pulls of an episode.

    Raises:
        ValueError: an unknown spec or argument, fewer than one arm or pull; one line.
    """

    name = "bandit"
    specs = {key: spec.text for key, spec in _SPECS.items()}

    def __init__(
        self, spec: str | None = None, *, arms: int = 5, horizon: int = 10, **unknown: object
    ) -> None:
        no_others(self.name, unknown, ["arms", "horizon"])
        spec = chosen_spec(self.name, spec, self.specs)
        self.arms = positive_int(self.name, "arms", arms)
        formulas = _SPECS[spec]
        model = Analytic(
            title=f"{self.name}/{spec}",
            horizon=positive_int(self.name, "horizon", horizon),
            observation_space=Box(0.0, 1.0, (1,), np.float32),
            action_space=Discrete(self.arms),
            task_shapes={"mean": (self.arms,)},
            task_draws=self.arms,
            task=partial(_tasks, means=formulas.means),
            ood=partial(_tasks, means=formulas.ood_means),
            start=_nothing,
            step=partial(_pull, reward=formulas.reward),
            step_draws=1,
            observe=_unchanged,
            refuse=formulas.refuse,
        )
        super().__init__(spec, model)
