"""From the values that are asked for to all values of a configuration: layers, then what others settle."""

import inspect
from collections.abc import Mapping
from typing import Any, cast

from metarl.core.errors import RequestError
from metarl.rollout.family import Family, TaskFamily, is_supervised
from metarl.rollout.registry import families
from metarl.run.config.algorithms import ALGORITHMS
from metarl.run.config.combinations import check_together
from metarl.run.config.devices import usable_cores
from metarl.run.config.fields import Kind, accept, check_names
from metarl.run.config.parts import registry_of
from metarl.run.config.train_fields import DEFAULTS, FIELDS

# Up to here no run was seen to suffer from thinning what is adapted to; at 0.5 two of four seeds of 2-D
# navigation were lost by it (experiments/RESULTS.md).
SMALL_INNER_STEP = 0.1
# Time steps that a stride leaves of an episode at least. Of two, every fourth is the first alone, whose state
# may be the same for all episodes.
KEPT_STEPS = 10

Values = Mapping[str, Any]


def layered(asked: Values) -> dict[str, Any]:
    """Lay the defaults over one another, and what is asked for over them; each value is checked alone.

    Later layers win: the fields' own defaults, those for labelled examples or for a value network, the
    algorithm's, the family's, ``asked``. In each of them ``None`` is unset.

    Raises:
        RequestError: one line naming the field, what was given and what is allowed.
    """
    asked = _accepted(asked)
    for name, known in (("algorithm", ALGORITHMS), ("family", families)):
        if name not in asked:
            raise RequestError(f"{name} is not set; allowed: {', '.join(known)}")
    family = families[asked["family"]]
    usual = getattr(family, "defaults", {})
    check_names(usual, FIELDS, f"the defaults of family {asked['family']!r}")
    objective = asked.get("objective")
    critic = asked.get("baseline") == "value" or (
        objective is not None and registry_of("objectives").facts(objective).needs_critic
    )
    values: dict[str, Any] = dict.fromkeys(FIELDS)
    for layer in (
        DEFAULTS,
        {name: field.metadata["examples"] for name, field in FIELDS.items() if is_supervised(family)},
        {name: field.metadata["critic"] for name, field in FIELDS.items() if critic},
        ALGORITHMS[asked["algorithm"]].defaults,
        usual,
    ):
        values |= _accepted(layer)
    values |= asked
    for name in ("name", "spec"):
        if name in values["family_arg"]:
            raise RequestError(f"family_arg has {name!r}, which has an option of its own: --family, --spec")
    return values


def settled(family: Family, values: Values, asked: Values) -> dict[str, Any]:
    """Fill in what the family and other values decide, and refuse what makes no sense together.

    Args:
        values: all of them by name, each checked alone (``layered``).
        asked: those that are nobody's default.

    Raises:
        RequestError: one line naming the field, what was given and what is allowed.
    """
    for name, field in FIELDS.items():
        kind: Kind = field.metadata["kind"]
        if kind.parts and values[name] not in (None, "auto"):
            for part in values[name] if isinstance(values[name], tuple) else [values[name]]:
                registry_of(kind.parts)[part]
    complete = filled(family, values, asked)
    rule = complete["rule"]
    if complete["inner_lr"] is None and _step_size(rule):
        raise RequestError(f"inner_lr is not set, and rule {rule!r} has no step size of its own")
    if complete["inner_lr"] is None and "inner_lr" in asked:
        lr = values["inner_lr"]
        raise RequestError(f"inner_lr has no meaning for rule {rule!r}, which learns its steps; got {lr}")
    check_together(family, complete)
    return complete


def filled(family: Family, values: Values, asked: Values) -> dict[str, Any]:
    """Return ``values`` with those that the family, the machine and other values decide."""
    v = dict(values) | {"spec": family.spec}
    for name in ("threads", "workers"):
        v[name] = v[name] or usable_cores()
    rule = registry_of("rules").facts(v["rule"])
    if not ("inner_lr" in asked or rule.gradient_descent):  # a family's step size is meant for those
        v["inner_lr"] = None
    parameter = _step_size(v["rule"])
    if parameter is None:
        v["inner_lr"] = None
    elif v["inner_lr"] is None and parameter.default is not parameter.empty:
        v["inner_lr"] = float(parameter.default)
    v |= _network(family, v)
    if not is_supervised(family):
        objective = registry_of("objectives").facts(v["objective"])
        v["baseline"] = v["baseline"] or ("value" if objective.needs_critic else "linear")
        v["inner_epochs"] = v["inner_epochs"] or objective.inner_epochs
        stride = v["curvature_stride"] or max(1, min(4, cast(TaskFamily, family).horizon // KEPT_STEPS))
        small = rule.fixed_step and v["inner_lr"] is not None and v["inner_lr"] <= SMALL_INNER_STEP
        v["curvature_stride"] = stride
        v["support_stride"] = v["support_stride"] or (stride if small and objective.averages_steps else 1)
    return v


def _network(family: Family, values: Values) -> dict[str, Any]:
    from metarl.core.cnn import usual_hidden  # loads torch, for which many a refusal need not wait

    shape = family.observation_space.shape or ()
    image, hidden = len(shape) == 3, values["hidden"]
    model = values["model"] or ("cnn" if image and not is_supervised(family) else "mlp")
    if hidden is None:
        hidden = usual_hidden(shape) if image and model == "cnn" else (64, 64)
    return {"model": model, "hidden": hidden}


def _accepted(layer: Values) -> dict[str, Any]:
    """Return the values that a layer sets, each in the form in which a configuration keeps it."""
    return {name: accept(field, layer[name]) for name, field in FIELDS.items() if layer.get(name) is not None}


def _step_size(rule: str) -> inspect.Parameter | None:
    return inspect.signature(registry_of("rules")[rule]).parameters.get("lr")
