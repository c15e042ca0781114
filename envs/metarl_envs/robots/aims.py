"""Distributions of tasks for MuJoCo families, and what each task pays for.

Velocities are in metres a second, lengths in metres. Distributions and rewards follow the code released with
Finn, Abbeel & Levine 2017 (cbfinn/maml_rl) and with Rothfuss et al. 2019 (jonasrothfuss/ProMP).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from metarl_envs.base.formulas import Floats, Refusal, Tasks

Pay = Callable[[Floats, Floats, Tasks], Floats]


@dataclass(frozen=True)
class Aim:
    """A distribution of tasks. Rows are treated independently, so that a row's bits do not depend on n.

    Attributes:
        shapes: shape of one task's entry under each key.
        draws: uniform numbers a task.
        train: float64 "n draws" in [0, 1) to tasks.
        pay: (velocity "n d", place "n d", tasks) to float64 "n": the part of the reward that a task decides;
            d is the number of the robot's horizontal coordinates.
        ood: as ``train``, tasks that ``train`` cannot give; None: there are none.
        count: how many tasks there are, if finitely many: ``train`` gives the kth for a number in
            [k / count, (k + 1) / count).
        refuse: what of some tasks cannot be served.
        dynamics: whether tasks are exponents of the engine's parameters; see ``dynamics``.
    """

    shapes: Mapping[str, tuple[int, ...]]
    draws: int
    train: Callable[[Floats], Tasks]
    pay: Pay
    ood: Callable[[Floats], Tasks] | None = None
    count: int | None = None
    refuse: Callable[[Tasks], Iterable[Refusal]] | None = None
    dynamics: bool = False


def velocities(low: float, high: float, beyond: float) -> Aim:
    """Aim at ``{"velocity": "n"}`` uniform in [low, high), out of distribution in (high, beyond].

    Pays minus the distance of the forward velocity to the task's.
    """

    def pay(velocity: Floats, place: Floats, tasks: Tasks) -> Floats:
        return -np.abs(velocity[:, 0] - tasks["velocity"])

    return Aim(
        shapes={"velocity": ()},
        draws=1,
        train=lambda u: {"velocity": low + (high - low) * u[:, 0]},
        pay=pay,
        ood=lambda u: {"velocity": beyond - (beyond - high) * u[:, 0]},
    )


def forward_or_back(coordinates: int, weight: float = 1.0) -> Aim:
    """Aim backward or forward along x; pay ``weight`` times the velocity in the task's direction.

    Tasks are ``{"direction": "n"}`` of −1 or 1 for robots with one horizontal coordinate, and unit vectors
    ``{"direction": "n 2"}`` for those with two.
    """

    def train(u: Floats) -> Tasks:
        sign = np.where(u[:, 0] < 0.5, -1.0, 1.0)
        return {"direction": sign if coordinates == 1 else np.stack([sign, np.zeros_like(sign)], axis=1)}

    def refuse(tasks: Tasks) -> Iterator[Refusal]:
        direction = tasks["direction"].reshape(-1, coordinates)
        bad = (np.abs(direction[:, 0]) != 1.0) | (direction[:, 1:] != 0.0).any(axis=1)
        yield Refusal("direction", bad, "-1 or 1" if coordinates == 1 else "(±1, 0)")

    return Aim(
        shapes={"direction": () if coordinates == 1 else (2,)},
        draws=1,
        train=train,
        pay=_along(weight),
        count=2,
        refuse=refuse,
    )


def headings(weight: float = 1.0) -> Aim:
    """Aim along ``{"direction": "n 2"}``, unit vectors uniform on the circle; pay as ``forward_or_back``."""

    def refuse(tasks: Tasks) -> Iterator[Refusal]:
        square = np.square(tasks["direction"]).sum(axis=1)
        yield Refusal("direction", np.abs(square - 1.0) > 1e-6, "vectors of length 1")

    return Aim(
        shapes={"direction": (2,)},
        draws=1,
        train=lambda u: {"direction": _circle(u[:, 0])},
        pay=_along(weight),
        refuse=refuse,
    )


def square_goals(half: float, beyond: float) -> Aim:
    """Aim at ``{"goal": "n 2"}`` uniform in [−half, half)²; pay minus the L1 distance to the goal.

    Out of distribution: uniform over half < max(|x|, |y|) ≤ beyond.
    """

    def ring(u: Floats) -> Tasks:
        size = np.sqrt(beyond**2 - (beyond**2 - half**2) * u[:, 0])  # the area inside size is 4·size²
        side = np.floor(4.0 * u[:, 1])
        along, across = (2.0 * (4.0 * u[:, 1] - side) - 1.0) * size, np.where(side % 2 == 0, size, -size)
        flat = (side < 2)[:, None]
        return {"goal": np.where(flat, np.stack([along, across], 1), np.stack([across, along], 1))}

    return Aim({"goal": (2,)}, 2, lambda u: {"goal": (2.0 * u - 1.0) * half}, _towards, ood=ring)


def disc_goals(radius: float, beyond: float) -> Aim:
    """Aim at ``{"goal": "n 2"}`` uniform over a disc, out of distribution over the ring up to ``beyond``.

    Pays minus the L1 distance to the goal.
    """

    def train(u: Floats) -> Tasks:
        return {"goal": radius * np.sqrt(u[:, 1:]) * _circle(u[:, 0])}

    def ring(u: Floats) -> Tasks:
        return {"goal": np.sqrt(beyond**2 - (beyond**2 - radius**2) * u[:, 1:]) * _circle(u[:, 0])}

    return Aim({"goal": (2,)}, 2, train, _towards, ood=ring)


def dynamics(sizes: Mapping[str, int], reach: float = 3.0, beyond: float = 3.5) -> Aim:
    """Scale physical parameters by exponents uniform in [−reach, reach); pay the forward velocity.

    Out of distribution every exponent's size is in (reach, beyond]. What they scale, and by which bases, is
    in ``engine.PARAMETERS``; zero stands for Gymnasium's robot.

    Args:
        sizes: how many exponents each of "mass", "inertia", "damping" and "friction" has.
    """
    total, cuts = sum(sizes.values()), np.cumsum(list(sizes.values()))[:-1]

    def split(exponents: Floats) -> Tasks:
        parts = np.split(exponents, cuts, axis=1)
        return {key: part.copy() for key, part in zip(sizes, parts, strict=True)}

    def outside(u: Floats) -> Tasks:
        size = 2.0 * u - 1.0
        return split(np.copysign(beyond - (beyond - reach) * np.abs(size), size))

    def refuse(tasks: Tasks) -> Iterator[Refusal]:
        for key, exponents in tasks.items():
            yield Refusal(key, np.abs(exponents) > 10.0, "exponents from -10 to 10")

    def pay(velocity: Floats, place: Floats, tasks: Tasks) -> Floats:
        return velocity[:, 0].copy()

    return Aim(
        shapes={key: (size,) for key, size in sizes.items()},
        draws=total,
        train=lambda u: split((2.0 * u - 1.0) * reach),
        pay=pay,
        ood=outside,
        refuse=refuse,
        dynamics=True,
    )


def _circle(uniforms: Floats) -> Floats:
    """Return unit vectors "n 2" at angles 2π·"n", one by one: vectorised cosines may round otherwise."""
    angles = (2.0 * math.pi * uniforms).tolist()
    return np.array([(math.cos(angle), math.sin(angle)) for angle in angles]).reshape(-1, 2)


def _along(weight: float) -> Pay:
    def pay(velocity: Floats, place: Floats, tasks: Tasks) -> Floats:
        product = velocity * tasks["direction"].reshape(velocity.shape)
        return weight * (product[:, 0] if product.shape[1] == 1 else product[:, 0] + product[:, 1])

    return pay


def _towards(velocity: Floats, place: Floats, tasks: Tasks) -> Floats:
    distance = np.abs(place - tasks["goal"])
    return -(distance[:, 0] + distance[:, 1])
