"""Meta-World's benchmarks ML1, ML10 and ML45 as families: its own environments, its own train and test tasks.

Yu et al. 2020, "Meta-World: a benchmark and evaluation for multi-task and meta reinforcement learning", as
revised by McLean et al. 2025 (arXiv 2505.11289). Whatever needs the package ``metaworld`` is in
``envs``, which is imported when a family is made.
"""

from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from metarl_envs.base.arguments import chosen_spec, known_split, no_others, positive_int
from metarl_envs.base.extras import module_of_extra
from metarl_envs.base.formulas import Refusal, Tasks, read_tasks
from metarl_envs.base.single_rows import SingleRows

HORIZON = 500  # Meta-World's own, which no episode may exceed
SPLITS = ("train", "validation", "test")


class MetaWorld:
    """The base of the benchmarks: a subclass names ``name`` and ``benchmark``.

    A task is an environment (its number among Meta-World's fifty) and the vector of positions that Meta-World
    draws for it, padded by zeros. Training tasks are the benchmark's 50 of each training environment, test
    tasks its test tasks; validation tasks are 50 more of each training environment, drawn as the benchmark
    draws them. n tasks take the environments in turn, in random order, and no variation twice before all have
    been taken.

    Args:
        spec: a key of ``specs``; None takes the first.
        horizon: time steps of an episode, up to 500.
        benchmark_seed: from which the benchmark draws its tasks.

    Attributes:
        environments: names of the training environments, then of the test environments that are not among
            them.
        simulations: what the environments run on; they share it.

    Raises:
        ValueError: an unknown spec or argument, a number out of range, or no Meta-World; one line.
    """

    name: str
    benchmark: str
    specs: ClassVar[dict[str, str]] = {
        "v3": "Meta-World 3.1, its v3 environments and v2 rewards, goals hidden"
    }
    stepped = "python"
    metric = "success"
    num_tasks = None
    task_shapes: ClassVar[Mapping[str, tuple[int, ...]]] = {"environment": (), "rand_vec": (6,)}

    def __init__(
        self,
        spec: str | None = None,
        *,
        horizon: int = HORIZON,
        benchmark_seed: int = 0,
        **unknown: object,
    ) -> None:
        no_others(self.name, unknown, [*self._chosen(), "horizon", "benchmark_seed"])
        self.spec = chosen_spec(self.name, spec, self.specs)
        self.title = f"{self.name}/{self.spec}"
        self.horizon = positive_int(self.name, "horizon", horizon)
        if self.horizon > HORIZON:
            raise ValueError(f"{self.name}: horizon is {horizon}; allowed: integers from 1 to {HORIZON}")
        self.benchmark_seed = positive_int(self.name, "benchmark_seed", benchmark_seed, least=0)
        self._envs = engine(self.name)
        train, test = self._envs.environments(self.benchmark, **self._chosen())
        self.environments = (*train, *(name for name in test if name not in train))
        self.simulations = self._envs.Simulations()
        self.observation_space, self.action_space = self.simulations.spaces(self.environments[0])
        self._lists: dict[str, dict[int, NDArray[np.float64]]] = {}

    def _chosen(self) -> dict[str, str]:
        """Return further arguments, which say what the benchmark is made of."""
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes by the arguments alone."""
        arguments: dict[str, Any] = {
            "horizon": self.horizon,
            "benchmark_seed": self.benchmark_seed,
            **self._chosen(),
        }
        return partial(type(self), self.spec, **arguments), ()

    def vectors(self, split: str) -> dict[int, NDArray[np.float64]]:
        """Return all tasks of a split: the vectors "variation 6" of each environment's number.

        The first time it takes as long as Meta-World needs to draw them, about a second an environment.
        """
        if split not in self._lists:
            seed = self.benchmark_seed + 2 * (split == "validation")  # ML1 draws its test tasks from seed + 1
            train, test = self._envs.task_lists(self.benchmark, seed, **self._chosen())
            self._lists |= {"validation": train} if split == "validation" else {"train": train, "test": test}
        return self._lists[split]

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> Tasks:
        """Draw tasks of a split, arrays with n rows; the first m are those that ``n=m`` would give.

        Raises:
            ValueError: n below 1, or a split other than train, validation and test.
        """
        n = positive_int(self.title, "number of tasks", n)
        lists = self.vectors(known_split(self.title, split, SPLITS))
        numbers, variations = np.array(list(lists)), min(map(len, lists.values()))
        picked: list[tuple[int, NDArray[np.float64]]] = []
        while len(picked) < n:
            orders = rng.permuted(np.tile(np.arange(variations), (len(numbers), 1)), axis=1)
            turns = rng.permuted(np.tile(np.arange(len(numbers)), (variations, 1)), axis=1)
            picked += [
                (int(numbers[k]), lists[numbers[k]][orders[k, i]])
                for i in range(variations)
                for k in turns[i]
            ]
        environment, vectors = zip(*picked[:n], strict=True)
        return {"environment": np.array(environment), "rand_vec": np.stack(vectors)}

    def task_features(self, tasks: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return what an oracle sees: the environment, one-hot as in ``environments``, and the vector."""
        read = read_tasks(self, tasks)
        which = read["environment"][:, None] == self._numbers()
        return np.concatenate([which, read["rand_vec"]], axis=1).astype(np.float32)

    def refuse(self, tasks: Tasks) -> list[Refusal]:
        """Refuse tasks of environments that the benchmark does not have."""
        numbers = self._numbers()
        allowed = ", ".join(f"{k} ({name})" for k, name in zip(numbers, self.environments, strict=True))
        return [Refusal("environment", ~np.isin(tasks["environment"], numbers), allowed)]

    def _numbers(self) -> NDArray[np.int64]:
        return np.array([self._envs.NAMES.index(name) for name in self.environments])

    def make(self, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        """Return one environment, for any task; ``render_mode="rgb_array"`` is for pictures."""
        env: gymnasium.Env[Any, Any] = self._envs.MetaWorldEnv(self, render_mode)
        return env

    def make_vec(self, num_envs: int) -> VectorEnv[Any, Any, Any]:
        """Return ``num_envs`` environments stepped one after another."""
        return SingleRows(self, num_envs)


class MetaWorldML1(MetaWorld):
    """One environment with many goals or starts, by its name: ``task``; see ``MetaWorld``."""

    name = "metaworld-ml1"
    benchmark = "ML1"

    def __init__(self, spec: str | None = None, *, task: str = "reach-v3", **common: Any) -> None:
        names = engine(self.name).NAMES
        if task not in names:
            raise ValueError(f"{self.name}: unknown task {task!r}; allowed: {', '.join(sorted(names))}")
        self._task = task
        super().__init__(spec, **common)

    def _chosen(self) -> dict[str, str]:
        return {"task": self._task}


class MetaWorldML10(MetaWorld):
    """Ten training environments and five others to test on; see ``MetaWorld``."""

    name = "metaworld-ml10"
    benchmark = "ML10"


class MetaWorldML45(MetaWorld):
    """Forty-five training environments and five others to test on; see ``MetaWorld``."""

    name = "metaworld-ml45"
    benchmark = "ML45"


def engine(family: str) -> ModuleType:
    """Import the module that needs Meta-World; a ValueError of one line where there is none."""
    needs = "Meta-World 3.1, in an environment of its own: pip install 'metarl-toolkit[metaworld]'"
    return module_of_extra("manipulation.envs", f"{family} needs {needs}")
