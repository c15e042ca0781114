"""Adapting to one task of the family, to any environment with its spaces, or to labelled examples."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any, overload

import gymnasium
import numpy as np
import torch

from metarl.core.batch import Shots
from metarl.core.errors import EnvironmentFailed, RequestError, shown
from metarl.core.params import to_device, tree_map
from metarl.learn.adapt import Adaptation
from metarl.learn.problem import TaskData
from metarl.rollout.collector import possibilities
from metarl.rollout.executors import Executor
from metarl.rollout.family import TaskFamily
from metarl.rollout.inline import Inline, SingleEnvironment
from metarl.rollout.seeding import Address
from metarl.rollout.shots import check_shots
from metarl.run.experience.episodes import EpisodeSource
from metarl.run.experience.examples import ExampleSource
from metarl.run.experience.gather import USES, explore
from metarl.run.experience.predictions import predictions
from metarl.run.experience.step_sizes import step_sizes
from metarl.run.train.run_state import RunState
from metarl.run.use.policy import Policy, Predictor

NUMBERS = "biuf"  # kinds of arrays that hold some


@overload
def adapt(
    run: RunState,
    task: Mapping[str, Any] | None = None,
    env: gymnasium.Env[Any, Any] | None = None,
    shots: None = None,
    *,
    steps: int = 1,
    episodes: int = 20,
    inner_lr: float | Sequence[float] | None = None,
    seed: int = 0,
) -> Policy: ...
@overload
def adapt(
    run: RunState,
    task: None = None,
    env: None = None,
    *,
    shots: Sequence[Any],
    steps: int = 1,
    episodes: int = 20,
    inner_lr: float | Sequence[float] | None = None,
    seed: int = 0,
) -> Predictor: ...
def adapt(
    run: RunState,
    task: Mapping[str, Any] | None = None,
    env: gymnasium.Env[Any, Any] | None = None,
    shots: Sequence[Any] | None = None,
    *,
    steps: int = 1,
    episodes: int = 20,
    inner_lr: float | Sequence[float] | None = None,
    seed: int = 0,
) -> Policy | Predictor:
    """Adapt the agent to one task by ``steps`` inner steps.

    Args:
        task: one task of a family of episodes, for example ``{"goal": [0.3, -0.2]}``.
        env: in its place, any Gymnasium environment with the family's spaces.
        shots: for a family of labelled examples, the examples (x "shot …", y "shot …").
        episodes: before each step, in a task or environment.
        inner_lr: step size, or one for each step (the last serves the rest). None: see ``step_sizes``.
        seed: of the start states and actions that it adapts to; the policy's own noise is another in each
            call (``Policy.seed`` fixes it).

    Returns:
        A ``Policy``, or for shots a ``Predictor``.

    Raises:
        RequestError: nothing to adapt to, or several things; or what is not the family's.
    """
    if sum((bool(task), env is not None, shots is not None)) != 1:
        raise RequestError("adapt needs a task of the family, an environment or shots, and only one of them")
    if steps < 0 or episodes < 1:
        raise RequestError(f"adapt needs steps >= 0 and episodes >= 1, got {steps} and {episodes}")
    rates = step_sizes(inner_lr, steps, run.agent)
    if shots is not None:
        return _adapt_to_shots(run, shots, run.agent.adaptations(rates, steps))
    agent, family = run.agent, run.agent.episodic
    with ExitStack() as stack:
        if env is not None:
            _check_spaces(family, env)
            executor: Executor = SingleEnvironment(env, agent.apply_tasks, family.horizon)
            row = {"environment": np.zeros(1)}
        else:
            executor = stack.enter_context(closing(Inline(family, agent.apply_tasks)))
            row = _row(task, family)
        try:
            source = EpisodeSource(agent, executor, row, Address(seed, USES["adapt"]), episodes=episodes)
            path, _ = explore(agent, run.meta, source, agent.adaptations(rates, steps))
        except (ValueError, EnvironmentFailed) as error:  # such as a task that the family cannot serve
            raise RequestError(str(error)) from error
    return Policy.of(agent, tree_map(lambda x: x[0], path[-1]), run.action_noise())


def read_task(text: str) -> dict[str, Any]:
    """Return one task that is written as JSON."""
    try:
        task = json.loads(text)
    except ValueError:
        task = None
    if not isinstance(task, dict) or not task:
        raise RequestError(f"a task is JSON such as '{{\"goal\": [0.3, -0.2]}}', got {text!r}")
    return task


def _row(task: Any, family: TaskFamily) -> dict[str, np.ndarray]:
    """Return one task as arrays of one row, like those that the family draws; names it refuses itself."""
    if not isinstance(task, Mapping):
        raise RequestError(f"a task is a mapping such as {{'goal': [0.3, -0.2]}}, got {type(task).__name__}")
    example, row = family.sample_tasks(1, np.random.default_rng(0)), {}
    for key, value in task.items():
        row[key] = _array(value)
        kinds = [(x.shape, x.dtype.kind in NUMBERS) for x in (row[key], example.get(key, row[key]))]
        if kinds[0] != kinds[1]:
            like = shown(example[key][0].tolist())
            raise RequestError(f"{key} of a task must be such as {like}, got {shown(value)}")
    return row


def _adapt_to_shots(run: RunState, shots: Sequence[Any], adaptations: Sequence[Adaptation]) -> Predictor:
    agent, space = run.agent, run.agent.supervised.action_space
    if not isinstance(shots, (tuple, list)) or len(shots) != 2:
        raise RequestError(f"shots are a pair (x, y), got {shown(shots)}")
    x, y = _numbers("shots_x", shots[0]), _numbers("shots_y", shots[1])
    labels = isinstance(space, gymnasium.spaces.Discrete) and y.dtype.kind in "iu"
    y = y.astype(np.int64 if labels else np.float32)
    examples = Shots(torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y))
    check_shots(agent.supervised, examples, "shots")
    path, support = explore(agent, run.meta, ExampleSource(agent, examples, examples), adaptations)

    def outputs(x: torch.Tensor) -> torch.Tensor:
        query = to_device(Shots(x[None], x[None]), agent.device)  # nobody asks for its labels
        *_, last = predictions(agent, path, TaskData(support, query), to_device(examples, agent.device))
        return last[0]

    params = tree_map(lambda x: x[0], path[-1])
    return Predictor(outputs, params, agent.supervised.observation_space, space)


def _numbers(name: str, values: Any) -> np.ndarray:
    array = _array(values)
    if array.dtype.kind not in "iuf":
        raise RequestError(f"{name} must be an array of numbers, got {shown(values)}")
    return array


def _array(values: Any) -> np.ndarray:
    """Return an array with a task axis of length 1 in front; an empty one of rows of different lengths."""
    try:
        return np.asarray(values)[None]
    except ValueError:
        return np.empty(0, object)


def _check_spaces(family: TaskFamily, env: gymnasium.Env[Any, Any]) -> None:
    for name in ("observation_space", "action_space"):
        of_policy, of_env = getattr(family, name), getattr(env, name)
        kinds = [(type(space), space.shape, possibilities(space)) for space in (of_policy, of_env)]
        if kinds[0] != kinds[1]:
            raise RequestError(f"the environment's {name} is {of_env}, the policy's is {of_policy}")
