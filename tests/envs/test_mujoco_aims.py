"""Distributions of tasks and what they pay: ranges, shapes, what lies outside, rewards by hand."""

import math

import numpy as np
import pytest

from metarl_envs.robots.aims import (
    Aim,
    disc_goals,
    dynamics,
    forward_or_back,
    headings,
    square_goals,
    velocities,
)

N = 20_000


def draws(aim: Aim, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((N, aim.draws))


def edges(aim: Aim) -> np.ndarray:
    """The smallest uniform number, and the largest."""
    return np.array([[0.0] * aim.draws, [1.0 - 2.0**-53] * aim.draws])


def paid(aim: Aim, tasks: dict[str, list], velocity: list, place: list | None = None) -> list[float]:
    rows = {key: np.array(value, dtype=float) for key, value in tasks.items()}
    place = velocity if place is None else place
    return aim.pay(np.array(velocity, dtype=float), np.array(place, dtype=float), rows).tolist()


def test_velocities() -> None:
    aim = velocities(1.0, 3.0, beyond=4.0)
    inside, outside = aim.train(draws(aim))["velocity"], aim.ood(draws(aim))["velocity"]
    assert inside.shape == (N,) and inside.min() >= 1.0 and inside.max() < 3.0
    assert inside.mean() == pytest.approx(2.0, abs=0.02) and inside.var() == pytest.approx(1 / 3, rel=0.03)
    assert outside.min() > 3.0 and outside.max() <= 4.0 and outside.mean() == pytest.approx(3.5, abs=0.02)
    assert aim.train(edges(aim))["velocity"].tolist() == [1.0, pytest.approx(3.0)]
    assert aim.ood(edges(aim))["velocity"][0] == 4.0
    assert paid(aim, {"velocity": [2.0, 2.0]}, [[2.5], [-1.0]]) == [-0.5, -3.0]
    assert paid(aim, {"velocity": [2.0]}, [[2.5, 9.0]]) == [-0.5]  # sideways counts for nothing


def refused(aim: Aim, tasks: dict[str, np.ndarray]) -> list[bool]:
    """Which tasks a family of this aim refuses."""
    return np.any([r.bad.reshape(len(r.bad), -1).any(axis=1) for r in aim.refuse(tasks)], axis=0).tolist()


def test_forward_or_back() -> None:
    line, plane = forward_or_back(1), forward_or_back(2, weight=1.25)
    u = np.array([[0.0], [0.499], [0.5], [0.999]])
    assert line.train(u)["direction"].tolist() == [-1.0, -1.0, 1.0, 1.0]
    assert plane.train(u)["direction"].tolist() == [[-1.0, 0.0]] * 2 + [[1.0, 0.0]] * 2
    assert paid(line, {"direction": [1.0, -1.0]}, [[0.5], [0.5]]) == [0.5, -0.5]
    assert paid(plane, {"direction": [[-1.0, 0.0]]}, [[2.0, 7.0]]) == [-2.5]
    assert refused(line, {"direction": np.array([1.0, 0.5, -1.0])}) == [False, True, False]
    directions = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]])
    assert refused(plane, {"direction": directions}) == [False, True, True, False]


def test_headings() -> None:
    aim = headings()
    directions = aim.train(draws(aim))["direction"]
    assert np.abs(np.linalg.norm(directions, axis=1) - 1.0).max() < 1e-15
    angles = np.sort(np.arctan2(directions[:, 1], directions[:, 0]))
    assert np.abs(angles - np.linspace(-math.pi, math.pi, N)).max() < 0.06  # uniform on the circle
    assert not any(refused(aim, {"direction": directions.astype(np.float32).astype(float)}))
    assert paid(aim, {"direction": [[0.6, 0.8]]}, [[1.0, 2.0]]) == pytest.approx([2.2])


def test_square_goals() -> None:
    aim = square_goals(3.0, beyond=4.0)
    inside, outside = aim.train(draws(aim))["goal"], aim.ood(draws(aim))["goal"]
    assert (
        inside.min() >= -3.0 and inside.max() < 3.0 and inside.var(axis=0) == pytest.approx([3, 3], rel=0.03)
    )
    size = np.abs(outside).max(axis=1)
    assert size.min() > 3.0 and size.max() <= 4.0
    # Uniform over the area 64 − 36 = 28: inside 3.5 lie 49 − 36 of it, the strip x > 3 has 8, a corner has 1.
    assert (size < 3.5).mean() == pytest.approx(13 / 28, abs=0.015)
    for axis in (0, 1):
        for sign in (-1, 1):
            assert (sign * outside[:, axis] > 3.0).mean() == pytest.approx(8 / 28, abs=0.015)
    assert (outside > 3.0).all(axis=1).mean() == pytest.approx(1 / 28, abs=0.01)
    assert paid(aim, {"goal": [[1.0, -2.0]]}, [[0.0, 0.0]], [[0.5, 1.0]]) == [-3.5]


def test_disc_goals() -> None:
    aim = disc_goals(3.0, beyond=4.0)
    inside = np.linalg.norm(aim.train(draws(aim))["goal"], axis=1)
    outside = np.linalg.norm(aim.ood(draws(aim))["goal"], axis=1)
    assert inside.max() < 3.0 and (inside < 1.5).mean() == pytest.approx(0.25, abs=0.01)
    assert outside.min() > 3.0 and outside.max() <= 4.0
    assert (outside < 3.5).mean() == pytest.approx((3.5**2 - 9) / 7, abs=0.015)
    goals = aim.train(draws(aim))["goal"]
    assert np.abs(goals.mean(axis=0)).max() < 0.05 and abs(np.corrcoef(goals.T)[0, 1]) < 0.03


def test_dynamics() -> None:
    aim = dynamics({"mass": 2, "inertia": 6, "damping": 1, "friction": 3})
    assert dict(aim.shapes) == {"mass": (2,), "inertia": (6,), "damping": (1,), "friction": (3,)}
    inside, outside = aim.train(draws(aim)), aim.ood(draws(aim))
    assert {key: value.shape[1:] for key, value in inside.items()} == dict(aim.shapes)
    for value in inside.values():
        assert value.min() >= -3.0 and value.max() < 3.0 and value.std() == pytest.approx(3**0.5, rel=0.03)
    for value in outside.values():
        assert np.abs(value).min() > 3.0 and np.abs(value).max() <= 3.5
        assert (value > 0).mean() == pytest.approx(0.5, abs=0.02)
    whole = np.hstack(list(inside.values()))
    assert np.abs(np.corrcoef(whole.T) - np.eye(12)).max() < 0.04  # drawn per entry
    assert paid(aim, {key: [[0.0] * size[0]] for key, size in aim.shapes.items()}, [[0.7]]) == [0.7]
    wild = {key: np.zeros((2, *size)) for key, size in aim.shapes.items()}
    wild["friction"][1, 2] = -10.5
    assert refused(aim, wild) == [False, True]
    assert [r.key for r in aim.refuse(wild) if r.bad.any()] == ["friction"]


def test_a_rows_bits_do_not_depend_on_the_other_rows() -> None:
    for aim in (
        velocities(0.0, 2.0, 3.0),
        headings(),
        square_goals(3.0, 4.0),
        disc_goals(3.0, 4.0),
        dynamics({"mass": 5}),
    ):
        uniforms = np.random.default_rng(3).random((33, aim.draws))
        for draw in filter(None, (aim.train, aim.ood)):
            many = draw(uniforms)
            for row in range(33):
                one = draw(uniforms[row : row + 1])
                assert all(one[key].tobytes() == many[key][row : row + 1].tobytes() for key in many)
