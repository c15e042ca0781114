"""A point in the plane that has to find a goal it does not see: 2-D navigation and the sparse corners.

Definitions and goals follow the two lineages that published results on them: Finn, Abbeel & Levine 2017
("Model-agnostic meta-learning") and Rothfuss et al. 2019 ("ProMP"). All lengths share one unit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from metarl_envs.base.analytic_family import AnalyticFamily
from metarl_envs.base.arguments import chosen_spec, known_split, no_others, positive_int
from metarl_envs.base.formulas import Analytic, Bools, Floats, Refusal, Tasks

Step = tuple[Floats, Floats, Bools]
Goals = Callable[[int, np.random.Generator], Floats]

CORNERS = np.array([[-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0], [2.0, 2.0]])


def _moved(state: Floats, action: Floats, bound: float, reach: float) -> Floats:
    """Move by actions clipped to ±bound, which stands for a displacement of ±reach."""
    return state + np.minimum(np.maximum(action, -bound), bound) * (reach / bound)


def _distance(offset: Floats) -> Floats:
    """Return the Euclidean norm of offsets "n 2", written out so that rounding does not depend on n."""
    square = offset * offset
    return np.asarray(np.sqrt(square[:, 0] + square[:, 1]))


def _navigation_step(state: Floats, action: Floats, tasks: Tasks, noise: Floats) -> Step:
    """Pay −‖s′ − g‖₂ of the new position; end within 0.01 of the goal in both coordinates."""
    state = _moved(state, action, bound=1.0, reach=0.1)
    offset = state - tasks["goal"]
    near = np.abs(offset) < 0.01
    return state, -_distance(offset), near[:, 0] & near[:, 1]


def _corner_step(state: Floats, action: Floats, tasks: Tasks, noise: Floats) -> Step:
    """Pay ‖s − g‖₂ − ‖s′ − g‖₂ where ‖s′‖₁ ≥ 0.5 and no corner is nearer to s′ than g; else 0."""
    goal = tasks["goal"]
    new = _moved(state, action, bound=10.0, reach=0.2)
    size, towards = np.abs(new), new * goal  # g is a nearest corner where no sign of s′ is opposite to g's
    rewarded = (size[:, 0] + size[:, 1] >= 0.5) & (towards[:, 0] >= 0.0) & (towards[:, 1] >= 0.0)
    progress = _distance(state - goal) - _distance(new - goal)
    return new, np.where(rewarded, progress, 0.0), np.zeros(len(new), dtype=np.bool_)


def _square_tasks(uniforms: Floats) -> Tasks:
    """Draw goals uniform in [−0.5, 0.5)²."""
    return {"goal": uniforms - 0.5}


def _origin(uniforms: Floats) -> Floats:
    return np.zeros((len(uniforms), 2))


def _small_square(uniforms: Floats) -> Floats:
    """Draw starts uniform in [−0.2, 0.2)²."""
    return uniforms * 0.4 - 0.2


def _ring(n: int, rng: np.random.Generator) -> Floats:
    """Draw goals uniform over the ring 0.5 < max(|x|, |y|) ≤ 0.8, which surrounds the training square."""
    u = rng.random((n, 3))
    half = np.sqrt(0.64 - 0.39 * u[:, 0])  # the area inside half is 4·half²; u < 1 keeps half above 0.5
    half = np.maximum(half, np.nextafter(0.5, 1.0))
    along, side = (2.0 * u[:, 1] - 1.0) * half, np.floor(4.0 * u[:, 2])
    across = np.where(side % 2 == 0, half, -half)
    return np.where((side < 2)[:, None], np.stack([along, across], 1), np.stack([across, along], 1))


def _published_goals(n: int, rng: np.random.Generator) -> Floats:
    """Return the goals of Finn et al.'s evaluation (n = 40; more continue the list), whatever rng is."""
    return np.random.RandomState(1).uniform(-0.5, 0.5, (n, 2))


def _corner_tasks(uniforms: Floats) -> Tasks:
    return {"goal": CORNERS[(uniforms[:, 0] * 4.0).astype(np.int64)]}


def _not_corners(tasks: Tasks) -> list[Refusal]:
    return [Refusal("goal", ~(np.abs(tasks["goal"]) == 2.0).all(axis=1), "one of (±2, ±2)")]


