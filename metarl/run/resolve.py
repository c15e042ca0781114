"""The one way from defaults to a configuration, and the checks at its end."""

import dataclasses
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarl.core.errors import RequestError
from metarl.core.registry import Registry
from metarl.rollout.family import Family, is_supervised
from metarl.rollout.registry import families, make
from metarl.run.admission import Trust, admit, check_run
from metarl.run.algorithms import ALGORITHMS, SUPERVISED, VALUED
from metarl.run.combinations import settle
from metarl.run.config import DEFAULTS, TrainConfig, as_dict
from metarl.run.config_file import check_names, from_yaml
from metarl.run.fields import accept
from metarl.run.mirrors import loggers
from metarl.run.zoo import source

if TYPE_CHECKING:
    import torch

_FIELDS = {field.name: field for field in dataclasses.fields(TrainConfig)}


def resolve(
    algorithm: str | None = None,
    family: str | None = None,
    yaml: Mapping[str, Any] | None = None,
    command_line: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """Lay the layers over one another and check the outcome once.

    Later ones win: ``DEFAULTS`` (and ``SUPERVISED`` where the family gives labelled examples, ``VALUED``
    where a value network is asked for), the algorithm's defaults, the family's defaults, ``yaml``,
    ``command_line``. In each of them ``None`` is unset.

    Args:
        algorithm: name of the meta-learner; else the command line's, else the file's.
        family: name of the task family; likewise.
        yaml: what a file says, by field name (``from_yaml``).
        command_line: what was asked for directly, by field name.

    Returns:
        A configuration in which only fields that allow it are ``None``.

    Raises:
        RequestError: one line naming the field, what was given and what is allowed.
    """
    asked = [_set(yaml or {}), _set(command_line or {}), _set({"algorithm": algorithm, "family": family})]
    for values in asked:
        check_names(values, "the configuration")
    named = {name: value for values in asked for name, value in values.items()}
    algorithm, family = _checked("algorithm", named), _checked("family", named)
    own = getattr(families[family], "defaults", {})
    check_names(own, f"the defaults of family {family!r}")
    world = SUPERVISED if is_supervised(families[family]) else {}
    critic = VALUED if named.get("objective") == "a2c" or named.get("baseline") == "value" else {}
    layers = [DEFAULTS, world, critic, ALGORITHMS[algorithm].defaults, own, named]
    values = {name: value for layer in layers for name, value in layer.items()}
    return _check(values, asked=named)


def resolved(config: TrainConfig) -> TrainConfig:
    """``resolve`` for a configuration made in Python; one that is resolved already comes back equal."""
    return resolve(command_line=as_dict(config))


def load_config(path: str | Path, trust: Trust = False) -> TrainConfig:
    """The resolved configuration that a file describes which may come from anybody: a run's ``config.yaml``.

    Args:
        trust: whether it may name code, which is imported; or the names that it may have.
    """
    values = from_yaml(path)
    admit(values, Path(path), trust)
    return resolve(yaml=values, command_line={"trust": trust is True})


def read_config(path: Path, trust: Trust) -> TrainConfig:
    """The configuration of the run in a directory, which may come from anybody."""
    return load_config(check_run(source(path)) / "config.yaml", trust)


def validate(config: TrainConfig) -> TrainConfig:
    """Check a resolved configuration, for instance after ``dataclasses.replace``; returns its canonical form.

    Raises:
        RequestError: one line naming the field, what was given and what is allowed.
    """
    values = as_dict(config)
    return _check(values, asked=values)


def choose_device(name: str) -> "tuple[torch.device, str]":
    """The device to run on, and in a few words why.

    Args:
        name: ``auto`` (the GPU if there is one), ``cpu`` or ``cuda``.

    Raises:
        RequestError: for ``cuda`` where there is none; it is never replaced silently.
    """
    import torch

    if name == "cpu":
        return torch.device("cpu"), "asked for"
    if torch.cuda.is_available():
        return torch.device(
            "cuda"
        ), f"{'asked for' if name == 'cuda' else 'auto'}: {torch.cuda.get_device_name()}"
    if name == "cuda":
        why = (
            "this PyTorch is built without CUDA"
            if torch.version.cuda is None
            else "PyTorch finds no CUDA device"
        )
        raise RequestError(f"device 'cuda' is not available ({why}); allowed here: auto, cpu")
    return torch.device("cpu"), "auto: no CUDA device"


def choose_executor(name: str, workers: int, family: Family) -> tuple[str, str]:
    """The executor that is to collect episodes, and in a few words why.

    Args:
        name: ``auto`` (processes for environments that are stepped in Python), ``inline`` or ``processes``.
        workers: how many processes there may be.
    """
    if name != "auto":
        return name, "asked for"
    if is_supervised(family):
        return "inline", "auto: labelled examples"
    if getattr(family, "stepped", "native") == "native":
        return "inline", "auto: all rows step together"
    if workers == 1:
        return "inline", "auto: one core"
    return "processes", "auto: environments stepped in Python"


def usable_cores() -> int:
    """Cores this process may run on, which a container or a scheduler may limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _checked(name: str, values: Mapping[str, Any]) -> str:
    if name not in values:
        allowed = ", ".join(ALGORITHMS) if name == "algorithm" else ", ".join(families)
        raise RequestError(f"{name} is not set; allowed: {allowed}")
    return str(accept(_FIELDS[name], values[name]))


def _check(values: Mapping[str, Any], asked: Mapping[str, Any]) -> TrainConfig:
    """Each value alone, then what makes sense together; ``asked`` are those that are nobody's default."""
    checked: dict[str, Any] = {
        name: None if value is None else accept(_FIELDS[name], value) for name, value in values.items()
    }
    for name in ("threads", "workers"):
        checked[name] = checked[name] or usable_cores()
    unset = [name for name, value in checked.items() if value is None and DEFAULTS[name] is not None]
    if unset:
        raise RequestError(f"{unset[0]} is not set; resolve the configuration first")
    for name in ("name", "spec"):
        if name in checked["family_arg"]:
            raise RequestError(f"family_arg has {name!r}, which has an option of its own: --family, --spec")
    family = make(checked["family"], checked["spec"], **checked["family_arg"])
    checked["spec"] = family.spec
    for name in checked["logger"]:
        loggers[name]
    for kind, registry in _parts().items():
        registry[checked[kind]]
    checked["inner_lr"] = _step_size(checked["rule"], checked["inner_lr"], "inner_lr" in asked)
    settle(family, checked)
    return TrainConfig(**checked)


def _step_size(rule: str, given: float | None, asked: bool) -> float | None:
    """The step size for a rule: its own default where none is given, None for a rule that takes none.

    What a family brings along is meant for gradient descent.
    """
    if not asked and rule not in ("sgd", "meta-sgd"):
        given = None
    own = inspect.signature(_parts()["rule"][rule]).parameters
    if "lr" in own:
        if given is None and own["lr"].default is inspect.Parameter.empty:
            raise RequestError(f"inner_lr is not set, and rule {rule!r} has no step size of its own")
        return float(own["lr"].default) if given is None else given
    if given is not None and asked:
        raise RequestError(f"inner_lr has no meaning for rule {rule!r}, which learns its steps; got {given}")
    return None  # a family's default is meant for rules that take one


def _parts() -> dict[str, Registry[Any, Any]]:
    from metarl.core.objectives import objectives  # loads torch, for which many a refusal need not wait
    from metarl.core.rules import rules
    from metarl.learn.learners import learners

    return {"objective": objectives, "rule": rules, "learner": learners}
