"""How well an agent adapts to tasks that it was not trained on, beside agents that show what that is worth."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.errors import RequestError
from metarl.core.params import Meta
from metarl.rollout import seeding
from metarl.rollout.collector import Address, Tasks
from metarl.rollout.family import SPLITS
from metarl.run.agent import Agent
from metarl.run.experience import USES, Experience, collector, gather
from metarl.run.files import tell, to_json, write_atomic
from metarl.run.loggers import LOGGERS
from metarl.run.statistics import bootstrap_ci
from metarl.run.trainer import Run, load

# Step sizes tried for each baseline on validation tasks.
GRID = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
TRACED_TASKS, TRACED_EPISODES = 6, 5


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluation.json`` holds; ``mean``, ``ci95`` and ``per_task`` are the evaluated agent's.

    ``agents`` maps a name ("meta", "random", …) to its mean after 0 … K steps, the 95 % intervals of these means,
    the value of each task, the step sizes and the environment steps it was trained for.
    """

    metric: str
    protocol: dict[str, Any]
    metrics: dict[str, float]
    agents: dict[str, dict[str, Any]]
    traces: dict[str, Any] | None = None

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
        lines = [
            f"{self.metric} on {p['tasks']} {p['split']} tasks of {p['family']} ({p['spec']}), "
            f"{p['episodes']} episodes a step, checkpoint {p['checkpoint']}; {p['interval']}"
        ]
        steps = ["before", *(f"step {k}" for k in range(1, p["steps"] + 1))]
        lines.append(f"{'agent':<12}" + "".join(f"{step:>26}" for step in steps) + "  step sizes")
        for name, agent in self.agents.items():
            cells = [f"{m:.2f} [{lo:.2f}, {hi:.2f}]" for m, (lo, hi) in zip(agent["mean"], agent["ci95"], strict=True)]
            sizes = " ".join(f"{lr:g}" for lr in agent["inner_lr"])
            lines.append(f"{name:<12}" + "".join(f"{cell:>26}" for cell in cells) + f"  {sizes}")
        return "\n".join(lines)

    __str__ = table


@dataclass(frozen=True)
class Protocol:
    """What is measured: ``tasks`` tasks of ``split``, ``episodes`` episodes before each of ``steps`` steps and after."""

    split: str
    tasks: int
    steps: int
    episodes: int
    seed: int
    deterministic: bool


def evaluate(
    run: Run,
    *,
    tasks: int = 40,
    steps: int = 3,
    episodes: int = 20,
    split: str = "test",
    inner_lr: float | Sequence[float] | None = None,
    baselines: Sequence[str] = (),
    deterministic: bool = False,
    seed: int = 1,
    checkpoint: str = "as it stands",
) -> Evaluation:
    """Adapt the run's agent, and each baseline, to held-out tasks.

    The value at step k is the mean return of the episodes that serve step k + 1, of as many more after the last.

    Args:
        tasks: how many; a family with fewer in all gives each once.
        inner_lr: step sizes of the first, second, … step (the last serves the rest); that of training if None.
        baselines: of ``random``, ``pretrained`` and ``oracle``; those that need training are trained once, in the
            run's directory. Each takes the step size of ``GRID`` that is best on validation tasks, in the same
            proportions from step to step.
        deterministic: measure separate episodes in which the policy takes its most likely action; it still adapts
            on random ones.
    """
    if split not in SPLITS:
        raise RequestError(f"unknown split {split!r}; allowed: {', '.join(SPLITS)}")
    known = run.agent.family.num_tasks
    protocol = Protocol(split, tasks if known is None else min(tasks, known), steps, episodes, seed, deterministic)
    given = run.config.inner_lr if inner_lr is None else inner_lr
    rates = [float(given)] if isinstance(given, (int, float)) else [float(lr) for lr in given]
    if not rates or not all(np.isfinite(lr) and lr > 0 for lr in rates):
        raise RequestError(f"inner_lr must be finite numbers above 0, got {given}")
    profile = [rates[min(k, len(rates) - 1)] for k in range(steps)]
    experience = measure(run.agent, run.meta, profile, protocol)
    agents = {"meta": _result(experience, profile, run.env_steps, protocol)}
    for kind in baselines:
        agent, meta, env_steps = _baseline(kind, run)
        best = tuned(agent, meta, profile, protocol, kind)
        agents[kind] = _result(measure(agent, meta, best, protocol), best, env_steps, protocol)
    c = run.config
    described = {
        "algorithm": c.algorithm,
        "family": c.family,
        "spec": c.spec,
        **dataclasses.asdict(protocol),
        "checkpoint": checkpoint,
        "horizon": run.agent.family.horizon,
        "tasks_seen_in_training": known is not None or split == "train",
        "interval": "95 % bootstrap over tasks",
        "inner_lr_grid": list(GRID),
    }
    metrics = {f"return/step_{k}": value for k, value in enumerate(agents["meta"]["mean"])}
    return Evaluation("return", described, metrics, agents, _traces(run.agent, experience, protocol))


