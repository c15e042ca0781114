"""A meta-learner of one's own: move the initialisation towards the mean of the adapted parameters."""

import torch
from functional import main as meta_train

from metarl import (
    Adaptation,
    Apply,
    Chunking,
    Meta,
    MetaLearner,
    Objective,
    Point,
    Problem,
    TaskData,
    TrustRegion,
    expand,
    optimizers,
    tree_map,
    unroll,
)


def mean_of_adapted(
    apply: Apply,
    adaptation: Adaptation,
    objective: Objective,
    chunking: Chunking,
    *,
    trust_region: TrustRegion,
) -> MetaLearner:
    """Hands θ − mean over tasks of θ′ to the optimizer in place of a gradient (Nichol et al. 2018)."""

    def learner(data: TaskData) -> Problem:
        def at(meta: Meta) -> Point:
            each = expand(meta, data.tasks)
            with torch.no_grad():
                adapted = unroll(adaptation, each, data.support).params
            towards = tree_map(lambda x, to: x - to.mean(0), meta.model, adapted)
            return Point(torch.zeros(()), Meta(towards, {}), metrics={})

        return Problem(at)  # neither losses elsewhere nor a curvature: a plain step is all it allows

    return learner


def main(iterations: int = 50, **sizes: int) -> Meta:
    """Meta-train with it by plain steps of 0.5 towards the mean."""
    return meta_train(iterations, make_learner=mean_of_adapted, optimizer=optimizers["sgd"](lr=0.5), **sizes)


if __name__ == "__main__":
    main()
