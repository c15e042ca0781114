"""MAML with TRPO on 2-D navigation from the functional layer alone: no Run, no files, no command line."""

from collections.abc import Callable

import torch

from metarl import (
    Address,
    Chunking,
    Episodes,
    GaussianMLP,
    Inner,
    Meta,
    MetaLearner,
    MetaOptimizer,
    Rule,
    TaskData,
    TrustRegion,
    adapt,
    begin_tasks,
    collect,
    expand,
    generator,
    initial_params,
    inner_loop,
    make,
    maml,
    policy,
    policy_of_tasks,
    prepare_process,
    sgd,
    step_tasks,
    surrogate,
    trpo,
    undiscounted_returns,
    vpg,
    with_advantage,
)

SGD, TRPO = sgd(lr=0.1), trpo(max_kl=0.01)


def main(
    iterations: int = 50,
    tasks: int = 20,
    episodes: int = 20,
    horizon: int = 100,
    rule: Rule = SGD,
    make_learner: Callable[..., MetaLearner] = maml,
    optimizer: MetaOptimizer = TRPO,
) -> Meta:
    """Meta-train, print the mean return before and after one inner step, and return the meta-parameters."""
    prepare_process()
    torch.manual_seed(1)
    family = make("point-goal", horizon=horizon)
    env = family.make_vec(tasks * episodes)
    network = GaussianMLP(2, 2, hidden=(64, 64))
    apply, act = policy(network), policy_of_tasks(network)

    adaptation = adapt(apply, vpg, rule, order=2)
    learner = make_learner(apply, adaptation, surrogate, Chunking(size=10), trust_region=TrustRegion(apply))
    params = initial_params(network)
    meta = Meta(params, rule.init(params, torch.Generator().manual_seed(1)))
    state = optimizer.init(meta)

    def experience(iteration: int, meta: Meta) -> TaskData:
        """Draw, adapt, draw again."""
        goals = family.sample_tasks(tasks, generator(1, "tasks", iteration))
        each = expand(meta, tasks)  # a copy for each task: the task axis leads from here on

        def draw(k: int, inner: Inner) -> Episodes:
            address = Address(seed=1, use=0, iteration=iteration, inner_step=k)
            batch = collect(
                env, act, inner.params, goals, episodes=episodes, horizon=horizon, address=address
            )
            batches.append(with_advantage(batch, gamma=0.99, lam=1.0)[0])
            return batches[-1]

        def step(k: int, inner: Inner, batch: Episodes) -> Inner:
            with torch.no_grad():
                return step_tasks(adaptation, each, inner, batch)[0]

        batches: list[Episodes] = []
        _, adapted = inner_loop(step, begin_tasks(adaptation, each), draw, steps=1)
        return TaskData(support=tuple(batches), query=draw(1, adapted))

    for iteration in range(1, iterations + 1):
        data = experience(iteration, meta)
        meta, state, metrics = optimizer.step(learner(data), meta, state)
        before, after = (float(undiscounted_returns(batch).mean()) for batch in (*data.support, data.query))
        print(f"iteration {iteration}: return {before:.1f} -> {after:.1f}, kl {metrics.get('kl', 0.0):.4f}")
    env.close()
    return meta


if __name__ == "__main__":
    main()
