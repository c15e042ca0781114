"""For parts of one's own: contract tests, one line each (``check_rule(rule)``, ``check_family(family)``), and
the truth of small MDPs without sampling, to hold an estimator against (``exact_meta_gradient``).
"""

from metarl.testing.check_family import check_family
from metarl.testing.check_rule import check_rule
from metarl.testing.exact import (
    FiniteMDP,
    MetaGradient,
    Trajectories,
    enumerated,
    exact_meta_gradient,
    exact_one_trajectory_meta_gradient,
    exact_return,
    one_by_one,
    trajectories,
)

__all__ = [
    "FiniteMDP",
    "MetaGradient",
    "Trajectories",
    "check_family",
    "check_rule",
    "enumerated",
    "exact_meta_gradient",
    "exact_one_trajectory_meta_gradient",
    "exact_return",
    "one_by_one",
    "trajectories",
]
