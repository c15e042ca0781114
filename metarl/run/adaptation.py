"""Adapting to one task of the family, to any environment with its spaces, or to labelled examples."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

import gymnasium
import numpy as np
import torch

from metarl.core.batch import Episodes, Shots
from metarl.core.errors import EnvironmentFailed, RequestError
from metarl.core.params import Params, to_device, tree_map
from metarl.learn.problem import TaskData
from metarl.rollout.collector import collect_in, possibilities
from metarl.rollout.executors import Inline
from metarl.rollout.family import TaskFamily
from metarl.rollout.seeding import Address
from metarl.rollout.shots import check_shots
from metarl.run.agent import Agent
from metarl.run.experience import USES, explore
from metarl.run.fields import shown
from metarl.run.lessons import Lessons
from metarl.run.policy import Policy
from metarl.run.predictions import predictions
from metarl.run.predictor import Predictor
from metarl.run.rollouts import Collector, Rollouts, collector
from metarl.run.step_sizes import step_sizes
from metarl.run.trainer import Trainer

NUMBERS = "biuf"  # kinds of arrays that hold some


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
        raise RequestError("adapt needs a task of the family or an environment (or shots), and not both")
    if task is not None and not isinstance(task, Mapping):
        raise RequestError(f"a task is a mapping such as {{'goal': [0.3, -0.2]}}, got {type(task).__name__}")
    if steps < 0 or episodes < 1:
        raise RequestError(f"adapt needs steps >= 0 and episodes >= 1, got {steps} and {episodes}")
    agent = run.agent
    profile = step_sizes(inner_lr, steps, agent)
    address = Address(seed, USES["adapt"])
    with ExitStack() as stack:
        if env is not None:
            collect_all = _collector_in(agent, env, episodes)
        else:
            executor = stack.enter_context(closing(Inline(agent.episodic, agent.apply_tasks)))
            collect_all = collector(executor, _row(task or {}, agent.episodic), episodes)
        try:
            source = Rollouts(agent, 1, collect_all, address)
            policies, _ = explore(agent, run.meta, source, agent.adaptations(profile, steps))
        except (ValueError, EnvironmentFailed) as error:  # such as a task that the family cannot serve
            raise RequestError(str(error)) from error
    params = tree_map(lambda x: x[0], policies[-1])
    return Policy.of(agent, params, seed)


def read_task(text: str) -> dict[str, Any]:
    """One task written as JSON."""
    try:
        task = json.loads(text)
    except ValueError:
        task = None
    if not isinstance(task, dict) or not task:
        raise RequestError(f"a task is JSON such as '{{\"goal\": [0.3, -0.2]}}', got {text!r}")
    return task


def _row(task: Mapping[str, Any], family: TaskFamily) -> dict[str, np.ndarray]:
    """One task as arrays of one row, which are like those that the family draws; names it refuses itself."""
    drawn, found = family.sample_tasks(1, np.random.default_rng(0)), {}
    for key, value in task.items():
        try:
            found[key] = np.asarray(value)[None]
        except ValueError:  # lists of different lengths
            found[key] = np.empty(0, object)
        kinds = [(x.shape, x.dtype.kind in NUMBERS) for x in (found[key], drawn.get(key, found[key]))]
        if kinds[0] != kinds[1]:
            like = shown(drawn[key][0].tolist())
            raise RequestError(f"{key} of a task must be such as {like}, got {shown(value)}")
    return found


def adapt_to_shots(
    run: Trainer, shots: Sequence[Any], *, steps: int, inner_lr: float | Sequence[float] | None
) -> Predictor:
    """``Run.adapt`` for labelled examples; see there."""
    agent, space = run.agent, run.agent.supervised.action_space
    if steps < 0:
        raise RequestError(f"adapt needs steps >= 0, got {steps}")
    if not isinstance(shots, (tuple, list)) or len(shots) != 2:
        raise RequestError(f"shots are a pair (x, y), got {shown(shots)}")
    x, y = _numbers("shots_x", shots[0]), _numbers("shots_y", shots[1])
    labels = isinstance(space, gymnasium.spaces.Discrete) and y.dtype.kind in "iu"
    y = y.astype(np.int64 if labels else np.float32)
    examples = Shots(torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y))
    check_shots(agent.supervised, examples, "shots")
    lessons = Lessons(agent, examples, examples)
    path, support = explore(
        agent, run.meta, lessons, agent.adaptations(step_sizes(inner_lr, steps, agent), steps)
    )

    def outputs(x: torch.Tensor) -> torch.Tensor:
        query = to_device(Shots(x[None], x[None]), agent.device)  # nobody asks for its labels
        *_, last = predictions(agent, path, TaskData(support, query), to_device(examples, agent.device))
        return last[0]

    params = tree_map(lambda x: x[0], path[-1])
    return Predictor(outputs, params, agent.supervised.observation_space, space)


def _numbers(name: str, values: Any) -> np.ndarray:
    """An array with a task axis of length 1 in front."""
    try:
        found = np.asarray(values)
    except ValueError:  # rows of different lengths
        found = np.empty(0, object)
    if found.dtype.kind not in "iuf":
        raise RequestError(f"{name} must be an array of numbers, got {shown(values)}")
    return found[None]


def _collector_in(agent: Agent, env: gymnasium.Env[Any, Any], episodes: int) -> Collector:
    for name in ("observation_space", "action_space"):
        own, theirs = getattr(agent.family, name), getattr(env, name)
        kinds = [(type(space), space.shape, possibilities(space)) for space in (own, theirs)]
        if kinds[0] != kinds[1]:
            raise RequestError(f"the environment's {name} is {theirs}, the policy's is {own}")

    def run(policies: Params, address: Address, deterministic: bool) -> Episodes:
        return collect_in(
            env,
            agent.apply_tasks,
            policies,
            episodes=episodes,
            horizon=agent.episodic.horizon,
            address=address,
            deterministic=deterministic,
        )

    return run
