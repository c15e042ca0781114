"""Values that make no sense together: each combination and its line, with what to use instead.

No part is named here: what must be known of one stands where it is registered, and what must be known of an
option at its field. Lines are templates of the values, of the family and its ``data``, of what it ``gives``
and what ``other`` families give.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

from metarl.core.errors import RequestError
from metarl.rollout.family import Family, is_supervised
from metarl.run.config.algorithms import ALGORITHMS
from metarl.run.config.parts import registry_of
from metarl.run.config.train_fields import DEFAULTS, FIELDS

Values = Mapping[str, Any]
GIVES = {"episodes": "episodes", "examples": "labelled examples"}


class Facts(NamedTuple):
    """The facts of the parts that a configuration names."""

    objective: Any
    rule: Any
    learner: Any
    optimizer: Any


def check_together(family: Family, values: Values) -> None:
    """Check that the values of a configuration, all of them filled in, make sense together.

    Raises:
        RequestError: one line about those that make none, and what to use.
    """
    of, other = ("examples", "episodes") if is_supervised(family) else ("episodes", "examples")
    options = {"objective": "objective", "rule": "rule", "learner": "learner", "optimizer": "meta_optimizer"}
    facts = Facts(*(registry_of(f"{part}s").facts(values[option]) for part, option in options.items()))
    lines = chain(_of_data(values, of), _of_parts(values, of, facts))
    for line in chain(lines, _of_episodes(values, facts) if of == "episodes" else ()):
        name, gives = f"family {family.name!r}", f"gives {GIVES[of]}"
        raise RequestError(
            line.format(**values, data=f"{name}, which {gives}", gives=f"{name} {gives}", other=GIVES[other])
        )


def _allowed(parts: str, of: str | None = None, **facts: bool) -> str:
    """Return the names of a kind of part with such facts, ``of`` such data or of either."""
    registry = registry_of(parts)
    known = {name: registry.facts(name) for name in registry}
    return ", ".join(
        name
        for name, its in known.items()
        if all(getattr(its, fact) is value for fact, value in facts.items())
        and (of is None or its.of in (None, of))
    )


def _of_data(v: Values, of: str) -> Iterator[str]:
    """Yield a line for each option that means nothing here and was set: a file says all, defaults too."""
    for name, field in FIELDS.items():
        if field.metadata["of"] not in (None, of):
            usual = {field.metadata["default"], *(a.defaults.get(name) for a in ALGORITHMS.values())}
            if v[name] not in usual:
                yield f"{name} has no meaning for {{data}}; got {{{name}!r}}"
    algorithm = ALGORITHMS[v["algorithm"]]
    for name in algorithm.fixed:
        if v[name] != algorithm.defaults[name]:
            fixed = f"{name} {algorithm.defaults[name]}"
            yield f"algorithm {{algorithm!r}} is that of {fixed}, got {name} {{{name}}}; use maml"


def _of_parts(v: Values, of: str, facts: Facts) -> Iterator[str]:
    """Yield a line for each part that does not suit the family's data, or the meta-learner."""
    optimizer = "meta_optimizer {meta_optimizer!r} needs a"
    if not facts.learner.has_loss and facts.optimizer.needs_loss:
        allowed = _allowed("optimizers", needs_loss=False)
        yield f"{optimizer} loss, {{learner!r}} has none; allowed: {allowed}"
    if ALGORITHMS[v["algorithm"]].of not in (None, of):
        yield "algorithm {algorithm!r} is of {other}, {gives}; use maml"
    if of == "examples" and facts.optimizer.needs_policy:
        yield f"{optimizer} policy, {{gives}}; allowed: {_allowed('optimizers', needs_policy=False)}"
    for option in ("learner", "objective"):
        if getattr(facts, option).of not in (None, of):
            allowed = _allowed(f"{option}s", of)
            yield f"{option} {{{option}!r}} is of {{other}}, {{gives}}; allowed: {allowed}"
    if of == "examples" and v["executor"] not in ("auto", "inline"):
        yield "executor {executor!r} collects episodes, {gives}; allowed: auto, inline"


def _of_episodes(v: Values, facts: Facts) -> Iterator[str]:
    objective, rule, learner, optimizer = facts
    critic, several = v["baseline"] == "value", v["inner_epochs"] > 1
    if objective.needs_critic and not critic:
        yield "objective {objective!r} learns a value network, got baseline {baseline!r}; use baseline value"
    if critic and not optimizer.takes_critic:
        also: dict[str, Any] = {"leaves_policy": False} if learner.credits_sampling else {}
        instead = "" if objective.needs_critic else ", or baseline linear"
        reason = "draws its region by a KL, which a value network does not have"
        allowed = _allowed("optimizers", takes_critic=True, **also)
        yield f"meta_optimizer {{meta_optimizer!r}} {reason}; allowed: {allowed}{instead}"
    if critic and v["gamma"] == 1:
        reason = "goes on from where time cuts an episode, which without a discount has no end"
        yield f"baseline {{baseline!r}} {reason}; got gamma 1, use less, or baseline linear"
    if not critic and v["value_weight"] != DEFAULTS["value_weight"]:
        yield "value_weight {value_weight} has no meaning without a value network; use baseline value"
    if learner.credits_sampling:
        yield from _of_sampling(v, facts)
    if not objective.averages_steps and v["support_stride"] > 1:
        reason = "is not known as a mean over time steps"
        yield f"objective {{objective!r}} {reason}, got support_stride {{support_stride}}; use 1"
    if several and objective.on_policy:
        reason = "is right for the policy that collected, got inner_epochs {inner_epochs}"
        allowed = _allowed("objectives", "episodes", on_policy=False)
        yield f"objective {{objective!r}} {reason}; use 1, or objective {allowed}"
    if several and optimizer.leaves_policy:
        reason = "weighs the policies that collected, once each, got inner_epochs {inner_epochs}"
        allowed = _allowed("optimizers", leaves_policy=False)
        yield f"meta_optimizer {{meta_optimizer!r}} {reason}; use 1, or meta_optimizer {allowed}"
    first = "rule {rule!r}" if rule.first_order else "order 1" if v["order"] == 1 else ""
    first = "learner {learner!r}" if learner.first_order else first
    # A meta-optimizer that leaves the policy that collected meets other first derivatives too.
    if first and not several and not optimizer.leaves_policy and objective.second_order:
        reason = f"differs from vpg in its second derivatives alone, which {first} leaves out"
        yield f"objective {{objective!r}} {reason}; use vpg"


def _of_sampling(v: Values, facts: Facts) -> Iterator[str]:
    """Yield a line for each value that a learner which credits the sampling cannot be used with."""
    if facts.objective.second_order:
        reason = "credits the sampling by a term of its own, which objective {objective!r} counts a second"
        allowed = _allowed("objectives", "episodes", second_order=False)
        yield f"learner {{learner!r}} {reason} time; allowed: {allowed}"
    if facts.optimizer.leaves_policy:
        reason = "takes several steps, over which the credit of learner {learner!r} has no bound"
        allowed = _allowed("optimizers", leaves_policy=False)
        yield f"meta_optimizer {{meta_optimizer!r}} {reason}; allowed: {allowed}"
    if v["tasks"] == 1:
        reason = "measures a task against the others of its meta-batch"
        yield f"learner {{learner!r}} {reason}; got tasks 1, use more"
