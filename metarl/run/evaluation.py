"""How well an agent adapts to tasks it was not trained on, beside agents that show what that is worth."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.errors import RequestError
from metarl.rollout import seeding
from metarl.rollout.family import is_supervised
from metarl.run.admission import Trust
from metarl.run.agent import Agent, build_agent
from metarl.run.baselines import baseline_config, baseline_of
from metarl.run.comparable import NAME, protocol_hash
from metarl.run.experience import USES, Experience
from metarl.run.files import check_writable
from metarl.run.loggers import open_mirrors
from metarl.run.nearest import check_classification, measure_nearest
from metarl.run.options import BASELINES, SB3_BASELINES
from metarl.run.pictures import pictures
from metarl.run.progress import Progress
from metarl.run.protocol import GRID, Protocol, held_out_tasks, measure, standard, tuned
from metarl.run.results import Evaluation
from metarl.run.sb3.names import check_expressible
from metarl.run.statistics import bootstrap_ci, iqm
from metarl.run.step_sizes import Profile, step_sizes
from metarl.run.trainer import Trainer
from metarl.run.worlds import world_of
from metarl.run.zoo import output


def evaluate(
    run: Trainer,
    *,
    tasks: int | None = None,
    steps: int | None = None,
    episodes: int | None = None,
    split: str = "test",
    inner_lr: float | Sequence[float] | None = None,
    family_arg: Mapping[str, Any] | None = None,
    baselines: Sequence[str] = (),
    deterministic: bool = False,
    seed: int = 1,
    checkpoint: str = "as it stands",
) -> Evaluation:
    """Adapt the run's agent, and each baseline, to held-out tasks.

    With episodes the value at step k is the mean return of those that serve step k + 1, of as many more after
    the last step; with labelled examples it is the metric on the query set after k steps.

    Args:
        tasks: how many, by default 40 with episodes and 600 with labelled examples; a family that has fewer
            in all gives each once.
        steps: inner steps, by default 3 with episodes and 10 with labelled examples.
        episodes: of each task before each step and after the last, by default 20.
        inner_lr: step sizes of the first, second, … step; see ``step_sizes``.
        family_arg: arguments of the family in place of those of training (``{"shots": 5}``).
        baselines: of ``options.BASELINES``; those that need training are trained once, in the run's
            directory. Each takes the step size of ``GRID`` that is best on validation tasks, in the same
            proportions from step to step.
        deterministic: measure separate episodes in which the policy takes its most likely action; it still
            adapts on random ones.
        checkpoint: how the protocol names the state that is evaluated.

    Raises:
        RequestError: an impossible value, or a split that the family does not have.
    """
    agent = with_family_arg(run.agent, family_arg or {})
    kinds = _checked(agent, [baselines] if isinstance(baselines, str) else baselines)
    _check_episodes(agent, episodes, deterministic)
    asked: dict[str, Any] = {"tasks": tasks, "steps": steps, "episodes": episodes}
    asked = {number: value for number, value in asked.items() if value is not None}
    plain = standard(agent.family)
    protocol = dataclasses.replace(plain, split=split, seed=seed, deterministic=deterministic, **asked)
    name = NAME if protocol == plain and inner_lr is None and not family_arg else "custom"
    profile = step_sizes(inner_lr, protocol.steps, agent)
    chosen = held_out_tasks(agent, protocol)
    protocol = dataclasses.replace(protocol, tasks=len(next(iter(chosen.values()))))
    trained = {kind: _trained(kind, run) for kind in kinds}
    with _progress(run, profile, trained) as done:
        with world_of(agent.family).open(agent) as serve:
            experience = measure(agent, run.meta, profile, protocol, serve)
        done()
        agents = {"meta": _result(experience, profile, run, protocol)}
        for kind, baseline in trained.items():
            own = None if agent.learns_steps else inner_lr
            agents[kind] = _baseline(kind, run, baseline, agent, protocol, own, done)
            done()
    described = _described(agent, protocol, checkpoint, run.iteration, experience, inner_lr, name)
    means = _means(agent.metric, agents["meta"]["mean"], experience)
    return Evaluation(agent.metric, described, means, agents, **pictures(agent, chosen, experience))


def _trained(kind: str, run: Trainer) -> Trainer | None:
    """A baseline that is trained before it is measured."""
    if kind in ("nearest", "sb3-scratch"):
        return None
    if kind not in SB3_BASELINES:
        return baseline_of(kind, run)
    from metarl.run.sb3.baselines import sb3_baseline_of  # which takes a second

    return sb3_baseline_of(kind, run)


def _scratch(run: Trainer, agent: Agent, protocol: Protocol) -> dict[str, Any]:
    """What PPO learns of each task from nothing; kept in the run's directory, since it takes a while."""
    from metarl.run.sb3.baselines import kept, measure_scratch, scratch_file

    def compute() -> dict[str, Any]:
        with world_of(agent.family).open(agent) as serve:
            experience, rate = measure_scratch(agent, protocol, serve)
        result = _result(experience, [rate] * protocol.steps, None, protocol)
        return result | {"env_steps": 0} | _consumed(experience, protocol.episodes)

    return kept(scratch_file(run.path, agent, protocol), compute)


