"""The kinds of parts that can be named, and where their registries are: none is loaded unasked."""

from importlib import import_module
from typing import Any

from metarl.core.registry import Registry

PARTS = {
    "families": "metarl.rollout.registry",
    "objectives": "metarl.core.objectives",
    "rules": "metarl.core.rules",
    "learners": "metarl.learn.learners",
    "optimizers": "metarl.learn.optimizers",
    "models": "metarl.run.agent.networks",
    "executors": "metarl.rollout.executors",
    "loggers": "metarl.run.log.mirrors",
    "metrics": "metarl.run.agent.scores",
    "baselines": "metarl.run.evaluate.baselines",
}


def registry_of(parts: str) -> Registry[Any, Any]:
    """Return the registry of one of ``PARTS``; most of them load torch."""
    module = import_module(PARTS[parts])
    registry: Registry[Any, Any] = getattr(module, "scores" if parts == "metrics" else parts)
    return registry
