"""How well an agent adapts to tasks it was not trained on, beside agents that show what that is worth."""

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.errors import RequestError
from metarl.rollout import seeding
from metarl.run.baselines import baseline_of
from metarl.run.experience import USES, Experience
from metarl.run.files import to_json, write_atomic
from metarl.run.protocol import GRID, Protocol, held_out_tasks, measure, tuned
from metarl.run.statistics import bootstrap_ci
from metarl.run.step_sizes import step_sizes
from metarl.run.traces import traces
from metarl.run.trainer import Trainer


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
        head = ["agent", "before", *(f"step {k}" for k in range(1, p["steps"] + 1)), "step sizes"]
        rows = [head, *(self._row(name) for name in self.agents)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        for row in rows:
            cells = [f"{cell:>{width}}" for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
            lines.append("   ".join([f"{row[0]:<{widths[0]}}", *cells, row[-1]]))
        return "\n".join(lines)

    def _row(self, name: str) -> list[str]:
        agent = self.agents[name]
        pairs = zip(agent["mean"], agent["ci95"], strict=True)
        cells = [f"{mean:.2f} [{low:.2f}, {high:.2f}]" for mean, (low, high) in pairs]
        return [name, *cells, " ".join(f"{lr:g}" for lr in agent["inner_lr"])]

    __str__ = table


def evaluate(
    run: Trainer,
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

    The value at step k is the mean return of the episodes that serve step k + 1, of as many more after the
    last step.

    Args:
        tasks: how many; a family that has fewer in all gives each once.
        inner_lr: step sizes of the first, second, … step; see ``step_sizes``.
        baselines: of ``random``, ``pretrained`` and ``oracle``; those that need training are trained once, in
            the run's directory. Each takes the step size of ``GRID`` that is best on validation tasks, in the
            same proportions from step to step.
        deterministic: measure separate episodes in which the policy takes its most likely action; it still
            adapts on random ones.
        checkpoint: how the protocol names the state that is evaluated.

    Raises:
        RequestError: an impossible value, or a split that the family does not have.
    """
    protocol = Protocol(split, tasks, steps, episodes, seed, deterministic)
    profile = step_sizes(inner_lr, steps, run.config)
    chosen = held_out_tasks(run.agent, protocol)
    protocol = dataclasses.replace(protocol, tasks=len(next(iter(chosen.values()))))
    experience = measure(run.agent, run.meta, profile, protocol)
    agents = {"meta": _result(experience, profile, run, protocol)}
    for kind in [baselines] if isinstance(baselines, str) else baselines:
        baseline = baseline_of(kind, run)
        best = tuned(baseline.agent, baseline.meta, profile, protocol, kind)
        found = measure(baseline.agent, baseline.meta, best, protocol)
        agents[kind] = _result(found, best, baseline, protocol)
    c, family = run.config, run.agent.family
    described = {
        "algorithm": c.algorithm,
        "family": c.family,
        "spec": c.spec,
        **dataclasses.asdict(protocol),
        "checkpoint": checkpoint,
        "horizon": family.horizon,
        "tasks_seen_in_training": family.num_tasks is not None or split == "train",
        "interval": "95 % bootstrap over tasks",
        "inner_lr_grid": list(GRID),
    }
    metrics = {f"return/step_{k}": value for k, value in enumerate(agents["meta"]["mean"])}
    return Evaluation("return", described, metrics, agents, traces(family, chosen, experience))


def evaluate_run(
    run_dir: Path, *, checkpoint: str | int = "best", out: Path | None = None, **options: Any
) -> Evaluation:
    """``evaluate`` at a checkpoint of a run directory, written to ``out`` (``RUN_DIR/evaluation.json``)."""
    run = Trainer.load(run_dir, checkpoint)
    path = run_dir / "evaluation.json" if out is None else out
    if not path.parent.is_dir() or path.is_dir():
        raise RequestError(f"out {path} cannot be written; allowed: a file in a folder that exists")
    named = f"{checkpoint} (iteration {run.iteration})" if checkpoint in ("best", "last") else str(checkpoint)
    evaluation = evaluate(run, checkpoint=named, **options)
    evaluation.save(path)
    with ExitStack() as stack:
        for mirror in run.open_mirrors(stack):
            mirror.evaluation(evaluation.as_dict())
    return evaluation


def _result(
    experience: Experience, profile: Sequence[float], trained: Trainer, protocol: Protocol
) -> dict[str, Any]:
    per_task = experience.returns.numpy().T.astype(np.float64)
    rng = seeding.generator(protocol.seed, "bootstrap", USES[protocol.split])
    return {
        "mean": per_task.mean(0).tolist(),
        "ci95": bootstrap_ci(per_task, rng).tolist(),
        "per_task": per_task.tolist(),
        "inner_lr": list(profile),
        "env_steps": trained.standing.env_steps,
    }