def _means(metric: str, mean: Sequence[float], experience: Experience) -> dict[str, float]:
    """The evaluated agent's metric after each step, and what is measured beside it, by name and step."""
    means = {metric: mean}
    means |= {name: values.mean(1).tolist() for name, values in experience.beside.items()}
    return {f"{name}/step_{k}": value for name in means for k, value in enumerate(means[name])}


@contextmanager
def _progress(
    run: Trainer, profile: Profile, baselines: Mapping[str, Trainer | None]
) -> Iterator[Callable[[], None]]:
    """A bar of an evaluation's measurements, each baseline's step sizes among them; call after each."""
    searched = len(GRID) if profile else 0
    total = 1 + sum(1 if baseline is None else searched + 1 for baseline in baselines.values())
    finished = itertools.count(1)
    about = f"evaluating {run.path.absolute().name}"
    with Progress(total, description=about, unit="measurement", lines=1) as progress:
        yield lambda: progress.update(next(finished), {})


def _baseline(
    kind: str,
    run: Trainer,
    baseline: Trainer | None,
    agent: Agent,
    protocol: Protocol,
    inner_lr: float | Sequence[float] | None,
    done: Callable[[], None],
) -> dict[str, Any]:
    """What a baseline of the run does on the tasks of ``agent``'s family, with its best step sizes."""
    if kind == "sb3-scratch":
        return _scratch(run, agent, protocol)
    if baseline is None:
        return _result(measure_nearest(agent, protocol), [], None, protocol)
    theirs = with_family_arg(baseline.agent, agent.config.family_arg)
    profile = step_sizes(inner_lr, protocol.steps, theirs)
    with world_of(theirs.family).open(theirs) as serve:
        best = tuned(theirs, baseline.meta, profile, protocol, kind, serve, done)
        experience = measure(theirs, baseline.meta, best, protocol, serve)
    return _result(experience, best, baseline, protocol)


def _check_episodes(agent: Agent, episodes: int | None, deterministic: bool) -> None:
    """Refuses what is about episodes where there are none."""
    if is_supervised(agent.family) and (episodes is not None or deterministic):
        told = "episodes" if episodes is not None else "deterministic"
        raise RequestError(
            f"{told} has no meaning for family {agent.family.name!r}, which gives labelled examples"
        )


def _checked(agent: Agent, baselines: Sequence[str]) -> Sequence[str]:
    """The baselines; what cannot be one is refused before any is trained."""
    for kind in baselines:
        if kind not in BASELINES:
            raise RequestError(f"unknown baseline {kind!r}; allowed: {', '.join(BASELINES)}")
        if kind == "nearest":
            check_classification(agent)
        elif kind in SB3_BASELINES:
            check_expressible(agent.config, agent.family)
            build_agent(baseline_config("oracle" if kind == "sb3-oracle" else "random", agent.config))
        else:
            build_agent(baseline_config(kind, agent.config))
    return baselines


