"""Optimisation-based meta-reinforcement learning: agents that adapt to a new task within a few episodes.

Train, load and compare runs (``train``, ``load``, ``compare``); register parts of your own (``rules``,
``objectives``, ``learners``, ``optimizers``, ``families``, ``models``, ``loggers``, ``executors`` …);
or use the functional layer beneath (``adapt``, ``maml``, ``trpo``, ``collect`` and what they take). Names are
imported on first use (PEP 562), so that ``import metarl`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metarl.core.advantages import with_advantage as with_advantage
    from metarl.core.batch import Episodes as Episodes
    from metarl.core.batch import Shots as Shots
    from metarl.core.batch import undiscounted_returns as undiscounted_returns
    from metarl.core.errors import RequestError as RequestError
    from metarl.core.errors import RunFailed as RunFailed
    from metarl.core.models import MLP as MLP
    from metarl.core.models import Apply as Apply
    from metarl.core.models import Gaussian as Gaussian
    from metarl.core.models import GaussianMLP as GaussianMLP
    from metarl.core.models import functional as functional
    from metarl.core.models import initial_params as initial_params
    from metarl.core.models import policy as policy
    from metarl.core.models import policy_of_tasks as policy_of_tasks
    from metarl.core.objectives import Objective as Objective
    from metarl.core.objectives import cross_entropy as cross_entropy
    from metarl.core.objectives import dice as dice
    from metarl.core.objectives import lvc as lvc
    from metarl.core.objectives import mse as mse
    from metarl.core.objectives import objectives as objectives
    from metarl.core.objectives import surrogate as surrogate
    from metarl.core.objectives import vpg as vpg
    from metarl.core.params import Inner as Inner
    from metarl.core.params import Meta as Meta
    from metarl.core.params import Params as Params
    from metarl.core.params import expand as expand
    from metarl.core.params import tree_map as tree_map
    from metarl.core.process import prepare_process as prepare_process
    from metarl.core.returns import discounted_returns as discounted_returns
    from metarl.core.returns import gae as gae
    from metarl.core.rules import Rule as Rule
    from metarl.core.rules import adam as adam
    from metarl.core.rules import lstm as lstm
    from metarl.core.rules import meta_sgd as meta_sgd
    from metarl.core.rules import only as only
    from metarl.core.rules import rules as rules
    from metarl.core.rules import sgd as sgd
    from metarl.learn.adapt import Adaptation as Adaptation
    from metarl.learn.adapt import adapt as adapt
    from metarl.learn.adapt import begin_tasks as begin_tasks
    from metarl.learn.adapt import inner_loop as inner_loop
    from metarl.learn.adapt import step_tasks as step_tasks
    from metarl.learn.adapt import unroll as unroll
    from metarl.learn.chunks import Chunking as Chunking
    from metarl.learn.learners import learners as learners
    from metarl.learn.maml import e_maml as e_maml
    from metarl.learn.maml import maml as maml
    from metarl.learn.optimizers import optimizers as optimizers
    from metarl.learn.optimizers import ppo as ppo
    from metarl.learn.optimizers import trpo as trpo
    from metarl.learn.problem import MetaLearner as MetaLearner
    from metarl.learn.problem import MetaOptimizer as MetaOptimizer
    from metarl.learn.problem import Point as Point
    from metarl.learn.problem import Problem as Problem
    from metarl.learn.problem import TaskData as TaskData
    from metarl.learn.reptile import reptile as reptile
    from metarl.learn.trust_region import TrustRegion as TrustRegion
    from metarl.rollout.collector import collect as collect
    from metarl.rollout.executors import executors as executors
    from metarl.rollout.registry import families as families
    from metarl.rollout.registry import make as make
    from metarl.rollout.seeding import Address as Address
    from metarl.rollout.seeding import generator as generator
    from metarl.run.agent.networks import models as models
    from metarl.run.agent.scores import scores as scores
    from metarl.run.config.train_config import TrainConfig as TrainConfig
    from metarl.run.evaluate.baselines import baselines as baselines
    from metarl.run.log.measures import Measure as Measure
    from metarl.run.log.mirrors import loggers as loggers
    from metarl.run.report.comparison_page import compare as compare
    from metarl.run.results.comparison import Comparison as Comparison
    from metarl.run.results.evaluation import Evaluation as Evaluation
    from metarl.run.sb3.vec_env import TaskVecEnv as TaskVecEnv
    from metarl.run.train.callbacks import Callback as Callback
    from metarl.run.use.policy import Policy as Policy
    from metarl.run.use.policy import Predictor as Predictor
    from metarl.run.use.runs import Run as Run
    from metarl.run.use.runs import load as load
    from metarl.run.use.runs import resume as resume
    from metarl.run.use.runs import train as train

__version__ = "0.1.0"

_NAMES = {
    "metarl.core.advantages": ("with_advantage",),
    "metarl.core.batch": ("Episodes", "Shots", "undiscounted_returns"),
    "metarl.core.errors": ("RequestError", "RunFailed"),
    "metarl.core.models": (
        "Apply",
        "Gaussian",
        "GaussianMLP",
        "MLP",
        "functional",
        "initial_params",
        "policy",
        "policy_of_tasks",
    ),
    "metarl.core.objectives": (
        "Objective",
        "cross_entropy",
        "dice",
        "lvc",
        "mse",
        "objectives",
        "surrogate",
        "vpg",
    ),
    "metarl.core.params": (
        "Inner",
        "Meta",
        "Params",
        "expand",
        "tree_map",
    ),
    "metarl.core.process": ("prepare_process",),
    "metarl.core.returns": ("discounted_returns", "gae"),
    "metarl.core.rules": ("Rule", "adam", "lstm", "meta_sgd", "only", "rules", "sgd"),
    "metarl.learn.adapt": (
        "Adaptation",
        "adapt",
        "begin_tasks",
        "inner_loop",
        "step_tasks",
        "unroll",
    ),
    "metarl.learn.chunks": ("Chunking",),
    "metarl.learn.learners": ("learners",),
    "metarl.learn.maml": ("e_maml", "maml"),
    "metarl.learn.optimizers": ("optimizers", "ppo", "trpo"),
    "metarl.learn.problem": ("MetaLearner", "MetaOptimizer", "Point", "Problem", "TaskData"),
    "metarl.learn.reptile": ("reptile",),
    "metarl.learn.trust_region": ("TrustRegion",),
    "metarl.rollout.collector": ("collect",),
    "metarl.rollout.executors": ("executors",),
    "metarl.rollout.registry": ("families", "make"),
    "metarl.rollout.seeding": ("Address", "generator"),
    "metarl.run.agent.networks": ("models",),
    "metarl.run.agent.scores": ("scores",),
    "metarl.run.config.train_config": ("TrainConfig",),
    "metarl.run.evaluate.baselines": ("baselines",),
    "metarl.run.log.measures": ("Measure",),
    "metarl.run.log.mirrors": ("loggers",),
    "metarl.run.report.comparison_page": ("compare",),
    "metarl.run.results.comparison": ("Comparison",),
    "metarl.run.results.evaluation": ("Evaluation",),
    "metarl.run.sb3.vec_env": ("TaskVecEnv",),
    "metarl.run.train.callbacks": ("Callback",),
    "metarl.run.use.policy": ("Policy", "Predictor"),
    "metarl.run.use.runs": ("Run", "load", "resume", "train"),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'metarl' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
