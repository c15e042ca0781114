"""Optimisation-based meta-reinforcement learning: agents that adapt to a new task within a few episodes.

The names below are imported on first use (PEP 562), so that ``import metarl`` costs nothing. Beneath them the
packages ``metarl.core``, ``metarl.learn`` and ``metarl.rollout`` are public too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metarl.core.errors import RequestError, RunFailed
    from metarl.core.objectives import objectives
    from metarl.core.rules import rules
    from metarl.learn.learners import learners
    from metarl.rollout.registry import families, make
    from metarl.run.config.train_config import TrainConfig
    from metarl.run.report.comparison_page import compare
    from metarl.run.results.comparison import Comparison
    from metarl.run.results.evaluation import Evaluation
    from metarl.run.sb3.vec_env import TaskVecEnv
    from metarl.run.train.callbacks import Callback
    from metarl.run.use.policy import Policy
    from metarl.run.use.runs import Run, load, resume, train

__version__ = "0.1.0"

_HOMES = {
    "Callback": "metarl.run.train.callbacks",
    "Comparison": "metarl.run.results.comparison",
    "Evaluation": "metarl.run.results.evaluation",
    "Policy": "metarl.run.use.policy",
    "RequestError": "metarl.core.errors",
    "Run": "metarl.run.use.runs",
    "RunFailed": "metarl.core.errors",
    "TaskVecEnv": "metarl.run.sb3.vec_env",
    "TrainConfig": "metarl.run.config.train_config",
    "compare": "metarl.run.report.comparison_page",
    "families": "metarl.rollout.registry",
    "learners": "metarl.learn.learners",
    "load": "metarl.run.use.runs",
    "make": "metarl.rollout.registry",
    "objectives": "metarl.core.objectives",
    "resume": "metarl.run.use.runs",
    "rules": "metarl.core.rules",
    "train": "metarl.run.use.runs",
}

__all__ = [
    "Callback",
    "Comparison",
    "Evaluation",
    "Policy",
    "RequestError",
    "Run",
    "RunFailed",
    "TaskVecEnv",
    "TrainConfig",
    "compare",
    "families",
    "learners",
    "load",
    "make",
    "objectives",
    "resume",
    "rules",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'metarl' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
