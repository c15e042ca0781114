"""The algorithms: names for compositions of learner, rule and order, with the defaults that go with them."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple


class Algorithm(NamedTuple):
    """A meta-learner's name in one line, and the defaults it brings along.

    Attributes:
        of: what tasks must give, "episodes" or "examples"; None: either.
        fixed: the defaults without which it would be another algorithm.
    """

    summary: str
    defaults: Mapping[str, Any]
    of: Literal["episodes", "examples"] | None = None
    fixed: tuple[str, ...] = ()


ALGORITHMS: dict[str, Algorithm] = {
    "maml": Algorithm(
        "model-agnostic meta-learning, differentiated through the inner steps (Finn et al. 2017)", {}
    ),
    "fomaml": Algorithm(
        "first-order MAML: the inner gradients count as constants (Finn et al. 2017)",
        {"order": 1},
        fixed=("order",),
    ),
    "reptile": Algorithm(
        "the initialisation moves toward the adapted parameters (Nichol et al. 2018)",
        {"learner": "reptile", "order": 1, "meta_optimizer": "sgd", "meta_lr": 0.1, "inner_steps": 5},
    ),
    "lstm": Algorithm(
        "an LSTM is the update rule, learned together with the initialisation (Ravi & Larochelle 2017)",
        {
            "rule": "lstm",
            "order": 1,
            "meta_lr": 1e-3,
            "max_grad_norm": 0.25,
            "inner_steps": 5,
            "statistics": "running",
        },
    ),
    "meta-sgd": Algorithm(
        "MAML with a learned step size for each parameter (Li et al. 2017)", {"rule": "meta-sgd"}
    ),
    "anil": Algorithm("MAML in which the last layer alone adapts (Raghu et al. 2020)", {"adapts": "head"}),
    "promp": Algorithm(
        "MAML with low-variance curvature and a clipped, penalised meta-step of several epochs "
        "(Rothfuss et al. 2019)",
        {"objective": "lvc", "meta_optimizer": "ppo", "meta_lr": 1e-3},
        of="episodes",
    ),
    "e-maml": Algorithm(
        "MAML that also credits the initialisation for what its episodes let the task learn "
        "(Stadie et al. 2018)",
        {"learner": "e-maml"},
    ),
}