def with_family_arg(agent: Agent, family_arg: Mapping[str, Any]) -> Agent:
    """The agent with its family made by further arguments, which must leave the spaces as they are."""
    if not family_arg:
        return agent
    c = agent.config
    config = dataclasses.replace(c, family_arg={**c.family_arg, **family_arg})
    family = build_agent(config).family
    for name in ("observation_space", "action_space"):
        own, theirs = getattr(agent.family, name), getattr(family, name)
        if own != theirs:
            raise RequestError(f"family_arg {dict(family_arg)} makes the {name} {theirs}, the run's is {own}")
    return dataclasses.replace(agent, config=config, family=family)


def _described(
    agent: Agent,
    protocol: Protocol,
    checkpoint: str,
    iteration: int,
    experience: Experience,
    inner_lr: float | Sequence[float] | None,
    called: str,
) -> dict[str, Any]:
    """The protocol as ``evaluation.json`` keeps it."""
    c, family = agent.config, agent.family
    told = dataclasses.asdict(protocol)
    if is_supervised(family):
        for name in ("episodes", "deterministic"):
            del told[name]
        queries = experience.data.query.x.shape[1]  # the rest is support, read in mini-batches or as a whole
        told |= {"shots": experience.samples // protocol.tasks - queries, "queries": queries}
        told |= {"statistics": c.statistics} if c.model == "conv4" else {}
    else:
        told |= {"horizon": agent.episodic.horizon}
    given = [inner_lr] if isinstance(inner_lr, (int, float)) else inner_lr
    described = {
        "name": called,
        "algorithm": c.algorithm,
        "family": c.family,
        "spec": c.spec,
        "family_arg": dict(c.family_arg),
        **told,
        "checkpoint": checkpoint,
        "iteration": iteration,
        "tasks_seen_in_training": family.num_tasks is not None or protocol.split == "train",
        "tasks_in_all": family.num_tasks,
        "interval": "95 % bootstrap over tasks",
        "step_sizes": "own" if given is None else [float(lr) for lr in given],
        "inner_lr_grid": list(GRID),
    }
    return described | {"hash": protocol_hash(agent.metric, described)}


def evaluate_run(
    run_dir: Path,
    *,
    checkpoint: str | int = "best",
    out: Path | None = None,
    trust: Trust = False,
    **options: Any,
) -> Evaluation:
    """``evaluate`` at a checkpoint of a run directory, written to ``out`` (``RUN_DIR/evaluation.json``)."""
    run = Trainer.load(run_dir, checkpoint, trust)
    with output(run_dir, "evaluation.json", out) as path:
        check_writable(path)
        evaluation = evaluate(run, checkpoint=str(checkpoint), **options)
        evaluation.save(path)
    with ExitStack() as stack:
        for mirror in open_mirrors(run.config, run.path, stack):
            mirror.evaluation(evaluation.as_dict())
    return evaluation


def _result(
    experience: Experience, profile: Profile, trained: Trainer | None, protocol: Protocol
) -> dict[str, Any]:
    assert experience.values is not None, "an evaluation measures"
    per_task = experience.values.numpy().T.astype(np.float64)
    rng = seeding.generator(protocol.seed, "bootstrap", USES[protocol.split])
    result = {
        "mean": per_task.mean(0).tolist(),
        "iqm": iqm(per_task[None]).tolist(),
        "ci95": bootstrap_ci(per_task, rng).tolist(),
        "per_task": per_task.tolist(),
        "inner_lr": [lr for lr in profile if lr is not None],
    }
    if trained is not None:
        result[world_of(trained.agent.family).samples] = trained.standing.samples
        if not is_supervised(trained.agent.family):
            result |= _consumed(experience, protocol.episodes)
    return result


def _consumed(experience: Experience, episodes: int) -> dict[str, list[Any]]:
    """What of a task an agent has adapted to before it has each of its values: episodes, and on average over
    the tasks their environment steps. The last collection only measures.
    """
    each = [float(batch.mask.sum((1, 2)).float().mean()) for batch in experience.batches[:-1]]
    counts = [episodes * k for k in range(len(each) + 1)]
    return {"episodes": counts, "episode_env_steps": [0.0, *itertools.accumulate(each)]}