def evaluate_run(
    run_dir: Path, *, checkpoint: str | int = "best", out: Path | None = None, **options: Any
) -> Evaluation:
    """``evaluate`` at a checkpoint of a run directory, written to ``out`` (``RUN_DIR/evaluation.json``)."""
    run = load(run_dir, checkpoint)
    name = f"{checkpoint} (iteration {run.iteration})" if checkpoint in ("best", "last") else f"{run.iteration}"
    evaluation = evaluate(run, checkpoint=name, **options)
    evaluation.save(out or run_dir / "evaluation.json")
    for logger in run.config.logger:
        mirror = LOGGERS[logger]()
        run.start_mirror(mirror)
        mirror.evaluation(evaluation.as_dict())
        mirror.finish()
    return evaluation


def held_out_tasks(agent: Agent, protocol: Protocol) -> Tasks:
    """The tasks of a protocol, the same for every agent."""
    rng = seeding.generator(protocol.seed, "tasks", USES[protocol.split])
    try:
        return agent.family.sample_tasks(protocol.tasks, rng, protocol.split)
    except ValueError as error:
        raise RequestError(str(error)) from error


def measure(
    agent: Agent, meta: Meta, profile: Sequence[float], protocol: Protocol
) -> Experience:
    """One agent's experience under a protocol, with step sizes ``profile``."""
    tasks = held_out_tasks(agent, protocol)
    n = len(next(iter(tasks.values())))
    env = agent.family.make_vec(n * protocol.episodes)
    try:
        return gather(
            agent,
            meta,
            n,
            collector(agent, tasks, env, protocol.episodes),
            agent.adaptations(profile, protocol.steps),
            Address(protocol.seed, USES[protocol.split]),
            protocol.deterministic,
        )
    finally:
        env.close()


def tuned(
    agent: Agent, meta: Meta, profile: Sequence[float], protocol: Protocol, name: str
) -> list[float]:
    """``profile`` scaled so that its first step size is the entry of ``GRID`` that does best on validation tasks.

    Best is the highest mean return over the adapted steps. The outcomes are printed.
    """
    if not profile:
        return []
    validation = dataclasses.replace(protocol, split="validation")
    scores: dict[float, float] = {}
    for first in GRID:
        rates = [first * lr / profile[0] for lr in profile]
        scores[first] = float(measure(agent, meta, rates, validation).returns[1:].mean())
    best = max(scores, key=lambda lr: scores[lr])
    tried = ", ".join(f"{lr:g}: {score:.2f}" for lr, score in scores.items())
    tell(f"metarl: {name}: mean return on validation tasks by step size {tried}; best {best:g}")
    return [best * lr / profile[0] for lr in profile]


def _baseline(kind: str, run: Run) -> tuple[Agent, Meta, int]:
    """The agent, its meta-parameters and the environment steps of its training."""
    from metarl.run.baselines import baseline_of

    baseline = baseline_of(kind, run)
    return baseline.agent, baseline.meta, baseline.env_steps


def _result(experience: Experience, profile: Sequence[float], env_steps: int, protocol: Protocol) -> dict[str, Any]:
    per_task = experience.returns.numpy().T.astype(np.float64)
    rng = seeding.generator(protocol.seed, "bootstrap", USES[protocol.split])
    return {
        "mean": per_task.mean(0).tolist(),
        "ci95": bootstrap_ci(per_task, rng).tolist(),
        "per_task": per_task.tolist(),
        "inner_lr": list(profile),
        "env_steps": env_steps,
    }


def _traces(agent: Agent, experience: Experience, protocol: Protocol) -> dict[str, Any] | None:
    """Paths in the plane for a picture, where the family has one."""
    plane: Callable[[Any], Any] | None = getattr(agent.family, "plane", None)
    if plane is None:
        return None
    tasks = {key: value[:TRACED_TASKS] for key, value in held_out_tasks(agent, protocol).items()}
    marks: Callable[[Any], Any] | None = getattr(agent.family, "marks", None)
    paths = {}
    for step in sorted({0, protocol.steps}):
        batch = experience.batches[step]
        paths[str(step)] = [
            [
                _path(plane, batch.obs[t, e], batch.final_obs[t, e], int(batch.mask[t, e].sum()))
                for e in range(min(TRACED_EPISODES, batch.mask.shape[1]))
            ]
            for t in range(min(TRACED_TASKS, batch.mask.shape[0]))
        ]
    return {"marks": np.asarray(marks(tasks)).tolist() if marks else None, "agents": {"meta": paths}}


def _path(plane: Callable[[Any], Any], obs: Any, final_obs: Any, length: int) -> list[list[float]]:
    """Positions over time, the one after the last step included."""
    points = np.concatenate([obs[:length].cpu().numpy(), final_obs[None].cpu().numpy()])
    return np.round(np.asarray(plane(points)), 4).tolist()  # type: ignore[no-any-return]
