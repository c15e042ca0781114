"""Families for tests: episodes that end early (``tiny_families:Corridor``, ``tiny_families:Field``,
``tiny_families:Crane``) or are measured by success (``tiny_families:Bells``), observations that are images
(``tiny_families:Spot``), and few-shot classes that are points in the plane (``tiny_families:Blobs``) or
images (``tiny_families:Patches``).
"""

import functools
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from numpy.typing import NDArray

from metarl_envs.base.analytic_family import AnalyticFamily
from metarl_envs.base.arguments import known_split
from metarl_envs.base.formulas import Analytic, Bools, Floats, Tasks
from metarl_envs.few_shot.classification import SIZE, FewShot, ImageClasses

Step = tuple[Floats, Floats, Bools]


class _Tiny(AnalyticFamily):
    """What the families below share: all but their formulas."""

    specs = {"random": "starts drawn from the seed", "fixed": "every episode starts alike"}

    def __init__(self, spec: str | None = None, *, horizon: int = 12, **arguments: Any) -> None:
        self.spec, self.horizon = spec or "random", horizon
        super().__init__(self.spec, self._formulas(**arguments))

    def _formulas(self) -> Analytic:
        raise NotImplementedError


class Corridor(_Tiny):
    """Discrete: left, stay, right (numbered from ``first``) on a line that ends at ±1; one side pays."""

    name = "corridor"

    def _formulas(self, first: int = 0) -> Analytic:
        def step(state: Floats, action: NDArray[np.int64], tasks: Tasks, noise: Floats) -> Step:
            new = state + (action[:, None] - (first + 1)) * 0.25 + (noise - 0.5) * 0.1
            return new, tasks["side"] * new[:, 0], np.abs(new[:, 0]) >= 1.0

        return Analytic(
            title="corridor",
            horizon=self.horizon,
            observation_space=Box(-2.0, 2.0, (1,), np.float32),
            action_space=Discrete(3, start=first),
            task_shapes={"side": ()},
            task_draws=1,
            task=lambda u: {"side": np.where(u[:, 0] < 0.5, -1.0, 1.0)},
            start_draws=1,
            start=(lambda u: u - 0.5) if self.spec == "random" else np.zeros_like,
            step_draws=1,
            step=step,
            observe=lambda state, tasks: state.astype(np.float32),
        )


class Field(_Tiny):
    """Continuous: moves of at most ±0.5 in the plane towards a goal, the end of all at x ≥ 1."""

    name = "field"

    def _formulas(self) -> Analytic:
        def step(state: Floats, action: Floats, tasks: Tasks, noise: Floats) -> Step:
            new = state + np.clip(action, -0.5, 0.5)
            return new, -np.abs(new - tasks["goal"]).sum(1), new[:, 0] >= 1.0

        return _towards_goal(self, Box(-0.5, 0.5, (2,), np.float32), step)


def _towards_goal(family: _Tiny, actions: Any, step: Any) -> Analytic:
    """In the plane, which is observed, with a goal that is not; starts at random or at 0."""
    return Analytic(
        title=family.name,
        horizon=family.horizon,
        observation_space=Box(-20.0, 20.0, (2,), np.float32),
        action_space=actions,
        task_shapes={"goal": (2,)},
        task_draws=2,
        task=lambda u: {"goal": u - 0.5},
        start_draws=2,
        start=(lambda u: u - 0.5) if family.spec == "random" else np.zeros_like,
        step=step,
        observe=lambda state, tasks: state.astype(np.float32),
    )


STRIDE, CENTRE = np.array([0.75, 0.25]), np.array([0.75, 0.375])


class Crane(_Tiny):
    """MultiDiscrete: one of three moves across and one of four up or down (both numbered from ``first``)
    towards a goal, the end of all at |x| ≥ 1.
    """

    name = "crane"

    def _formulas(self, first: int = 0) -> Analytic:
        def step(state: Floats, action: NDArray[np.int64], tasks: Tasks, noise: Floats) -> Step:
            new = state + (action - first) * STRIDE - CENTRE
            return new, -np.abs(new - tasks["goal"]).sum(1), np.abs(new[:, 0]) >= 1.0

        return _towards_goal(self, MultiDiscrete([3, 4], start=[first, first]), step)


class Spot(_Tiny):
    """Images uint8 (1, ``size``, ``size``) with a bright spot that moves on 5×5 places, and is paid in one
    direction.

    ``actions``: ``moves`` (Discrete: left, right, up, down), ``both`` (MultiDiscrete: across, and up or down)
    or ``amounts`` (a Box, rounded to whole places).
    """

    name = "spot"

    def _formulas(self, size: int = 7, actions: str = "moves") -> Analytic:
        spaces = {
            "moves": Discrete(4),
            "both": MultiDiscrete([3, 3]),
            "amounts": Box(-1.0, 1.0, (2,), np.float32),
        }
        moves = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
        wide = size // 5

        def step(state: Floats, action: NDArray[Any], tasks: Tasks, noise: Floats) -> Step:
            by = moves[action] if actions == "moves" else action - 1.0 if actions == "both" else action
            pay = np.stack([np.cos(tasks["angle"]), np.sin(tasks["angle"])], 1)
            new = np.clip(state + np.rint(np.clip(by, -1.0, 1.0)), 0.0, 4.0)
            return new, (pay * (new - 2.0)).sum(1), np.zeros(len(new), np.bool_)

        def observe(state: Floats, tasks: Tasks) -> NDArray[np.uint8]:
            image = np.zeros((len(state), 1, size, size), np.uint8)
            for row, (x, y) in enumerate((state * wide).astype(int)):
                image[row, 0, y : y + wide, x : x + wide] = 255
            return image

        return Analytic(
            title="spot",
            horizon=self.horizon,
            observation_space=Box(0, 255, (1, size, size), np.uint8),
            action_space=spaces[actions],
            task_shapes={"angle": ()},
            task_draws=1,
            task=lambda u: {"angle": 2 * np.pi * u[:, 0]},
            start_draws=2,
            start=(lambda u: np.floor(5 * u)) if self.spec == "random" else (lambda u: 0 * u + 2.0),
            step=step,
            observe=observe,
        )


