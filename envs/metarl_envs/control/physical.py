"""Environments whose physical constants are the task: how they are drawn, and the family around them.

Every constant is drawn around a default by itself, log-uniformly: default · factorᵘ with u uniform in
[−1, 1), so that halving it is as likely as doubling it. Out of distribution the vector of all u is uniform in
the shell 1 < max |u| ≤ 1.5 around the training cube: at least one constant lies outside its training range.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from metarl_envs.base.analytic_family import AnalyticFamily
from metarl_envs.base.arguments import chosen_spec, no_others, positive_int
from metarl_envs.base.formulas import Analytic, Bools, Floats, Refusal, Tasks, flat_features

SHELL, ALLOWED = 1.5, 2.0
"""The largest |u| out of distribution, and in any task: far beyond, acrobots turn a million times a step."""


@dataclass(frozen=True)
class Physics:
    """A spec: an environment of Gymnasium's and the constants that a task changes.

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
    """Return points uniform in the cube (−1, 1)ᵏ by uniform numbers "n k": middles of 2⁵³ parts, never 0."""
    return 2.0 * uniforms - 1.0 + 2.0**-53


def outside(uniforms: Floats) -> Floats:
    """Return points uniform in the shell 1 < max |u| ≤ ``SHELL`` around that cube, by the same numbers "n k".

    A point of the cube is pushed outwards along its ray. The part of the cube within s has volume sᵏ; the
    same part of the shell reaches to r with rᵏ = 1 + (SHELLᵏ − 1) sᵏ.
    """
    cube = inside(uniforms)
    k = cube.shape[1]
    s = np.abs(cube).max(axis=1, keepdims=True)
    r = np.float_power(1.0 + (SHELL**k - 1.0) * np.float_power(s, k), 1.0 / k)
    return np.asarray(cube / s * np.clip(r, np.nextafter(1.0, 2.0), SHELL))


def _scaled(uniforms: Floats, physics: Physics, place: Callable[[Floats], Floats]) -> Tasks:
    """Return tasks whose constants stand where ``place`` puts uniform numbers "n k"."""
    factors = np.float_power(physics.factor, place(uniforms))
    return {name: value * factors[:, i] for i, (name, value) in enumerate(physics.constants.items())}


def _too_far(tasks: Tasks, physics: Physics) -> Iterable[Refusal]:
    for name, value in physics.constants.items():
        low, high = value * physics.factor**-ALLOWED, value * physics.factor**ALLOWED
        bad = (tasks[name] < low) | (tasks[name] > high)
        yield Refusal(name, bad, f"{low:g} to {high:g} (Gymnasium's is {value:g})")


class PhysicalFamily(AnalyticFamily):
    """A family whose tasks are physical constants, ``{name: float64 "n"}``, in Gymnasium's units.

    Args:
        spec: a key of ``specs``; None takes the first.
        horizon: time steps of an episode; None takes Gymnasium's time limit.

    Attributes:
        constants: Gymnasium's value of each constant: the task that is Gymnasium's own environment.

    Raises:
        ValueError: an unknown spec or argument, or a horizon below 1; one line.
    """

    physics: Mapping[str, Physics]

    def __init__(self, spec: str | None = None, *, horizon: int | None = None, **unknown: object) -> None:
        no_others(self.name, unknown, ["horizon"])
        spec = chosen_spec(self.name, spec, self.specs)
        self._physics = physics = self.physics[spec]
        self.constants = dict(physics.constants)
        steps = physics.horizon if horizon is None else horizon
        model = Analytic(
            title=f"{self.name}/{spec}",
            horizon=positive_int(self.name, "horizon", steps),
            observation_space=physics.observation_space,
            action_space=physics.action_space,
            task_shapes=dict.fromkeys(physics.constants, ()),
            task_draws=len(physics.constants),
            task=partial(_scaled, physics=physics, place=inside),
            ood=partial(_scaled, physics=physics, place=outside),
            start_draws=physics.start_draws,
            start=physics.start,
            step=physics.step,
            observe=physics.observe,
            refuse=partial(_too_far, physics=physics),
        )
        super().__init__(spec, model)

    def task_features(self, tasks: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return what an oracle sees: u of each constant, in training from −1 to 1, float32 "n k"."""
        values = np.array(list(self.constants.values()))
        exponents = np.log(flat_features(self.model, tasks) / values) / np.log(self._physics.factor)
        return np.asarray(exponents, dtype=np.float32)
