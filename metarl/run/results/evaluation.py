"""An evaluation: what ``evaluation.json`` holds, written and read by one class, and its table."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from metarl.core.errors import RequestError
from metarl.run.log.measures import SAMPLES, Measure, measure_of, read_measure
from metarl.run.results.numbers import aligned, is_whole, shown_steps
from metarl.run.results.pictures import Array, Fits, Samples, Traces, array
from metarl.run.store.files import read_json, to_json, write_atomic


@dataclass(frozen=True)
class AgentResult:
    """One agent's results as checked arrays: "k" after each number of steps, NaN where unknown.

    Attributes:
        mean, low, high: the mean over tasks and its interval, "k".
        per_task: "task k", None where it was not kept.
        inner_lr: the step sizes; none where steps are learned or not taken.
        samples: the environment steps, or labelled examples, that it was trained on.
        episodes, episode_env_steps: what of a task it had adapted to after each number of steps, "k".
        description: the agent in a few words, "" where nobody said.
    """

    name: str
    mean: Array
    low: Array
    high: Array
    per_task: Array | None
    inner_lr: tuple[float, ...]
    samples: float | None
    episodes: Array | None = None
    episode_env_steps: Array | None = None
    description: str = ""

    @classmethod
    def read(cls, name: str, entry: Mapping[str, Any]) -> "AgentResult":
        """Return an agent's entry of ``evaluation.json``.

        Raises:
            KeyError, ValueError, TypeError, OverflowError: it is damaged.
        """
        mean, ci = array(entry["mean"], 1), array(entry["ci95"], 2)
        if ci.shape != (len(mean), 2) or not len(mean):
            raise ValueError(f"agent {name} has {len(mean)} means and intervals of shape {ci.shape}")
        per_task = array(entry["per_task"], 2) if entry.get("per_task") else None
        rates = tuple(float(rate) for rate in entry.get("inner_lr") or ())
        samples = next((float(entry[key]) for key in SAMPLES if entry.get(key) is not None), None)
        used = {key: array(entry[key], 1) for key in ("episodes", "episode_env_steps") if entry.get(key)}
        description = str(entry.get("description") or "")
        low, high = ci.T
        return cls(name, mean, low, high, per_task, rates, samples, **used, description=description)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluation of a run; ``mean``, ``ci95`` and ``per_task`` are the evaluated agent's.

    Attributes:
        metric: the metric's name; ``measure`` says what it is called and which way is better.
        protocol: how it was measured.
        metrics: the evaluated agent's means as a row of numbers.
        agents: by name ("meta", "random", …) its mean after 0 … K steps, the 95 % intervals of these means,
            the interquartile mean, the value of each task, the step sizes, the environment steps that it was
            trained for, and the episodes of a task that it had adapted to until then.
        traces, fits, samples: pictures, of which at most one is there.
    """

    metric: str
    protocol: dict[str, Any]
    metrics: dict[str, float]
    agents: dict[str, dict[str, Any]]
    traces: Traces | None = None
    fits: Fits | None = None
    samples: Samples | None = None
    stated_measure: Measure | None = None  # in a file that was read; None: the registered one

    @property
    def measure(self) -> Measure:
        """Return what the metric is called and which way is better."""
        return self.stated_measure or measure_of(self.metric)

    @property
    def mean(self) -> list[float]:
        """Return the mean over tasks after 0 … K steps."""
        mean: list[float] = self.agents["meta"]["mean"]
        return mean

    @property
    def ci95(self) -> list[list[float]]:
        """Return low and high after each number of steps."""
        ci95: list[list[float]] = self.agents["meta"]["ci95"]
        return ci95

    @property
    def per_task(self) -> list[list[float]]:
        """Return for each task its value after 0 … K steps."""
        per_task: list[list[float]] = self.agents["meta"]["per_task"]
        return per_task

    @cached_property
    def results(self) -> tuple[AgentResult, ...]:
        """Return the agents as checked arrays, the trained one first; raises as ``AgentResult.read``."""
        results = [AgentResult.read(str(name), entry) for name, entry in self.agents.items()]
        return tuple(sorted(results, key=lambda agent: agent.name != "meta"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Evaluation) and self.as_dict() == other.as_dict()

    def as_dict(self) -> dict[str, Any]:
        """Return the object of ``evaluation.json``."""
        pictures = {"traces": self.traces, "fits": self.fits, "samples": self.samples}
        return {
            "metric": self.metric,
            "measure": self.measure.as_dict(),
            "protocol": self.protocol,
            "metrics": self.metrics,
            "agents": self.agents,
        } | {name: picture.as_dict() for name, picture in pictures.items() if picture is not None}

    def save(self, path: str | Path) -> Path:
        """Write it as JSON."""
        return write_atomic(Path(path), to_json(self.as_dict(), indent=1))

    @classmethod
    def read(cls, path: Path) -> "Evaluation":
        """Return the evaluation in a file, which may be an old one or a stranger's.

        Raises:
            FileNotFoundError: there is none.
            RequestError: it is damaged; one line.
        """
        data = read_json(path)
        try:
            return cls._checked(data)
        except KeyError as error:
            raise RequestError(f"{path} is damaged: {error} is missing") from None
        except (ValueError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise RequestError(f"{path} is damaged: {' '.join(str(error).split())}") from None

    @classmethod
    def _checked(cls, data: Mapping[str, Any]) -> "Evaluation":
        metric, agents = str(data["metric"]), dict(data["agents"])
        measure = read_measure(metric, data.get("measure"))
        bare = cls(metric, _protocol(data), dict(data.get("metrics") or {}), agents, stated_measure=measure)
        if not bare.results:
            raise ValueError("no agents")
        traces = Traces.read(data["traces"], bare.results[0].name) if data.get("traces") else None
        fits = Fits.read(data["fits"]) if data.get("fits") else None
        samples = Samples.read(data["samples"]) if data.get("samples") else None
        return cls(metric, bare.protocol, bare.metrics, agents, traces, fits, samples, measure)

    def table(self) -> str:
        """Return a line for each agent: its mean after each number of steps, with the interval."""
        p = self.protocol
        amount = (
            f"{p['episodes']} episodes a step"
            if "episodes" in p
            else f"{p['shots']} support and {p['queries']} query examples"
        )
        lines = [
            f"{self.metric} on {p['tasks']} {p['split']} tasks of {p['family']} ({p['spec']}), "
            f"{amount}, checkpoint {checkpoint_words(p)}; {p['interval']}; "
            f"protocol {p['name']} {p['hash'][:8]}"
        ]
        steps = shown_steps(p["steps"])
        head = ["agent", *(f"step {k}" if k else "before" for k in steps), "step sizes"]
        rows = [head, *(self._row(name, steps) for name in self.agents)]
        return "\n".join([*lines, *aligned(rows, left=(0, len(head) - 1))])

    def _row(self, name: str, steps: Sequence[int]) -> list[str]:
        agent = self.agents[name]
        pairs = [(agent["mean"][k], agent["ci95"][k]) for k in steps]
        digits = 2 if self.metric == "return" else 3
        cells = [f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]" for mean, (low, high) in pairs]
        rates = agent["inner_lr"]
        return [name, *cells, " ".join(f"{lr:g}" for lr in (rates[:1] if len(set(rates)) == 1 else rates))]

    __str__ = table


def checkpoint_words(protocol: Mapping[str, Any]) -> str:
    """Return the evaluated checkpoint in words: best (iteration 20)."""
    name, iteration = protocol.get("checkpoint"), protocol.get("iteration")
    return (
        f"{name} (iteration {iteration})" if name in ("best", "last") and is_whole(iteration) else str(name)
    )


def _protocol(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's protocol; "best (iteration 20)" of an old one as a name and a number."""
    protocol = dict(data.get("protocol") or {})
    old = re.fullmatch(r"(best|last) \(iteration (\d{1,18})\)", str(protocol.get("checkpoint")))
    return protocol | ({"checkpoint": old[1], "iteration": int(old[2])} if old else {})