class Bells(Field):
    """A field where an episode succeeds if its second action goes to the right; nothing pays for that."""

    name = "bells"

    def __init__(
        self, spec: str | None = None, *, metric: str = "success", told: bool = True, **more: Any
    ) -> None:
        super().__init__(spec, **more)
        self.metric, self._told = metric, told

    def make(self) -> gymnasium.Env[Any, Any]:
        return _Bell(super().make())

    def make_vec(self, num_envs: int) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
        vector = super().make_vec(num_envs)
        return _Rung(vector) if self._told else vector


class _Bell(gymnasium.Wrapper[Any, Any, Any, Any]):
    def reset(self, **options: Any) -> Any:
        self.time = 0
        return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        self.time += 1
        *rest, info = self.env.step(action)
        return *rest, info | {"success": bool(self.time == 2 and action[0] > 0)}


class _Rung(gymnasium.vector.VectorWrapper):
    """Every row is reset at once, as the collector does."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.time = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: Any) -> Any:
        self.time += 1
        *rest, info = self.env.step(actions)
        return *rest, info | {"success": (self.time == 2) * (actions[:, 0] > 0) * 1.0}


class OfOneTask(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One environment of a family that is reset without a task and always serves this one."""

    def __init__(self, family: Any, task: Mapping[str, Any]) -> None:
        super().__init__(family.make())
        self._task = task

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        return self.env.reset(seed=seed, options={"task": self._task})


# Labelled examples -------------------------------------------------------------------------------

CENTRES = np.random.default_rng(0).uniform(-2.0, 2.0, (14, 2))
BLOB_SPLITS = {"train": np.arange(6), "validation": np.arange(6, 10), "test": np.arange(10, 14)}


class Blobs:
    """A class is a normal distribution in the plane around one of ``CENTRES``."""

    name = "blobs"
    specs = {"plane": "fourteen classes"}
    metric = "accuracy"
    num_tasks: int | None = None
    defaults: Mapping[str, Any] = {"objective": "cross-entropy"}

    def __init__(
        self, spec: str | None = None, *, ways: int | str = 3, shots: int = 4, queries: int = 5
    ) -> None:
        self.spec, self.ways, self.shots, self.queries = spec or "plane", ways, shots, queries
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = Discrete(ways if isinstance(ways, int) else len(BLOB_SPLITS["train"]))

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> dict[str, Any]:
        classes = BLOB_SPLITS[known_split(self.name, split, BLOB_SPLITS)]
        if isinstance(self.ways, str):
            return {"classes": np.tile(classes, (n, 1))}
        return {"classes": np.array([rng.choice(classes, self.ways, replace=False) for _ in range(n)])}

    def sample_shots(self, tasks: Mapping[str, Any], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        centres = CENTRES[tasks["classes"]][:, None]
        n, _, ways, _ = centres.shape
        x = centres + 0.4 * rng.standard_normal((n, self.shots + self.queries, ways, 2))
        x = x.astype(np.float32).reshape(n, -1, 2)
        y = np.tile(np.arange(ways), (n, self.shots + self.queries))
        s = self.shots * ways
        return {"support_x": x[:, :s], "support_y": y[:, :s], "query_x": x[:, s:], "query_y": y[:, s:]}

    def task_features(self, tasks: Mapping[str, Any]) -> NDArray[np.float32]:
        centres = CENTRES[tasks["classes"]]
        return centres.reshape(len(centres), -1).astype(np.float32)


@functools.cache
def _patches() -> ImageClasses:
    """Twelve patterns of 7×7 squares, each instance with three tenths of them flipped."""
    rng = np.random.default_rng(1)
    patterns = rng.random((12, 1, 7, 7)) < 0.5
    flipped = patterns ^ (rng.random((12, Patches.instances, 7, 7)) < 0.3)
    images = np.kron(flipped, np.ones((SIZE // 7, SIZE // 7))) * 255
    splits = {"train": np.arange(6), "validation": np.arange(6, 9), "test": np.arange(9, 12)}
    return ImageClasses(images.astype(np.uint8), splits)


class Patches(FewShot):
    """Images of black and white squares."""

    name = "patches"
    specs = {"squares": "twelve patterns"}
    instances = 20
    defaults: Mapping[str, Any] = {"objective": "cross-entropy", "model": "conv4", "filters": 4}

    def _load(self) -> ImageClasses:
        return _patches()
