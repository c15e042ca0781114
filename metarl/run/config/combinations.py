"""Values that others decide, and those that make no sense together, each refused with what to use instead.

No part is named here: what must be known of one stands where it is registered, and what must be known of an
option at its field.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from metarl.rollout.family import Family, TaskFamily, is_supervised
from metarl.run.config.algorithms import ALGORITHMS
from metarl.run.config.parts import registry_of

# Up to here no run was seen to suffer from thinning what is adapted to; at 0.5 two of four seeds of 2-D
# navigation were lost by it (experiments/RESULTS.md).
SMALL_INNER_STEP = 0.1
# Time steps that a stride leaves of an episode at least. Of two, every fourth is the first alone, whose state
# may be the same for all episodes.
KEPT_STEPS = 10

Values = Mapping[str, Any]
GIVES = {"episodes": "episodes", "examples": "labelled examples"}


class Facts(NamedTuple):
    """The facts of the parts that a configuration names."""

    objective: Any
    rule: Any
    learner: Any
    optimizer: Any


def open_values(family: Family, values: Values) -> dict[str, Any]:
    """Return ``values`` with those that are open where the family and other values decide them."""
    v = dict(values)
    v |= _network(family, v)
    if not is_supervised(family):
        facts = _facts(v)
        v["baseline"] = v["baseline"] or ("value" if facts.objective.needs_critic else "linear")
        v["inner_epochs"] = v["inner_epochs"] or facts.objective.inner_epochs
        stride = v["curvature_stride"] or max(1, min(4, cast(TaskFamily, family).horizon // KEPT_STEPS))
        small = facts.rule.fixed_step and v["inner_lr"] is not None and v["inner_lr"] <= SMALL_INNER_STEP
        small = small and facts.objective.averages_steps
        v["curvature_stride"] = stride
        v["support_stride"] = v["support_stride"] or (stride if small else 1)
    return v


def refusal(fields: Mapping[str, "dataclasses.Field[Any]"], family: Family, values: Values) -> str | None:
    """Return one line about values that make no sense together and what to use; None if all do."""
    of = "examples" if is_supervised(family) else "episodes"
    gives = f"family {family.name!r} gives {GIVES[of]}"
    for lines in (
        _of_other_data(fields, family, values, of),
        _of_algorithm(values),
        _of_parts(values, of, gives),
        () if of == "examples" else _of_episodes(values, fields["value_weight"].metadata["default"]),
    ):
        if line := next(iter(lines), None):
            return line
    return None


def _network(family: Family, values: Values) -> dict[str, Any]:
    from metarl.core.cnn import usual_hidden  # loads torch, for which many a refusal need not wait

    shape = family.observation_space.shape or ()
    image, hidden = len(shape) == 3, values["hidden"]
    model = values["model"] or ("cnn" if image and not is_supervised(family) else "mlp")
    if hidden is None:
        hidden = usual_hidden(shape) if image and model == "cnn" else (64, 64)
    return {"model": model, "hidden": hidden}


def _facts(values: Values) -> Facts:
    return Facts(
        registry_of("objectives").facts(values["objective"]),
        registry_of("rules").facts(values["rule"]),
        registry_of("learners").facts(values["learner"]),
        registry_of("optimizers").facts(values["meta_optimizer"]),
    )


def _allowed(parts: str, suits: Callable[[Any], bool]) -> str:
    """Return the names of a kind of part whose facts suit, for a message."""
    registry = registry_of(parts)
    return ", ".join(name for name in registry if suits(registry.facts(name)))


def _of_other_data(
    fields: Mapping[str, "dataclasses.Field[Any]"], family: Family, values: Values, of: str
) -> Iterator[str]:
    """Yield a line for each option that means nothing here and was set: a file says all, defaults too."""
    for name, field in fields.items():
        if field.metadata["of"] not in (None, of):
            usual = {field.metadata["default"], *(a.defaults.get(name) for a in ALGORITHMS.values())}
            if values[name] not in usual:
                no_meaning = f"{name} has no meaning for family {family.name!r}, which gives {GIVES[of]}"
                yield f"{no_meaning}; got {values[name]!r}"


def _of_algorithm(values: Values) -> Iterator[str]:
    algorithm = ALGORITHMS[values["algorithm"]]
    for name in algorithm.fixed:
        if values[name] != algorithm.defaults[name]:
            named = f"algorithm {values['algorithm']!r} is that of {name} {algorithm.defaults[name]}"
            yield f"{named}, got {name} {values[name]}; use maml"


def _of_parts(values: Values, of: str, gives: str) -> Iterator[str]:
    """Yield a line for each part that does not suit the family's data, or the meta-learner."""
    algorithm, facts = values["algorithm"], _facts(values)
    if not facts.learner.has_loss and facts.optimizer.needs_loss:
        named = f"meta_optimizer {values['meta_optimizer']!r} needs a loss, {values['learner']!r} has none"
        yield f"{named}; allowed: {_allowed('optimizers', lambda f: not f.needs_loss)}"
    if ALGORITHMS[algorithm].of not in (None, of):
        yield f"algorithm {algorithm!r} is of {GIVES[str(ALGORITHMS[algorithm].of)]}, {gives}; use maml"
    if of == "examples" and facts.optimizer.needs_policy:
        named = f"meta_optimizer {values['meta_optimizer']!r} needs a policy"
        yield f"{named}, {gives}; allowed: {_allowed('optimizers', lambda f: not f.needs_policy)}"
    for option, parts, fact in (
        ("learner", "learners", facts.learner),
        ("objective", "objectives", facts.objective),
    ):
        if fact.of not in (None, of):
            allowed = _allowed(parts, lambda f: f.of in (None, of))
            yield f"{option} {values[option]!r} is of {GIVES[fact.of]}, {gives}; allowed: {allowed}"
    if of == "examples" and values["executor"] not in ("auto", "inline"):
        yield f"executor {values['executor']!r} collects episodes, {gives}; allowed: auto, inline"


