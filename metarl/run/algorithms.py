"""The algorithms: names for compositions of learner, rule and order, with the defaults that go with them."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Algorithm(NamedTuple):
    """A meta-learner's name in one line, and the defaults it brings along."""

    summary: str
    defaults: Mapping[str, Any]


ALGORITHMS: dict[str, Algorithm] = {
    "maml": Algorithm(
        "model-agnostic meta-learning, differentiated through the inner steps (Finn et al. 2017)", {}
    ),
    "fomaml": Algorithm(
        "first-order MAML: the inner gradients count as constants (Finn et al. 2017)", {"order": 1}
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
    ),
    "e-maml": Algorithm(
        "MAML that also credits the initialisation for what its episodes let the task learn "
        "(Stadie et al. 2018)",
        {"learner": "e-maml"},
    ),
}

# What tasks of labelled examples bring along: no policy, hence no trust region.
SUPERVISED = {"meta_optimizer": "adam", "objective": "mse"}
# What a value network brings along: it has no KL, hence no trust region.
VALUED = {"meta_optimizer": "adam"}
# Options that have a meaning in one of the two worlds alone.
EPISODIC_ONLY = (
    *("episodes", "init_std", "gamma", "gae_lambda"),
    *("max_kl", "cg_iterations", "cg_damping", "curvature_stride", "support_stride"),
    *("backtrack_ratio", "max_backtracks", "meta_epochs", "clip", "kl_coefficient", "kl_target"),
    *("inner_epochs", "baseline", "value_weight"),
)
SUPERVISED_ONLY = ("inner_batch", "filters", "statistics")
