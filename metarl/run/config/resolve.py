"""From the values that are asked for to all values of a configuration: layers, then what others settle."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from metarl.core.errors import RequestError
from metarl.rollout.family import Family, is_supervised
from metarl.rollout.registry import families
from metarl.run.config.algorithms import ALGORITHMS
from metarl.run.config.combinations import open_values, refusal
from metarl.run.config.devices import usable_cores
from metarl.run.config.fields import Kind, accept, check_names
from metarl.run.config.parts import registry_of

Fields = Mapping[str, "dataclasses.Field[Any]"]


def layered(fields: Fields, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the defaults over one another, and what is asked for over them; each value is checked alone.

    Later layers win: the fields' own defaults, those for labelled examples or for a value network, the
    algorithm's, the family's, ``asked``. In each of them ``None`` is unset.

    Raises:
        RequestError: one line naming the field, what was given and what is allowed.
    """
    asked = _accepted(fields, asked)
    for name, known in (("algorithm", ALGORITHMS), ("family", families)):
        if name not in asked:
            raise RequestError(f"{name} is not set; allowed: {', '.join(known)}")
    cls = families[asked["family"]]
    usual = getattr(cls, "defaults", {})
    check_names(usual, fields, f"the defaults of family {asked['family']!r}")
    critic = asked.get("baseline") == "value" or (
        "objective" in asked and registry_of("objectives").facts(asked["objective"]).needs_critic
    )
    layers = (
        {name: field.metadata["default"] for name, field in fields.items()},
        {name: field.metadata["examples"] for name, field in fields.items() if is_supervised(cls)},
        {name: field.metadata["critic"] for name, field in fields.items() if critic},
        ALGORITHMS[asked["algorithm"]].defaults,
        usual,
    )
    values: dict[str, Any] = dict.fromkeys(fields)
    for layer in layers:
        values |= _accepted(fields, layer)
    values |= asked
    for name in ("name", "spec"):
        if name in values["family_arg"]:
            raise RequestError(f"family_arg has {name!r}, which has an option of its own: --family, --spec")
    return values


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
    for name, field in fields.items():
        kind: Kind = field.metadata["kind"]
        if kind.parts and values[name] is not None:
            for part in values[name] if isinstance(values[name], tuple) else [values[name]]:
                if part != "auto":
                    registry_of(kind.parts)[part]
    complete = filled(family, values, asked)
    if complete["inner_lr"] is None:
        _check_step_size(values["rule"], values["inner_lr"] if "inner_lr" in asked else None)
    if line := refusal(fields, family, complete):
        raise RequestError(line)
    return complete


def filled(family: Family, values: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with those that the family, the machine and other values decide."""
    complete = dict(values) | {"spec": family.spec}
    for name in ("threads", "workers"):
        complete[name] = complete[name] or usable_cores()
    # A family's step size is meant for gradient descent.
    meant = "inner_lr" in asked or registry_of("rules").facts(complete["rule"]).gradient_descent
    complete["inner_lr"] = _step_size(complete["rule"], complete["inner_lr"] if meant else None)
    return open_values(family, complete)


def _accepted(fields: Fields, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a layer sets, each in the form in which a configuration keeps it."""
    return {name: accept(field, layer[name]) for name, field in fields.items() if layer.get(name) is not None}


def _step_size(rule: str, lr: float | None) -> float | None:
    """Return the step size for a rule: its own default where ``lr`` is None, None if it takes or has none."""
    parameter = inspect.signature(registry_of("rules")[rule]).parameters.get("lr")
    if parameter is None or lr is not None:
        return lr if parameter else None
    return None if parameter.default is inspect.Parameter.empty else float(parameter.default)


def _check_step_size(rule: str, asked: float | None) -> None:
    if "lr" in inspect.signature(registry_of("rules")[rule]).parameters:
        raise RequestError(f"inner_lr is not set, and rule {rule!r} has no step size of its own")
    if asked is not None:
        raise RequestError(f"inner_lr has no meaning for rule {rule!r}, which learns its steps; got {asked}")