def _of_episodes(c: Values, value_weight: float) -> Iterator[str]:
    facts = _facts(c)
    objective, rule, learner, optimizer = facts
    named = {name: f"{name} {c[name]!r}" for name in ("objective", "meta_optimizer", "learner", "baseline")}
    critic, several = c["baseline"] == "value", c["inner_epochs"] > 1
    if objective.needs_critic and not critic:
        yield f"{named['objective']} learns a value network, got {named['baseline']}; use baseline value"
    if critic and not optimizer.takes_critic:
        allowed = _allowed(
            "optimizers", lambda f: f.takes_critic and not (learner.credits_sampling and f.leaves_policy)
        )
        instead = "" if objective.needs_critic else ", or baseline linear"
        reason = "draws its region by a KL, which a value network does not have"
        yield f"{named['meta_optimizer']} {reason}; allowed: {allowed}{instead}"
    if critic and c["gamma"] == 1:
        reason = "goes on from where time cuts an episode, which without a discount has no end"
        yield f"{named['baseline']} {reason}; got gamma 1, use less, or baseline linear"
    if not critic and c["value_weight"] != value_weight:
        yield f"value_weight {c['value_weight']} has no meaning without a value network; use baseline value"
    yield from _of_sampling(c, facts, named)
    if not objective.averages_steps and c["support_stride"] > 1:
        reason = "is not known as a mean over time steps"
        yield f"{named['objective']} {reason}, got support_stride {c['support_stride']}; use 1"
    if several and objective.on_policy:
        allowed = _allowed("objectives", lambda f: f.of == "episodes" and not f.on_policy)
        reason = f"is right for the policy that collected, got inner_epochs {c['inner_epochs']}"
        yield f"{named['objective']} {reason}; use 1, or objective {allowed}"
    if several and optimizer.leaves_policy:
        allowed = _allowed("optimizers", lambda f: not f.leaves_policy)
        reason = f"weighs the policies that collected, once each, got inner_epochs {c['inner_epochs']}"
        yield f"{named['meta_optimizer']} {reason}; use 1, or meta_optimizer {allowed}"
    first = f"rule {c['rule']!r}" if rule.first_order else "order 1" if c["order"] == 1 else ""
    first = named["learner"] if learner.first_order else first
    # A meta-optimizer that leaves the policy that collected meets other first derivatives too.
    if first and not several and not optimizer.leaves_policy and objective.second_order:
        reason = f"differs from vpg in its second derivatives alone, which {first} leaves out"
        yield f"{named['objective']} {reason}; use vpg"


def _of_sampling(c: Values, facts: Facts, named: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each value that a learner which credits the sampling cannot be used with."""
    if not facts.learner.credits_sampling:
        return
    if facts.objective.second_order:
        allowed = _allowed("objectives", lambda f: f.of == "episodes" and not f.second_order)
        reason = f"credits the sampling by a term of its own, which {named['objective']} counts a second time"
        yield f"{named['learner']} {reason}; allowed: {allowed}"
    if facts.optimizer.leaves_policy:
        allowed = _allowed("optimizers", lambda f: not f.leaves_policy)
        reason = f"takes several steps, over which the credit of {named['learner']} has no bound"
        yield f"{named['meta_optimizer']} {reason}; allowed: {allowed}"
    if c["tasks"] == 1:
        reason = "measures a task against the others of its meta-batch"
        yield f"{named['learner']} {reason}; got tasks 1, use more"
