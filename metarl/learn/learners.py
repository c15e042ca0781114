"""The meta-learners by name."""

from collections.abc import Callable

from metarl.core.registry import Registry
from metarl.learn.maml import e_maml, maml
from metarl.learn.problem import MetaLearner
from metarl.learn.reptile import reptile

learners: Registry[Callable[..., MetaLearner], None] = Registry("learner", "metarl.learners", no_facts=None)
learners.register("maml")(maml)
learners.register("e-maml")(e_maml)
learners.register("reptile")(reptile)
