"""Environments whose physical constants are the task: how they are drawn, and the family around them.

Every constant is drawn around a default by itself, log-uniformly: default · factorᵘ with u uniform in
[−1, 1), so that halving it is as likely as doubling it. Out of distribution the vector of all u is uniform in
the shell 1 < max |u| ≤ 1.5 around the training cube: at least one constant lies outside its training range.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from metarl_envs.analytic import Analytic, Bools, Floats, Refusal, Tasks, draw_tasks, flat_features
from metarl_envs.analytic_envs import AnalyticEnv, AnalyticVectorEnv
from metarl_envs.arguments import chosen_spec, no_others, positive_int

SHELL, ALLOWED = 1.5, 2.0
"""The largest |u| out of distribution, and in any task: far beyond, acrobots turn a million times a step."""


@dataclass(frozen=True)
class Physics:
    """What a spec's name stands for: an environment of Gymnasium's and the constants that a task changes.

    Attributes:
        text: one line for ``specs``.
        constants: Gymnasium's value of each constant of a task, all positive.
        factor: half the width of the training range, on a logarithmic scale.
        horizon: Gymnasium's time limit.
        start: and what follows, as in ``Analytic``.
    """

    text: str
    constants: Mapping[str, float]
    factor: float
    horizon: int
    observation_space: Box
    action_space: Box | Discrete
    start_draws: int
    start: Callable[[Floats], NDArray[Any]]
    step: Callable[[NDArray[Any], NDArray[Any], Tasks, Floats], tuple[NDArray[Any], Floats, Bools]]
    observe: Callable[[NDArray[Any], Tasks], NDArray[Any]]


def inside(uniforms: Floats) -> Floats:
    """Uniform in the cube (−1, 1)ᵏ from uniform numbers "n k": middles of 2⁵³ intervals, hence never 0."""
    return 2.0 * uniforms - 1.0 + 2.0**-53


def outside(uniforms: Floats) -> Floats:
    """Uniform in the shell 1 < max |u| ≤ ``SHELL`` around that cube, from the same numbers "n k".

    A point of the cube is pushed outwards along its ray. The part of the cube within s has volume sᵏ; the
    same part of the shell reaches to r with rᵏ = 1 + (SHELLᵏ − 1) sᵏ.
    """
    cube = inside(uniforms)
    k = cube.shape[1]
    s = np.abs(cube).max(axis=1, keepdims=True)
    r = np.float_power(1.0 + (SHELL**k - 1.0) * np.float_power(s, k), 1.0 / k)
    return np.asarray(cube / s * np.clip(r, np.nextafter(1.0, 2.0), SHELL))


def _scaled(uniforms: Floats, physics: Physics, place: Callable[[Floats], Floats]) -> Tasks:
    """Tasks whose constants stand where ``place`` puts uniform numbers "n k"."""
    factors = np.float_power(physics.factor, place(uniforms))
    return {name: value * factors[:, i] for i, (name, value) in enumerate(physics.constants.items())}


def _too_far(tasks: Tasks, physics: Physics) -> Iterable[Refusal]:
    for name, value in physics.constants.items():
        low, high = value * physics.factor**-ALLOWED, value * physics.factor**ALLOWED
        bad = (tasks[name] < low) | (tasks[name] > high)
        yield Refusal(name, bad, f"{low:g} to {high:g} (Gymnasium's is {value:g})")


class PhysicalFamily:
    """A family whose tasks are physical constants, ``{name: float64 "n"}``; its own class says which.

    Args:
        spec: a key of ``specs``; None takes the first.
        horizon: time steps of an episode; None takes Gymnasium's time limit.

    Attributes:
        constants: Gymnasium's value of each constant: the task that is Gymnasium's own environment.
        model: the formulas behind the environments, for players that need no environment.

    Raises:
        ValueError: an unknown spec or argument, or a horizon below 1; one line.
    """

    name: str
    specs: Mapping[str, str]
    physics: Mapping[str, Physics]
    num_tasks: int | None = None

    def __init__(self, spec: str | None = None, *, horizon: int | None = None, **unknown: object) -> None:
        no_others(self.name, unknown, ["horizon"])
        self.spec = chosen_spec(self.name, spec, self.specs)
        self._physics = own = self.physics[self.spec]
        self.horizon = positive_int(self.name, "horizon", own.horizon if horizon is None else horizon)
        self.constants = dict(own.constants)
        self.observation_space = own.observation_space
        self.action_space = own.action_space
        self.model = Analytic(
            title=f"{self.name}/{self.spec}",
            horizon=self.horizon,
            observation_space=own.observation_space,
            action_space=own.action_space,
            task_shapes=dict.fromkeys(own.constants, ()),
            task_draws=len(own.constants),
            task=partial(_scaled, physics=own, place=inside),
            start_draws=own.start_draws,
            start=own.start,
            step=own.step,
            observe=own.observe,
            refuse=partial(_too_far, physics=own),
        )

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> Tasks:
        """Fresh tasks of a split, ``{name: float64 "n"}``; the first m are those of ``n=m``.

        Raises:
            ValueError: n below 1, or an unknown split.
        """
        return draw_tasks(self.model, partial(_scaled, physics=self._physics, place=outside), n, rng, split)

    def task_features(self, tasks: Mapping[str, Any]) -> NDArray[np.float32]:
        """What an oracle sees: u of each constant, so ±1 is the edge of the training range, float32 "n k"."""
        values = np.array(list(self.constants.values()))
        exponents = np.log(flat_features(self.model, tasks) / values) / np.log(self._physics.factor)
        return np.asarray(exponents, dtype=np.float32)

    def make(self) -> gymnasium.Env[NDArray[Any], Any]:
        """One environment."""
        return AnalyticEnv(self.model)

    def make_vec(self, num_envs: int) -> VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """``num_envs`` environments stepped together."""
        return AnalyticVectorEnv(self.model, num_envs)
