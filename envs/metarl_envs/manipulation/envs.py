"""Meta-World's simulations behind our contract; needs the package ``metaworld``."""

import contextlib
import pickle
from typing import Any, Protocol, runtime_checkable

import gymnasium
import metaworld
import numpy as np
from gymnasium.error import ResetNeeded
from metaworld.env_dict import ALL_V3_ENVIRONMENTS, ML10_V3, ML45_V3
from numpy.typing import NDArray

from metarl_envs.base.formulas import Stated, Tasks, read_tasks
from metarl_envs.base.rows import OneStep, gymnasium_seed
from metarl_envs.manipulation.simulations import NAMES, Simulations

CAMERA = "corner2"  # sees the whole table; its pictures are upside down
LOOKS = 100  # at one vector in one reset: a simulation that looks more often will never accept it

Vectors = dict[int, NDArray[np.float64]]


def environments(benchmark: str, task: str = "") -> tuple[list[str], list[str]]:
    """Return the names of a benchmark's training and test environments."""
    if benchmark == "ML1":
        return [task], [task]
    split = {"ML10": ML10_V3, "ML45": ML45_V3}[benchmark]
    return list(split["train"]), list(split["test"])


def task_lists(benchmark: str, seed: int, task: str = "") -> tuple[Vectors, Vectors]:
    """Draw a benchmark's training and test tasks: vectors "variation 6" by the environment's number."""
    cls = getattr(metaworld, benchmark)
    benchmark_tasks = cls(task, seed=seed) if benchmark == "ML1" else cls(seed=seed)
    return _vectors(benchmark_tasks.train_tasks), _vectors(benchmark_tasks.test_tasks)


def _vectors(tasks: list[Any]) -> Vectors:
    vectors: dict[int, list[NDArray[np.float64]]] = {}
    for task in tasks:
        vector = pickle.loads(task.data)["rand_vec"]
        padded = np.pad(vector, (0, 6 - len(vector)))
        vectors.setdefault(NAMES.index(task.env_name), []).append(padded)
    return {number: np.stack(rows) for number, rows in vectors.items()}


@runtime_checkable
class BenchmarkFamily(Stated, Protocol):
    """A family as its environments see it."""

    simulations: Simulations

    def sample_tasks(self, n: int, rng: np.random.Generator) -> Tasks:
        """Draw training tasks."""


class MetaWorldEnv(gymnasium.Env[NDArray[Any], Any]):
    """One environment of a family, which becomes whichever of Meta-World's its task names.

    Every episode of a task starts in the same state, whatever its seed, and goes on to the horizon.
    ``info["success"]`` is 1.0 at steps at which the task is solved, else 0.0.

    Args:
        render_mode: "rgb_array" for pictures by ``render()``; None for none.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 80}

    def __init__(self, family: BenchmarkFamily, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"{family.title}: render_mode is {render_mode!r}; allowed: rgb_array, None")
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self.render_mode = render_mode
        self._family = family
        self._simulation: Any = None
        self._task: tuple[int, NDArray[np.float64]] = -1, np.empty(0)
        self._time = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Start an episode; without a task one for training is drawn from the seed; info["task"] names it."""
        super().reset(seed=gymnasium_seed(seed))
        handed = (options or {}).get("task")
        if handed is None:
            drawn = self._family.sample_tasks(1, self.np_random)
            task = {key: rows.astype(np.float64) for key, rows in drawn.items()}
        else:
            rows = {key: [row] for key, row in handed.items()} if isinstance(handed, dict) else handed
            task = read_tasks(self._family, rows)
        task = {key: rows[0] for key, rows in task.items()}
        obs = self._start(int(task["environment"]), task["rand_vec"])
        self._time = 0
        return obs, {"task": task}

    def _start(self, number: int, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._simulation is None or number != self._task[0] or not np.array_equal(vector, self._task[1]):
            self.close()
            self._simulation, self._task = self._take(number, vector), (number, vector)
        simulation = self._simulation
        space = simulation._random_reset_space
        vector, title = vector[: len(space.low)], f"{self._family.title}: task 'rand_vec'"
        if not ((vector >= space.low) & (vector <= space.high)).all():
            allowed = f"{space.low.tolist()} to {space.high.tolist()}"
            raise ValueError(f"{title} is {vector.tolist()}; allowed for {NAMES[number]}: {allowed}")
        looks = 0

        def look() -> NDArray[np.float64]:
            nonlocal looks
            looks += 1
            if looks > LOOKS:
                refused = f"is {vector.tolist()}; {NAMES[number]} takes none where objects and goal meet"
                raise ValueError(f"{title} {refused}")
            return vector.copy()

        data = {"env_cls": type(simulation), "rand_vec": vector, "partially_observable": True}
        simulation.set_task(metaworld.Task(env_name=NAMES[number], data=pickle.dumps(data)))
        simulation._get_state_rand_vec = look
        obs: NDArray[np.float64] = simulation.reset()[0]
        return obs

    def _take(self, number: int, vector: NDArray[np.float64]) -> Any:
        if self.render_mode is None:
            return self._family.simulations.take(number, vector)
        return ALL_V3_ENVIRONMENTS[NAMES[number]](render_mode=self.render_mode, camera_name=CAMERA)

    def step(self, action: Any) -> OneStep:
        """Take one time step of Meta-World's; the reward is between 0 and 10."""
        if self._time < 0:
            raise ResetNeeded(f"{self._family.title}: step before the first reset")
        numbers = np.asarray(action)
        if numbers.shape != self.action_space.shape or not np.isfinite(numbers).all():
            allowed = f"finite numbers {self.action_space.shape}"
            raise ValueError(f"{self._family.title}: action is {numbers.tolist()}; allowed: {allowed}")
        if self._time >= self._family.horizon:
            raise ResetNeeded(f"{self._family.title}: step after the end of the episode")
        self._time += 1
        obs, reward, _, _, info = self._simulation.step(numbers)
        return obs, float(reward), False, self._time >= self._family.horizon, info

    def render(self) -> NDArray[np.uint8]:
        """Draw the robot at its table: uint8 "height width 3"."""
        if self.render_mode is None or self._simulation is None:
            raise ValueError(f"{self._family.title}: render() needs render_mode='rgb_array' and a reset")
        picture: NDArray[np.uint8] = self._simulation.render()
        return picture[::-1].copy()

    def close(self) -> None:
        """Give the simulation back."""
        simulation, self._simulation, self._time = self._simulation, None, -1
        if simulation is not None and self.render_mode is None:
            self._family.simulations.give(*self._task)
        elif simulation is not None:
            with contextlib.suppress(AttributeError):  # of a renderer that was never used
                simulation.close()
