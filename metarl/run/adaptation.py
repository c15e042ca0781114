"""Adapting one policy to one task of the family, or to any environment with the family's spaces."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import gymnasium
import numpy as np

from metarl.core.batch import Episodes
from metarl.core.errors import RequestError
from metarl.core.params import Params, tree_map
from metarl.rollout.collector import Address, collect_in
from metarl.run.agent import Agent
from metarl.run.experience import USES, Collector, collector, explore
from metarl.run.policy import Policy
from metarl.run.step_sizes import step_sizes
from metarl.run.trainer import Trainer


def adapt_to(
    run: Trainer,
    task: Mapping[str, Any] | None,
    env: gymnasium.Env[Any, Any] | None,
    *,
    steps: int,
    episodes: int,
    inner_lr: float | Sequence[float] | None,
    seed: int,
) -> Policy:
    """``Run.adapt``; see there."""
    if bool(task) == (env is not None):
        raise RequestError("adapt needs a task of the family or an environment, and not both")
    if task is not None and not isinstance(task, Mapping):
        raise RequestError(f"a task is a mapping such as {{'goal': [0.3, -0.2]}}, got {type(task).__name__}")
    if steps < 0 or episodes < 1:
        raise RequestError(f"adapt needs steps >= 0 and episodes >= 1, got {steps} and {episodes}")
    agent = run.agent
    profile = step_sizes(inner_lr, steps, run.config)
    address = Address(seed, USES["adapt"])
    with ExitStack() as stack:
        if env is not None:
            collect_all = _collector_in(agent, env, episodes)
        else:
            vec = agent.family.make_vec(episodes)
            stack.callback(vec.close)
            rows = {key: np.asarray(value)[None] for key, value in (task or {}).items()}
            collect_all = collector(agent, rows, vec, episodes)
        try:
            policies, _ = explore(agent, run.meta, 1, collect_all, agent.adaptations(profile, steps), address)
        except ValueError as error:  # a task that the family cannot serve
            raise RequestError(str(error)) from error
    params = tree_map(lambda x: x[0], policies[-1])
    family = agent.family
    return Policy(agent.apply, params, family.observation_space, family.action_space, seed)


def _collector_in(agent: Agent, env: gymnasium.Env[Any, Any], episodes: int) -> Collector:
    for name in ("observation_space", "action_space"):
        own, theirs = getattr(agent.family, name), getattr(env, name)
        counts = getattr(own, "n", None), getattr(theirs, "n", None)  # of a Discrete space
        if type(own) is not type(theirs) or own.shape != theirs.shape or counts[0] != counts[1]:
            raise RequestError(f"the environment's {name} is {theirs}, the policy's is {own}")

    def run(policies: Params, address: Address, deterministic: bool) -> Episodes:
        return collect_in(
            env,
            agent.act,
            policies,
            episodes=episodes,
            horizon=agent.family.horizon,
            address=address,
            deterministic=deterministic,
        )

    return run
