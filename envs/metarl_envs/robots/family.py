"""The base of the MuJoCo families: what a robot and a spec are, and the family made of them.

A family's file names its robot and its specs. The physics (``robots.envs``) is imported when a family is
made, so that everything else works where MuJoCo is not installed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from metarl_envs.base.arguments import chosen_spec, known_split, no_others, positive_int
from metarl_envs.base.extras import module_of_extra
from metarl_envs.base.formulas import Bools, Floats, Refusal, Tasks, flat_features
from metarl_envs.robots.aims import Aim


@dataclass(frozen=True)
class Robot:
    """A robot as in Gymnasium's v5 environments: its model, physics, starts and observations.

    Attributes:
        xml: the model's file among Gymnasium's assets.
        frame_skip: engine steps an action.
        noise: starts are the model's, each position ± ``noise`` and each velocity ± ``noise`` (uniform).
        normal_velocities: velocities of starts are normal with standard deviation ``noise`` instead.
        horizontal: how many positions come first that say where the robot is; Gymnasium hides them.
        place: where the robot is: its first positions, its torso, or its centre of mass. The last two are
            one engine step behind the positions, as Gymnasium's are.
        velocity_bound: observed velocities are clipped to it.
        fields: engine fields that are observed after positions and velocities, and the first row of each.
        distance: metres between the camera of pictures and the torso.
    """

    xml: str
    frame_skip: int
    noise: float
    normal_velocities: bool = False
    horizontal: int = 1
    place: Literal["root", "torso", "mass"] = "root"
    velocity_bound: float = np.inf
    fields: Mapping[str, int] = field(default_factory=dict)
    distance: float = 4.0


Alive = Callable[[Floats, Floats], Bools]


def _always(positions: Floats, velocities: Floats) -> Bools:
    return np.ones(len(positions), dtype=np.bool_)


@dataclass(frozen=True)
class RobotSpec:
    """A spec of a robot's family; the reward is aim.pay − control_cost · ‖control‖² + bonus.

    Attributes:
        text: one line for people, with a version.
        control_cost: of the controls as the engine gets them, after clipping and scaling.
        alive: (positions "n q", velocities "n v") to the bool "n" of rows that go on.
        action_bound: actions of ± this stand for the whole range of the robot's controls.
        horizon: time steps of an episode, unless the family is given another.
        sees_place: whether the horizontal positions are observed.
    """

    text: str
    aim: Aim
    control_cost: float
    bonus: float = 0.0
    alive: Alive = _always
    action_bound: float = 1.0
    horizon: int = 100
    sees_place: bool = False


@dataclass(frozen=True)
class Simulated:
    """A family's robot under one spec, as its environments see it (``formulas.Served`` and more)."""

    title: str
    robot: Robot
    spec: RobotSpec
    horizon: int
    observation_space: Box
    action_space: Box

    @property
    def task_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of one task's entry under each key."""
        return self.spec.aim.shapes

    @property
    def task_draws(self) -> int:
        """Uniform numbers that a training task is made of."""
        return self.spec.aim.draws

    @property
    def task(self) -> Callable[[Floats], Tasks]:
        """Function from uniform numbers to training tasks."""
        return self.spec.aim.train

    @property
    def refuse(self) -> Callable[[Tasks], Iterable[Refusal]] | None:
        """Function that names the tasks the family cannot serve."""
        return self.spec.aim.refuse


class MujocoFamily:
    """The base of the families on ``mujoco.batch``: a subclass names ``name``, ``robot`` and ``variants``.

    Args:
        spec: a key of ``specs``; None takes the first.
        horizon: time steps of an episode; None takes the spec's.
        threads: engine threads of a vector environment, on which no result depends; None takes as many as
            the process may use.

    Attributes:
        model: what the environments are made of.

    Raises:
        ValueError: an unknown spec or argument, a number below 1, or no MuJoCo; one line.
    """

    name: ClassVar[str]
    robot: ClassVar[Robot]
    variants: ClassVar[Mapping[str, RobotSpec]]
    specs: ClassVar[dict[str, str]]

    def __init_subclass__(cls) -> None:
        """Take the specs' lines for people from the variants."""
        cls.specs = {key: spec.text for key, spec in cls.variants.items()}

    def __init__(
        self,
        spec: str | None = None,
        *,
        horizon: int | None = None,
        threads: int | None = None,
        **unknown: object,
    ) -> None:
        no_others(self.name, unknown, ["horizon", "threads"])
        self.spec = chosen_spec(self.name, spec, self.specs)
        variant = self.variants[self.spec]
        self.horizon = positive_int(self.name, "horizon", variant.horizon if horizon is None else horizon)
        self.threads = None if threads is None else positive_int(self.name, "threads", threads)
        self.num_tasks = variant.aim.count
        observations, actions = physics(self.name).sizes(self.robot, variant)
        self.model = Simulated(
            title=f"{self.name}/{self.spec}",
            robot=self.robot,
            spec=variant,
            horizon=self.horizon,
            observation_space=Box(-np.inf, np.inf, (observations,), np.float32),
            action_space=Box(-variant.action_bound, variant.action_bound, (actions,), np.float32),
        )
        self.observation_space = self.model.observation_space
        self.action_space = self.model.action_space

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes by the arguments alone."""
        return partial(type(self), self.spec, horizon=self.horizon, threads=self.threads), ()

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> Tasks:
        """Draw tasks of a split, arrays with n rows; the first m are those that ``n=m`` would give.

        Where there are finitely many, validation and test take them in turn.

        Raises:
            ValueError: n below 1, or a split that the spec does not have.
        """
        title, aim = self.model.title, self.model.spec.aim
        n = positive_int(title, "number of tasks", n)
        splits = (
            ("train", "validation", "test") if aim.ood is None else ("train", "validation", "test", "ood")
        )
        split = known_split(title, split, splits)
        if aim.count is not None and split != "train":
            return aim.train(np.tile(((np.arange(n) % aim.count + 0.5) / aim.count)[:, None], aim.draws))
        draw = aim.ood if split == "ood" and aim.ood is not None else aim.train
        return draw(rng.random((n, aim.draws)))

    def task_features(self, tasks: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return what an oracle sees: all numbers of each task, float32 "n f"."""
        return flat_features(self.model, tasks)

    def make(self, render_mode: str | None = None) -> gymnasium.Env[NDArray[Any], Any]:
        """Return one environment; with ``render_mode="rgb_array"`` its ``render()`` gives pictures."""
        env: gymnasium.Env[NDArray[Any], Any] = physics(self.name).MujocoEnv(self.model, render_mode)
        return env

    def make_vec(self, num_envs: int) -> VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return ``num_envs`` environments stepped together."""
        env: VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]] = physics(self.name).MujocoVectorEnv(
            self.model, num_envs, self.threads
        )
        return env


def physics(family: str) -> ModuleType:
    """Import the module that needs MuJoCo; a ValueError of one line where there is none that will do."""
    needs = "MuJoCo from 3.17 on, but not 4.0.0: pip install 'metarl-toolkit[mujoco]'"
    return module_of_extra("robots.envs", f"{family} needs {needs}")
