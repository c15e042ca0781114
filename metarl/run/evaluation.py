"""How well an agent adapts to tasks it was not trained on, beside agents that show what that is worth."""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.errors import RequestError
from metarl.rollout import seeding
from metarl.rollout.family import is_supervised
from metarl.run.agent import Agent, build_agent
from metarl.run.baselines import baseline_config, baseline_of
from metarl.run.experience import USES, Experience
from metarl.run.files import check_writable, to_json, write_atomic
from metarl.run.nearest import check_classification, measure_nearest
from metarl.run.options import BASELINES
from metarl.run.pictures import pictures
from metarl.run.protocol import GRID, Protocol, held_out_tasks, measure, tuned
from metarl.run.statistics import bootstrap_ci
from metarl.run.step_sizes import Profile, step_sizes
from metarl.run.trainer import Trainer
from metarl.run.worlds import world_of


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluation.json`` holds; ``mean``, ``ci95`` and ``per_task`` are the evaluated agent's.

    ``agents`` maps a name ("meta", "random", …) to its mean after 0 … K steps, the 95 % intervals of these
    means, the value of each task, the step sizes and the environment steps it was trained for.
    """

    metric: str
    protocol: dict[str, Any]
    metrics: dict[str, float]
    agents: dict[str, dict[str, Any]]
    traces: dict[str, Any] | None = None
    fits: dict[str, Any] | None = None
    samples: dict[str, Any] | None = None

    @property
    def mean(self) -> list[float]:
        """Mean over tasks after 0 … K steps."""
        return self.agents["meta"]["mean"]  # type: ignore[no-any-return]

    @property
    def ci95(self) -> list[list[float]]:
        """Low and high after each number of steps."""
        return self.agents["meta"]["ci95"]  # type: ignore[no-any-return]

    @property
    def per_task(self) -> list[list[float]]:
        """For each task, its value after 0 … K steps."""
        return self.agents["meta"]["per_task"]  # type: ignore[no-any-return]

    def as_dict(self) -> dict[str, Any]:
        """The object of ``evaluation.json``."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def save(self, path: str | Path) -> Path:
        """Write it as JSON."""
        return write_atomic(Path(path), to_json(self.as_dict(), indent=1))

    def table(self) -> str:
        """A line for each agent: its mean after each number of steps, with the interval."""
        p = self.protocol
        drawn = (
            f"{p['episodes']} episodes a step"
            if "episodes" in p
            else f"{p['shots']} support and {p['queries']} query examples"
        )
        lines = [
            f"{self.metric} on {p['tasks']} {p['split']} tasks of {p['family']} ({p['spec']}), "
            f"{drawn}, checkpoint {p['checkpoint']}; {p['interval']}"
        ]
        steps = shown_steps(p["steps"])
        head = ["agent", *(f"step {k}" if k else "before" for k in steps), "step sizes"]
        rows = [head, *(self._row(name, steps) for name in self.agents)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        for row in rows:
            cells = [f"{cell:>{width}}" for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
            lines.append("   ".join([f"{row[0]:<{widths[0]}}", *cells, row[-1]]))
        return "\n".join(lines)

    def _row(self, name: str, steps: Sequence[int]) -> list[str]:
        agent = self.agents[name]
        pairs = [(agent["mean"][k], agent["ci95"][k]) for k in steps]
        digits = 2 if self.metric == "return" else 3
        cells = [f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]" for mean, (low, high) in pairs]
        rates = agent["inner_lr"]
        return [name, *cells, " ".join(f"{lr:g}" for lr in (rates[:1] if len(set(rates)) == 1 else rates))]

    __str__ = table


def shown_steps(steps: int) -> list[int]:
    """The steps that a table shows: all up to five, else 0, 1, 2, 5, 10, 20, … and the last."""
    if steps <= 5:
        return list(range(steps + 1))
    return sorted({0, 1, 2, *(k for k in (5, 10, 20, 50, 100, 200, 500) if k < steps), steps})


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
    supervised = is_supervised(agent.family)
    tasks = (600 if supervised else 40) if tasks is None else tasks
    steps = (10 if supervised else 3) if steps is None else steps
    if supervised and (episodes is not None or deterministic):
        told = "episodes" if episodes is not None else "deterministic"
        raise RequestError(
            f"{told} has no meaning for family {agent.family.name!r}, which gives labelled examples"
        )
    protocol = Protocol(split, tasks, steps, 20 if episodes is None else episodes, seed, deterministic)
    profile = step_sizes(inner_lr, steps, agent)
    chosen = held_out_tasks(agent, protocol)
    protocol = dataclasses.replace(protocol, tasks=len(next(iter(chosen.values()))))
    with world_of(agent.family).open(agent) as serve:
        experience = measure(agent, run.meta, profile, protocol, serve)
    agents = {"meta": _result(experience, profile, run, protocol)}
    for kind in kinds:
        agents[kind] = _baseline(kind, run, agent, protocol, None if agent.learns_steps else inner_lr)
    means = {agent.metric: agents["meta"]["mean"]}
    means |= {name: values.mean(1).tolist() for name, values in experience.beside.items()}
    metrics = {f"{name}/step_{k}": value for name in means for k, value in enumerate(means[name])}
    described = _described(agent, protocol, checkpoint, experience)
    return Evaluation(agent.metric, described, metrics, agents, **pictures(agent, chosen, experience))


def _baseline(
    kind: str, run: Trainer, agent: Agent, protocol: Protocol, inner_lr: float | Sequence[float] | None
) -> dict[str, Any]:
    """What a baseline of the run does on the tasks of ``agent``'s family, with its best step sizes."""
    if kind == "nearest":
        return _result(measure_nearest(agent, protocol), [], None, protocol)
    baseline = baseline_of(kind, run)
    theirs = with_family_arg(baseline.agent, agent.config.family_arg)
    profile = step_sizes(inner_lr, protocol.steps, theirs)
    with world_of(theirs.family).open(theirs) as serve:
        best = tuned(theirs, baseline.meta, profile, protocol, kind, serve)
        experience = measure(theirs, baseline.meta, best, protocol, serve)
    return _result(experience, best, baseline, protocol)


def _checked(agent: Agent, baselines: Sequence[str]) -> Sequence[str]:
    """The baselines; what cannot be one is refused before any is trained."""
    for kind in baselines:
        if kind not in BASELINES:
            raise RequestError(f"unknown baseline {kind!r}; allowed: {', '.join(BASELINES)}")
        if kind == "nearest":
            check_classification(agent)
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


def _described(agent: Agent, protocol: Protocol, checkpoint: str, experience: Experience) -> dict[str, Any]:
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
    return {
        "algorithm": c.algorithm,
        "family": c.family,
        "spec": c.spec,
        "family_arg": dict(c.family_arg),
        **told,
        "checkpoint": checkpoint,
        "tasks_seen_in_training": family.num_tasks is not None or protocol.split == "train",
        "interval": "95 % bootstrap over tasks",
        "inner_lr_grid": list(GRID),
    }


def evaluate_run(
    run_dir: Path, *, checkpoint: str | int = "best", out: Path | None = None, **options: Any
) -> Evaluation:
    """``evaluate`` at a checkpoint of a run directory, written to ``out`` (``RUN_DIR/evaluation.json``)."""
    run = Trainer.load(run_dir, checkpoint)
    path = run_dir / "evaluation.json" if out is None else out
    check_writable(path)
    named = f"{checkpoint} (iteration {run.iteration})" if checkpoint in ("best", "last") else str(checkpoint)
    evaluation = evaluate(run, checkpoint=named, **options)
    evaluation.save(path)
    with ExitStack() as stack:
        for mirror in run.open_mirrors(stack):
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
        "ci95": bootstrap_ci(per_task, rng).tolist(),
        "per_task": per_task.tolist(),
        "inner_lr": [lr for lr in profile if lr is not None],
    }
    if trained is not None:
        result[world_of(trained.agent.family).samples] = trained.standing.samples
    return result
