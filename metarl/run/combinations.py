"""Options that make no sense together, each refused with what to use instead; and what others settle."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, cast

from metarl.rollout.family import Family, TaskFamily, is_supervised
from metarl.run.algorithms import ALGORITHMS, EPISODIC_ONLY, SUPERVISED_ONLY

OF_EPISODES = ("a2c", "dice", "lvc", "ppo", "surrogate", "vpg")
OF_EXAMPLES = ("cross-entropy", "mse")
# Inner objectives whose second derivatives alone set them apart from vpg.
OF_SECOND_ORDER = ("dice", "lvc", "surrogate")
# Means over time steps, which a part of them estimates. In dice each step weighs those after it; an
# objective of one's own may do likewise.
OF_STEPS = ("a2c", "lvc", "ppo", "surrogate", "vpg")
# Up to here no run was seen to suffer from thinning what is adapted to; at 0.5 two of four seeds of 2-D
# navigation were lost by it (experiments/RESULTS.md).
SMALL_INNER_STEP = 0.1
# Time steps that a stride leaves of an episode at least. Of two, every fourth is the first alone, whose state
# may be the same for all episodes.
KEPT_STEPS = 10


def open_values(family: Family, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with those that are open where the family and other values decide them."""
    v = dict(values)
    v |= _network(family, v)
    if not is_supervised(family):
        objective = v["objective"]
        v["baseline"] = v["baseline"] or ("value" if objective == "a2c" else "linear")
        v["inner_epochs"] = v["inner_epochs"] or (3 if objective == "ppo" else 1)
        stride = v["curvature_stride"] or max(1, min(4, cast(TaskFamily, family).horizon // KEPT_STEPS))
        small = v["rule"] == "sgd" and v["inner_lr"] <= SMALL_INNER_STEP and objective in OF_STEPS
        v["curvature_stride"] = stride
        v["support_stride"] = v["support_stride"] or (stride if small else 1)
    return v


def refusal(
    fields: Mapping[str, "dataclasses.Field[Any]"], family: Family, values: Mapping[str, Any]
) -> str | None:
    """Return one line about values that make no sense together and what to use; None if all do."""
    supervised = is_supervised(family)
    gives = "labelled examples" if supervised else "episodes"
    default = {name: field.metadata["default"] for name, field in fields.items()}
    for name in EPISODIC_ONLY if supervised else SUPERVISED_ONLY:
        usual = {default[name], *(a.defaults.get(name) for a in ALGORITHMS.values())}
        if values[name] not in usual:
            return (
                f"{name} has no meaning for family {family.name!r}, which gives {gives}; got {values[name]!r}"
            )
    if values["algorithm"] == "fomaml" and values["order"] != 1:
        return f"algorithm 'fomaml' is maml of order 1, got order {values['order']}; use maml"
    given = f"family {family.name!r} gives {gives}"
    if values["learner"] == "reptile" and values["meta_optimizer"] in ("trpo", "ppo"):
        named = f"meta_optimizer {values['meta_optimizer']!r}"
        return f"{named} needs a loss, 'reptile' has none; allowed: sgd, adam"
    if supervised:
        return next(_wrong_for_examples(values, given), None)
    return next(_wrong_for_episodes(values, given, default["value_weight"]), None)


def _network(family: Family, values: Mapping[str, Any]) -> dict[str, Any]:
    from metarl.core.cnn import usual_hidden  # loads torch, for which many a refusal need not wait

    shape = family.observation_space.shape or ()
    image, hidden = len(shape) == 3, values["hidden"]
    model = values["model"] or ("cnn" if image and not is_supervised(family) else "mlp")
    if hidden is None:
        hidden = usual_hidden(shape) if image and model == "cnn" else (64, 64)
    return {"model": model, "hidden": hidden}


def _wrong_for_examples(c: Mapping[str, Any], given: str) -> Iterator[str]:
    learner, optimiser, objective = c["learner"], c["meta_optimizer"], c["objective"]
    if c["algorithm"] == "promp" or optimiser in ("trpo", "ppo"):
        named = "algorithm 'promp'" if c["algorithm"] == "promp" else f"meta_optimizer {optimiser!r}"
        instead = "use maml" if c["algorithm"] == "promp" else "allowed: adam, sgd"
        yield f"{named} needs a policy, {given}; {instead}"
    if learner == "e-maml":
        yield f"learner 'e-maml' credits the choice of episodes, {given}; use maml"
    if c["executor"] == "processes":
        yield f"executor 'processes' collects episodes, {given}; allowed: auto, inline"
    if objective in OF_EPISODES:
        yield f"objective {objective!r} is of episodes, {given}; allowed: {', '.join(OF_EXAMPLES)}"


def _wrong_for_episodes(c: Mapping[str, Any], given: str, value_weight: float) -> Iterator[str]:
    learner, optimiser, objective = c["learner"], c["meta_optimizer"], c["objective"]
    several = c["inner_epochs"] > 1
    if objective in OF_EXAMPLES:
        yield f"objective {objective!r} is of labelled examples, {given}; allowed: {', '.join(OF_EPISODES)}"
    if objective == "a2c" and c["baseline"] != "value":
        yield "objective 'a2c' learns a value network, got baseline 'linear'; use vpg"
    if c["baseline"] == "value" and optimiser == "trpo":
        others = "adam or sgd" if learner == "e-maml" else "adam or ppo"
        instead = "" if objective == "a2c" else ", or baseline linear"
        told = "draws its region by a KL, which a value network does not have"
        yield f"meta_optimizer 'trpo' {told}; use {others}{instead}"
    if c["baseline"] == "value" and c["gamma"] == 1:
        told = "goes on from where time cuts an episode, which without a discount has no end"
        yield f"baseline 'value' {told}; got gamma 1, use less, or baseline linear"
    if c["baseline"] != "value" and c["value_weight"] != value_weight:
        yield f"value_weight {c['value_weight']} has no meaning without a value network; use baseline value"
    if learner == "e-maml" and objective not in ("vpg", "a2c") and objective in OF_EPISODES:
        told = (
            f"credits the sampling by a term of its own, which objective {objective!r} counts a second time"
        )
        yield f"learner 'e-maml' {told}; use vpg or a2c"
    if learner == "e-maml" and optimiser == "ppo":
        told = "takes several steps, over which e-maml's credit has no bound"
        yield f"meta_optimizer 'ppo' {told}; use adam, or with vpg trpo"
    if learner == "e-maml" and c["tasks"] == 1:
        yield "learner 'e-maml' measures a task against the others of its meta-batch; got tasks 1, use more"
    if objective == "dice" and c["support_stride"] > 1:
        told = "multiplies the ratios of all time steps"
        yield f"objective 'dice' {told}, got support_stride {c['support_stride']}; use 1"
    if several and objective in ("vpg", "a2c"):
        told = "is right for the policy that collected"
        yield f"objective {objective!r} {told}, got inner_epochs {c['inner_epochs']}; use ppo or lvc"
    if several and optimiser == "ppo":
        told = "weighs the policies that collected, once each"
        yield f"meta_optimizer 'ppo' {told}, got inner_epochs {c['inner_epochs']}; use 1, or adam"
    first = "rule 'lstm'" if c["rule"] == "lstm" else "order 1" if c["order"] == 1 else ""
    first = "learner 'reptile'" if learner == "reptile" else first
    # The meta-optimiser ppo leaves the policy that collected, and elsewhere first derivatives differ too.
    if first and not several and optimiser != "ppo" and objective in (*OF_SECOND_ORDER, "ppo"):
        told = f"differs from vpg in its second derivatives alone, which {first} leaves out"
        yield f"objective {objective!r} {told}; use vpg"
