"""A family that is given by formulas."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from metarl_envs.base.arguments import known_split, positive_int
from metarl_envs.base.formula_envs import AnalyticEnv, AnalyticVectorEnv
from metarl_envs.base.formulas import Analytic, Tasks, flat_features


class AnalyticFamily:
    """Tasks and environments of a family from its formulas; a subclass has ``name`` and ``specs``.

    Args:
        spec: the key of ``specs`` that the formulas stand for.
        model: the formulas.

    Attributes:
        model: the formulas behind the environments, for players that need no environment.
        num_tasks: the number of tasks where there are finitely many.
    """

    name: str
    specs: Mapping[str, str]
    num_tasks: int | None = None

    def __init__(self, spec: str, model: Analytic) -> None:
        self.spec, self.model, self.horizon = spec, model, model.horizon
        self.observation_space, self.action_space = model.observation_space, model.action_space

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> Tasks:
        """Draw n tasks of a split; the first m are those that ``n=m`` would give.

        Raises:
            ValueError: n below 1, or an unknown split.
        """
        model = self.model
        n = positive_int(model.title, "number of tasks", n)
        split = known_split(model.title, split, ("train", "validation", "test", "ood"))
        formula = model.ood if split == "ood" and model.ood is not None else model.task
        return formula(rng.random((n, model.task_draws)))

    def task_features(self, tasks: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return what an oracle sees of each task: all its numbers, float32 "n f"."""
        return flat_features(self.model, tasks)

    def make(self) -> gymnasium.Env[NDArray[Any], Any]:
        """Return one environment."""
        return AnalyticEnv(self.model)

    def make_vec(self, num_envs: int) -> VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return ``num_envs`` environments stepped together."""
        return AnalyticVectorEnv(self.model, num_envs)
