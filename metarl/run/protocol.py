"""What an evaluation measures, and the measuring of one agent under it."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from metarl.core.errors import RequestError
from metarl.core.params import Meta
from metarl.rollout import seeding
from metarl.rollout.collector import Tasks
from metarl.rollout.family import SPLITS, Family, is_supervised
from metarl.rollout.seeding import Address
from metarl.run.agent import Agent
from metarl.run.experience import USES, Experience, Serve, Source, gather
from metarl.run.files import tell
from metarl.run.measures import measure_of
from metarl.run.step_sizes import Profile
from metarl.run.worlds import world_of

# Step sizes tried for each baseline on validation tasks; 0 is for one that gains nothing by adapting.
GRID = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
# Tasks of labelled examples measured at a time: bounds the memory of many tasks and steps.
BLOCK = 50


@dataclass(frozen=True)
class Protocol:
    """``tasks`` tasks of ``split``; ``episodes`` episodes before each of ``steps`` steps and after the last.

    Raises:
        RequestError: a number out of range or an unknown split.
    """

    split: str
    tasks: int
    steps: int
    episodes: int
    seed: int
    deterministic: bool

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise RequestError(f"unknown split {self.split!r}; allowed: {', '.join(SPLITS)}")
        for name, least in {"tasks": 1, "steps": 0, "episodes": 1, "seed": 0}.items():
            if getattr(self, name) < least:
                raise RequestError(f"{name} must be at least {least}, got {getattr(self, name)}")


def standard(family: Family) -> Protocol:
    """The protocol of an evaluation that is told nothing else."""
    tasks, steps = (600, 10) if is_supervised(family) else (40, 3)
    return Protocol("test", tasks, steps, episodes=20, seed=1, deterministic=False)


def held_out_tasks(agent: Agent, protocol: Protocol) -> Tasks:
    """The tasks of a protocol, the same for every agent; each once where the family has fewer in all."""
    known = agent.family.num_tasks
    n = protocol.tasks if known is None else min(protocol.tasks, known)
    rng = seeding.generator(protocol.seed, "tasks", USES[protocol.split])
    try:
        return agent.family.sample_tasks(n, rng, protocol.split)
    except ValueError as error:  # a split that the family does not have
        raise RequestError(str(error)) from error


def measure(
    agent: Agent, meta: Meta, profile: Profile, protocol: Protocol, serve: Serve | None = None
) -> Experience:
    """One agent's experience under a protocol, with the step sizes ``profile``.

    Labelled examples are taken ``BLOCK`` tasks at a time; ``values`` and ``samples`` are of all tasks, the
    rest is that of the first block. Where several measurements follow one another, ``serve`` is what they
    share: an open world of the agent's.
    """
    adaptations = agent.adaptations(profile, protocol.steps)
    found: list[Experience] = []
    with ExitStack() as stack:
        serve = serve or stack.enter_context(world_of(agent.family).open(agent))
        for source in sources(agent, protocol, serve):
            try:
                experience = gather(agent, meta, source, adaptations)
            except ValueError as error:  # such as an action that is not finite, after too large a step
                told = f"the agent cannot be measured with step sizes {list(profile)}: {error}"
                raise RequestError(told) from error
            found.append(experience if not found else experience._replace(data=found[0].data, path=()))
    values = torch.cat([experience.values for experience in found if experience.values is not None], 1)
    beside = {
        name: torch.cat([experience.beside[name] for experience in found], 1) for name in found[0].beside
    }
    samples = sum(experience.samples for experience in found)
    return found[0]._replace(values=values, beside=beside, samples=samples)


def sources(agent: Agent, protocol: Protocol, serve: Serve) -> Iterator[Source]:
    """Where the held-out tasks' batches come from, a block of tasks at a time."""
    tasks = held_out_tasks(agent, protocol)
    n = len(next(iter(tasks.values())))
    block = min(n, BLOCK) if is_supervised(agent.family) else n
    bounds = [*range(0, n, block), n]
    if n - bounds[-2] == 1 < block and n > 1:  # one task alone would take other kernels, hence other bits
        del bounds[-2]
    for first, end in itertools.pairwise(bounds):
        rows = {key: x[first:end] for key, x in tasks.items()}
        address = Address(protocol.seed, USES[protocol.split], first_task=first)
        yield serve(rows, protocol.episodes, address, protocol.deterministic)


def tuned(
    agent: Agent,
    meta: Meta,
    profile: Profile,
    protocol: Protocol,
    name: str,
    serve: Serve | None = None,
    done: Callable[[], None] = lambda: None,
) -> Profile:
    """``profile`` scaled so that it starts with the entry of ``GRID`` that does best on validation tasks.

    Best is the best mean of the metric over the adapted steps, and of equals the best of what is measured
    beside it. What each entry gave is printed, and ``done`` called after it. Where the rule has learned its
    steps there is nothing to choose.
    """
    if not profile or None in profile:
        return list(profile)
    tasks = min(protocol.tasks, BLOCK) if is_supervised(agent.family) else protocol.tasks
    validation = dataclasses.replace(protocol, split="validation", tasks=tasks)
    best = best_of(
        GRID,
        lambda first: measure(agent, meta, scaled(profile, first), validation, serve),
        agent.metric,
        name,
        "step size",
        done,
    )
    return scaled(profile, best)


def best_of(
    grid: Sequence[float],
    tried: Callable[[float], Experience],
    metric: str,
    name: str,
    what: str,
    done: Callable[[], None] = lambda: None,
) -> float:
    """The entry of ``grid`` with the best experience on validation tasks, ``tried(entry)``: see ``tuned``.

    Raises:
        RequestError: with none of them has the agent been measured.
    """
    scores: dict[float, tuple[float, ...]] = {}
    for entry in grid:
        try:
            found = tried(entry)
        except RequestError:  # it diverged
            scores[entry] = (math.nan,)
            continue
        finally:
            done()
        assert found.values is not None, "an evaluation measures"
        scores[entry] = tuple(float(x[1:].mean()) for x in (found.values, *found.beside.values()))
    finite = {entry: score for entry, score in scores.items() if all(map(math.isfinite, score))}
    if not finite:
        raise RequestError(f"{name} cannot be measured with any {what} of {', '.join(map(str, grid))}")
    best = (min if measure_of(metric).lower_is_better else max)(finite, key=lambda entry: finite[entry])
    told = ", ".join(f"{entry:g}: {score[0]:.4g}" for entry, score in scores.items())
    tell(f"metarl: {name}: mean {metric} on validation tasks by {what} {told}; best {best:g}")
    return best


def scaled(profile: Profile, first: float) -> list[float]:
    """The same proportions from step to step, starting with ``first``."""
    rates = [lr for lr in profile if lr is not None]
    return [first * (lr / rates[0]) for lr in rates]
