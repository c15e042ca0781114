"""Comparability of evaluations: a protocol's name and hash, and in what two of them differ.

Apart from ``protocol``, which measures, so that files can be compared without torch.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from metarl.run.results.numbers import written
from metarl.run.store.files import to_json

# The protocol of an evaluation that is told nothing but its run and its baselines.
NAME = "metarl-v1"
# What two figures must share; which agent was measured, of what checkpoint, is what they are about.
SHARED = (
    "metric", "family", "spec", "family_arg", "split", "tasks", "steps", "episodes", "seed", "deterministic",
    "horizon", "shots", "queries", "statistics", "step_sizes", "inner_lr_grid",
)  # fmt: skip


def protocol_hash(metric: str, protocol: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hexadecimal, of the canonical JSON of all that makes figures comparable."""
    return hashlib.sha256(to_json(_shared(metric, protocol), sort_keys=True).encode()).hexdigest()


def differences(one: tuple[str, Mapping[str, Any]], other: tuple[str, Mapping[str, Any]]) -> list[str]:
    """Name what two evaluations, each (metric, protocol), differ in: "split is test and ood"."""
    pairs = {name: (_shared(*one).get(name), _shared(*other).get(name)) for name in SHARED}
    return [
        f"{name.replace('_', ' ')} is {written(a)} and {written(b)}"
        for name, (a, b) in pairs.items()
        if to_json(a, sort_keys=True) != to_json(b, sort_keys=True)
    ]


def _shared(metric: str, protocol: Mapping[str, Any]) -> dict[str, Any]:
    values = {"metric": metric} | dict(protocol)
    return {name: values[name] for name in SHARED if name in values}