def _all_corners(n: int, rng: np.random.Generator) -> Floats:
    """Return the four corners in turn."""
    return CORNERS[np.arange(n) % 4]


def _navigation(horizon: int) -> Analytic:
    return Analytic(
        title="point-goal/finn2017",
        horizon=horizon,
        observation_space=_plane(0.1 * horizon),
        action_space=Box(-1.0, 1.0, (2,), np.float32),
        task_shapes={"goal": (2,)},
        task_draws=2,
        task=_square_tasks,
        start=_origin,
        step=_navigation_step,
        observe=_position,
    )


def _corners(horizon: int) -> Analytic:
    return Analytic(
        title="point-goal/promp",
        horizon=horizon,
        observation_space=_plane(0.2 + 0.2 * horizon),
        action_space=Box(-10.0, 10.0, (2,), np.float32),
        task_shapes={"goal": (2,)},
        task_draws=1,
        task=_corner_tasks,
        start_draws=2,
        start=_small_square,
        step=_corner_step,
        observe=_position,
        refuse=_not_corners,
    )


def _plane(reach: float) -> Box:
    """Return the space of positions within the reach of an episode, rounding included."""
    bound = np.nextafter(np.float32(reach), np.float32(np.inf))
    return Box(-bound, bound, (2,), np.float32)


def _position(state: Floats, tasks: Tasks) -> NDArray[np.float32]:
    return state.astype(np.float32)


@dataclass(frozen=True)
class _Spec:
    """A spec: formulas for a horizon, and the goals of every split but train."""

    text: str
    model: Callable[[int], Analytic]
    splits: Mapping[str, Goals | None]
    num_tasks: int | None = None


_SPECS = {
    "finn2017": _Spec(
        text="2-D navigation, v1: start (0, 0), goal uniform in [-0.5, 0.5]^2, action ±1 is a displacement "
        "of ±0.1, reward minus the distance to the goal, ends within 0.01 of it in x and in y; "
        "test goals are the published ones",
        model=_navigation,
        splits={"train": None, "validation": None, "test": _published_goals, "ood": _ring},
    ),
    "promp": _Spec(
        text="sparse corners, v1: goal one of (±2, ±2), start uniform in [-0.2, 0.2]^2, action ±10 is a "
        "displacement of ±0.2 (the lineage normalises to ±10, ten times finn2017's ±1), no reward within L1 "
        "distance 0.5 of the origin, then the progress towards the goal while it is the nearest corner; "
        "never terminates",
        model=_corners,
        splits={"train": None, "validation": _all_corners, "test": _all_corners},
        num_tasks=4,
    ),
}


class PointGoal(AnalyticFamily):
    """The family ``point-goal``: tasks are ``{"goal": float64 "n 2"}``, observations positions, float32 (2,).

    Args:
        spec: a key of ``specs``; None takes the first.
        horizon: time steps of an episode.

    Raises:
        ValueError: an unknown spec or argument, or a horizon below 1; one line.
    """

    name = "point-goal"
    specs = {key: spec.text for key, spec in _SPECS.items()}

    def __init__(self, spec: str | None = None, *, horizon: int = 100, **unknown: object) -> None:
        no_others(self.name, unknown, ["horizon"])
        spec = chosen_spec(self.name, spec, self.specs)
        self.num_tasks = _SPECS[spec].num_tasks
        super().__init__(spec, _SPECS[spec].model(positive_int(self.name, "horizon", horizon)))

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> Tasks:
        """Draw tasks of a split, ``{"goal": float64 "n 2"}``; the first m are those that ``n=m`` would give.

        Raises:
            ValueError: n below 1, or a split that the spec does not have (promp has no ood).
        """
        n = positive_int(self.model.title, "number of tasks", n)
        splits = _SPECS[self.spec].splits
        goals = splits[known_split(self.model.title, split, splits)]
        if goals is None:
            return self.model.task(rng.random((n, self.model.task_draws)))
        return {"goal": goals(n, rng)}

    def plane(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Return the place of an observation "... o" in a picture: its position "... 2"."""
        return obs[..., :2]

    def marks(self, tasks: Mapping[str, Any]) -> NDArray[Any]:
        """Return the point that a picture of each task marks: its goal, "n 2"."""
        return self.task_features(tasks)
