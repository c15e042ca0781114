"""The meta-learners by name."""

import dataclasses
from collections.abc import Callable
from typing import Literal

from metarl.core.registry import Registry
from metarl.learn.maml import e_maml, maml
from metarl.learn.problem import MetaLearner
from metarl.learn.reptile import reptile


@dataclasses.dataclass(frozen=True)
class LearnerFacts:
    """Facts about a meta-learner that a configuration needs; the defaults suit one of which nothing is known.

    Attributes:
        of: what its tasks must give, "episodes" or "examples"; None is either.
        has_loss: its problems have losses elsewhere than at a point. Where it is False, the gradient is that
            of no function.
        first_order: no derivative of the adaptation enters its gradient.
        takes_learned_rules: it also trains what the inner rule learns.
        credits_sampling: it has a term of its own for how the parameters change what is sampled, which
            measures each task against the others of its meta-batch (``TaskData.credit``).
    """

    of: Literal["episodes", "examples"] | None = None
    has_loss: bool = True
    first_order: bool = False
    takes_learned_rules: bool = True
    credits_sampling: bool = False


learners: Registry[Callable[..., MetaLearner], LearnerFacts] = Registry(
    "learner", "metarl.learners", no_facts=LearnerFacts()
)
learners.register("maml")(maml)
learners.register("e-maml", LearnerFacts(of="episodes", credits_sampling=True))(e_maml)
learners.register("reptile", LearnerFacts(has_loss=False, first_order=True, takes_learned_rules=False))(
    reptile
)
