"""From the values that are asked for to all values of a configuration: layers, then what others settle."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from metarl.core.errors import RequestError
from metarl.core.registry import Registry
from metarl.rollout.family import Family, is_supervised
from metarl.rollout.registry import families
from metarl.run.algorithms import ALGORITHMS, SUPERVISED, VALUED
from metarl.run.combinations import open_values, refusal
from metarl.run.devices import usable_cores
from metarl.run.fields import accept, check_names

Fields = Mapping[str, "dataclasses.Field[Any]"]


def layered(fields: Fields, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the defaults over one another, and what is asked for over them; each value is checked alone.

    Later layers win: the fields' own defaults, those for labelled examples or for a value network, the
    algorithm's, the family's, ``asked``. In each of them ``None`` is unset.

    Raises:
        RequestError: one line naming the field, what was given and what is allowed.
    """
    algorithm, family = _named(fields, "algorithm", asked), _named(fields, "family", asked)
    cls = families[family]
    usual = getattr(cls, "defaults", {})
    check_names(usual, fields, f"the defaults of family {family!r}")
    layers = [
        {name: field.metadata["default"] for name, field in fields.items()},
        SUPERVISED if is_supervised(cls) else {},
        VALUED if asked.get("objective") == "a2c" or asked.get("baseline") == "value" else {},
        ALGORITHMS[algorithm].defaults,
        usual,
        asked,
    ]
    values = {name: value for layer in layers for name, value in layer.items() if value is not None}
    values = {name: accept(field, values[name]) for name, field in fields.items() if name in values}
    for name in ("name", "spec"):
        if name in values["family_arg"]:
            raise RequestError(f"family_arg has {name!r}, which has an option of its own: --family, --spec")
    return dict.fromkeys(fields) | values


def settled(
    fields: Fields, family: Family, values: Mapping[str, Any], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Fill in what the family and other values decide, and refuse what makes no sense together.

    Args:
        values: all of them by name, each checked alone (``layered``).
        asked: those that are nobody's default.

    Raises:
        RequestError: one line naming the field, what was given and what is allowed.
    """
    _check_parts(values)
    complete = filled(family, values, asked)
    if complete["inner_lr"] is None:
        _check_step_size(values["rule"], asked.get("inner_lr"))
    if line := refusal(fields, family, complete):
        raise RequestError(line)
    return complete


def filled(family: Family, values: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with those that the family, the machine and other values decide."""
    complete = dict(values) | {"spec": family.spec}
    for name in ("threads", "workers"):
        complete[name] = complete[name] or usable_cores()
    # A family's step size is meant for gradient descent.
    meant = "inner_lr" in asked or complete["rule"] in ("sgd", "meta-sgd")
    complete["inner_lr"] = _step_size(complete["rule"], complete["inner_lr"] if meant else None)
    return open_values(family, complete)


def _named(fields: Fields, name: str, asked: Mapping[str, Any]) -> str:
    if name not in asked:
        allowed = ", ".join(ALGORITHMS) if name == "algorithm" else ", ".join(families)
        raise RequestError(f"{name} is not set; allowed: {allowed}")
    return str(accept(fields[name], asked[name]))


def _step_size(rule: str, lr: float | None) -> float | None:
    """Return the step size for a rule: its own default where ``lr`` is None, None if it takes or has none."""
    parameter = inspect.signature(_parts()["rule"][rule]).parameters.get("lr")
    if parameter is None or lr is not None:
        return lr if parameter else None
    return None if parameter.default is inspect.Parameter.empty else float(parameter.default)


def _check_step_size(rule: str, asked: float | None) -> None:
    if "lr" in inspect.signature(_parts()["rule"][rule]).parameters:
        raise RequestError(f"inner_lr is not set, and rule {rule!r} has no step size of its own")
    if asked is not None:
        raise RequestError(f"inner_lr has no meaning for rule {rule!r}, which learns its steps; got {asked}")


def _check_parts(values: Mapping[str, Any]) -> None:
    """Find every part that is named, before anything is asked about one."""
    from metarl.run.mirrors import loggers

    for name in values["logger"]:
        loggers[name]
    for kind, registry in _parts().items():
        registry[values[kind]]


def _parts() -> dict[str, Registry[Any, Any]]:
    from metarl.core.objectives import objectives  # loads torch, for which many a refusal need not wait
    from metarl.core.rules import rules
    from metarl.learn.learners import learners

    return {"objective": objectives, "rule": rules, "learner": learners}
