"""The kinds of parts that can be named, and where their registries are; none is loaded unasked."""

from importlib import import_module
from typing import Any

from metarl.core.registry import Registry

PARTS = {
    "families": "metarl.rollout.registry:families",
    "objectives": "metarl.core.objectives:objectives",
    "rules": "metarl.core.rules:rules",
    "learners": "metarl.learn.learners:learners",
    "optimizers": "metarl.learn.optimizers:optimizers",
    "loggers": "metarl.run.loggers:LOGGERS",
}


def registry_of(parts: str) -> Registry[Any, Any]:
    """Return the registry of one of ``PARTS``; most of them load torch."""
    module, _, name = PARTS[parts].partition(":")
    registry: Registry[Any, Any] = getattr(import_module(module), name)
    return registry
