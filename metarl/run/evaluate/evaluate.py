"""Measure how an agent adapts to tasks it was not trained on, next to agents that show what it is worth."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from metarl.core.conv import Normalised
from metarl.core.errors import RequestError
from metarl.run.agent.agent import Agent, with_family_arg
from metarl.run.agent.data_kinds import EXAMPLES
from metarl.run.config.admission import Trust
from metarl.run.config.train_config import recorded
from metarl.run.evaluate.baselines import Trial
from metarl.run.evaluate.baselines import baselines as registry
from metarl.run.evaluate.kept_pictures import pictures
from metarl.run.evaluate.protocol import GRID, Protocol, held_out_tasks, measure, result, standard
from metarl.run.experience.gather import Experience
from metarl.run.experience.sources import open_executor
from metarl.run.experience.step_sizes import step_sizes
from metarl.run.log.curve import Curve
from metarl.run.log.mirrors import open_mirrors
from metarl.run.log.progress import Progress
from metarl.run.results.comparable import NAME, protocol_hash
from metarl.run.results.evaluation import Evaluation
from metarl.run.store.files import check_writable
from metarl.run.train.run_state import RunState


def evaluate(
    run: RunState,
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
        baselines: names of ``metarl.run.evaluate.baselines``; those that need training are trained once, in
            the run's directory. Each takes the step size of ``GRID`` that is best on validation tasks, in
            the same proportions from step to step.
        deterministic: measure separate episodes in which the policy takes its most likely action; it still
            adapts on random ones.
        checkpoint: how the protocol names the state that is evaluated.

    Raises:
        RequestError: an impossible value, or a split that the family does not have.
    """
    agent = with_family_arg(run.agent, family_arg or {})
    kinds = [baselines] if isinstance(baselines, str) else list(dict.fromkeys(baselines))
    _check_episodes(agent, episodes, deterministic)
    asked: dict[str, Any] = {"tasks": tasks, "steps": steps, "episodes": episodes}
    asked = {number: value for number, value in asked.items() if value is not None}
    plain = standard(agent.kind)
    protocol = dataclasses.replace(plain, split=split, seed=seed, deterministic=deterministic, **asked)
    name = NAME if protocol == plain and inner_lr is None and not family_arg else "custom"
    profile = step_sizes(inner_lr, protocol.steps, agent)
    held_out = held_out_tasks(agent, protocol)
    protocol = dataclasses.replace(protocol, tasks=len(next(iter(held_out.values()))))
    rivals = {kind: registry[kind] for kind in kinds}
    begun = {kind: rival.begin(run, agent) for kind, rival in rivals.items()}
    trained = {kind: rival.train(run, begun[kind]) for kind, rival in rivals.items()}
    total = 1 + sum(rival.measurements if profile else 1 for rival in rivals.values())
    about, finished = f"evaluating {run.path.absolute().name}", itertools.count(1)
    with Progress(total, description=about, unit="measurement", lines=1) as progress:

        def done() -> None:
            progress.update(next(finished), {})

        with open_executor(agent) as executor:
            experience = measure(agent, run.meta, profile, protocol, executor)
        done()
        agents = {"meta": result(experience, profile, protocol, run)}
        for kind, rival in rivals.items():
            trial = Trial(kind, run, agent, protocol, inner_lr, done)
            agents[kind] = dict(rival.measure(trained[kind], trial))
            agents[kind].setdefault("description", rival.description)
            done()
    asked = {"name": name, "checkpoint": checkpoint, "inner_lr": inner_lr}
    described = _described(run, agent, protocol, experience, **asked)
    means = {name: values.mean(1).tolist() for name, values in experience.curves.items()}
    means[agent.metric] = agents["meta"]["mean"]  # in double precision
    metrics = {key: x for name, mean in means.items() for key, x in Curve(name, mean).to_row().items()}
    return Evaluation(agent.metric, described, metrics, agents, **pictures(agent, held_out, experience))


def _check_episodes(agent: Agent, episodes: int | None, deterministic: bool) -> None:
    if agent.kind is EXAMPLES and (episodes is not None or deterministic):
        option = "episodes" if episodes is not None else "deterministic"
        family = f"family {agent.family.name!r}, which gives labelled examples"
        raise RequestError(f"{option} has no meaning for {family}")


def _described(
    run: RunState, agent: Agent, protocol: Protocol, experience: Experience,
    *, name: str, checkpoint: str, inner_lr: float | Sequence[float] | None,
) -> dict[str, Any]:  # fmt: skip
    """Return the protocol as ``evaluation.json`` keeps it."""
    c, family = agent.config, agent.family
    details = dataclasses.asdict(protocol)
    if agent.kind is EXAMPLES:
        del details["episodes"], details["deterministic"]
        queries = experience.data.query.x.shape[1]  # the rest is support, read in mini-batches or as a whole
        details |= {"shots": experience.samples // protocol.tasks - queries, "queries": queries}
        details |= {"statistics": c.statistics} if isinstance(agent.module, Normalised) else {}
    else:
        details |= {"horizon": agent.episodic.horizon}
    rates = [inner_lr] if isinstance(inner_lr, (int, float)) else inner_lr
    described = {
        "name": name,
        "algorithm": c.algorithm,
        "family": c.family,
        "spec": c.spec,
        "family_arg": dict(c.family_arg),
        **details,
        "checkpoint": checkpoint,
        "iteration": run.iteration,
        "tasks_seen_in_training": family.num_tasks is not None or protocol.split == "train",
        "tasks_in_all": family.num_tasks,
        "interval": "95 % bootstrap over tasks",
        "step_sizes": "own" if rates is None else [float(lr) for lr in rates],
        "inner_lr_grid": list(GRID),
    }
    return described | {"hash": protocol_hash(agent.metric, described)}


def evaluate_run(
    run_dir: Path,
    *,
    checkpoint: str | int = "best",
    out: str | Path | None = None,
    trust: Trust = False,
    **options: Any,
) -> Evaluation:
    """``evaluate`` at a checkpoint of a run directory, written to ``out`` (``RUN_DIR/evaluation.json``)."""
    run = RunState.load(run_dir, checkpoint, trust)
    path = run_dir / "evaluation.json" if out is None else Path(out)
    check_writable(path)
    evaluation = evaluate(run, checkpoint=str(checkpoint), **options)
    evaluation.save(path)
    with ExitStack() as stack:
        for mirror in open_mirrors(run.config.logger, recorded(run.config), run.path, stack):
            mirror.evaluation(evaluation.as_dict())
    return evaluation
