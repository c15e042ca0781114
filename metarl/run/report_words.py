"""The report's sentences and numbers: what the measurements say, in plain words."""

import math
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

import numpy as np

from metarl.run.report_data import (
    LOWER_IS_BETTER,
    METRICS,
    Agent,
    Array,
    Evaluation,
    RunData,
    better,
    series,
    step_keys,
    training_metric,
)
from metarl.run.svg import Number, tick

AGENTS = {
    "meta": "the trained agent",
    "pretrained": "the same network trained on the same tasks without inner steps",
    "random": "the untrained initialisation",
    "oracle": "like pretrained, and it observes which task it is in",
}


def decimals(values: Iterable[Number]) -> int:
    """How many decimals show three digits of the largest of `values`, and at least the integers."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    return 0 if largest >= 1000 else 1 if largest >= 10 else 2 if largest >= 1 else 3


def number(value: Number, places: int) -> str:
    """With a real minus sign and thousands apart; a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    return f"{round(value, places) + 0.0:,.{places}f}".replace("-", "−").replace(",", "\u202f")


def count(n: int, thing: str) -> str:
    """1 task, 2 tasks."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}".replace(",", "\u202f")


def places(evaluation: Evaluation) -> int:
    """One number of decimals for all means and intervals of an evaluation."""
    return decimals(float(v) for agent in evaluation.agents for v in (*agent.mean, *agent.low, *agent.high))


def measured(metric: str) -> str:
    """The metric's name on the page."""
    return METRICS.get(metric, metric)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value read from a file can be counted."""
    return isinstance(value, int) and not isinstance(value, bool)


def headline(run: RunData) -> str:
    """The one sentence a reader takes away."""
    if run.evaluation is None:
        return _training_headline(run)
    evaluation, agent = run.evaluation, run.evaluation.agents[0]
    digits, steps = places(evaluation), len(agent.mean) - 1
    name, tasks = measured(evaluation.metric), _tasks(evaluation)
    first, last = number(float(agent.mean[0]), digits), number(float(agent.mean[-1]), digits)
    who = "the agent’s" if agent.name == "meta" else f"{agent.name}’s"
    if steps == 0:
        return f"Without adaptation {who} {name} is {first} on {tasks}{_others(evaluation, digits)}."
    change = _change(agent, first, last)
    within = f" ({number(float(agent.mean[1]), digits)} after the first)" if steps > 1 else ""
    after = f"After {_steps(steps, evaluation.protocol)}"
    return f"{after} {who} {name} {change}{within} on {tasks}{_others(evaluation, digits)}."


def _change(agent: Agent, first: str, last: str) -> str:
    if "–" in (first, last):
        return f"goes from {first} to {last}"
    if first == last:
        return f"stays at {last}"
    return f"{'rises' if agent.mean[-1] > agent.mean[0] else 'falls'} from {first} to {last}"


def _steps(steps: int, protocol: Mapping[str, Any]) -> str:
    for thing in ("episode", "shot"):
        if is_whole(n := protocol.get(f"{thing}s")):
            return f"{count(steps, 'step')} of {count(n, thing)}" + (" each" if steps > 1 else "")
    return count(steps, "step")


def _tasks(evaluation: Evaluation) -> str:
    """How many tasks, and whether training had met them."""
    protocol, values = evaluation.protocol, evaluation.agents[0].per_task
    given, split, seen = (protocol.get(key) for key in ("tasks", "split", "tasks_seen_in_training"))
    n = given if is_whole(given) else 0 if values is None else len(values)
    if seen and split != "train":
        return f"{count(n, 'task')}, all of them seen in training"
    kinds = {"validation": "validation ", "train": "training ", "test": "" if seen is None else "unseen "}
    where = " outside the training distribution" if split == "ood" else ""
    return count(n, f"{kinds.get(str(split), '')}task") + where


def _others(evaluation: Evaluation, digits: int) -> str:
    others = [(agent.name, number(float(agent.mean[-1]), digits)) for agent in evaluation.agents[1:]]
    if not others:
        return ""
    phrases = [f"{others[0][0]} reaches {others[0][1]}", *(f"{name} {value}" for name, value in others[1:])]
    return "; " + (phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}")


def _training_headline(run: RunData) -> str:
    metric = training_metric(run)
    keys = step_keys(run.rows, metric)
    if not keys:
        return "No iteration has finished yet."
    ends = [float(y[-1]) for _, y in (series(run.rows, key) for key in (keys[0], keys[-1])) if len(y)]
    shown = [number(value, decimals(ends)) for value in ends]
    done = f"Not evaluated yet. The training tasks’ {measured(metric)} was last"
    if len(keys) == 1 or len(ends) < 2:
        return f"{done} {shown[0] if shown else 'not a finite number'}."
    return f"{done} {shown[0]} before and {shown[1]} after {count(len(keys) - 1, 'step')} of adaptation."


def facts(run: RunData) -> list[str]:
    """What was run, in a few words each."""
    config, rows = run.config, run.rows
    found = [f"spec {config['spec']}"] if config.get("spec") else []
    if rows:
        found += [count(rows[-1]["iteration"], "iteration")]
        found += [f"{tick(y[-1])} environment steps" for _, y in [series(rows, "env_steps")] if len(y)]
        found += [
            f"{count(n, 'step')} skipped, not finite" for n in [rows[-1].get("skipped")] if is_whole(n) and n
        ]
    tasks, episodes = config.get("tasks"), config.get("episodes")
    if is_whole(tasks) and is_whole(episodes):
        found += [f"{count(tasks, 'task')} × {count(episodes, 'episode')} an iteration"]
    return found + ([f"seed {config['seed']}"] if "seed" in config else [])


def per_task_words(before: Array, after: Array, metric: str, digits: int) -> str:
    """How many tasks gain, by how much in the middle, and which ends worst; values "task", some finite."""
    gained = int((better(metric, after, before) & (after != before)).sum())
    worst = int(np.nanargmax(after) if metric in LOWER_IS_BETTER else np.nanargmin(after))
    return (
        f"{gained} of {count(len(after), 'task')} improve; the median change is "
        f"{number(float(np.nanmedian(after - before)), digits)}. Task {worst + 1} ends worst: "
        f"{number(float(before[worst]), digits)} before, {number(float(after[worst]), digits)} after."
    )


def commands(run: RunData) -> list[str]:
    """The command lines that make this run, its evaluation and this page again."""
    algorithm, where = str(run.config.get("algorithm", "ALGO")), str(run.path)
    train = ["metarl", "train", algorithm, "--config", f"{where}/config.yaml", "--out", f"{where}-again"]
    return [shlex.join(train), evaluate_command(run), shlex.join(["metarl", "report", where])]


def evaluate_command(run: RunData) -> str:
    """The evaluation that was made, or the plain one."""
    words = ["metarl", "evaluate", str(run.path)]
    if run.evaluation is None:
        return shlex.join(words)
    protocol, agents = run.evaluation.protocol, run.evaluation.agents
    checkpoint = str(protocol.get("checkpoint", "")).split(" ")[0]
    if checkpoint in ("best", "last") or checkpoint.isdigit():
        words += ["--checkpoint", checkpoint]
    for key in ("split", "tasks", "steps", "episodes", "seed"):
        words += [f"--{key}", str(protocol[key])] if key in protocol else []
    if agents[0].inner_lr:
        words += ["--inner-lr", *(f"{rate:g}" for rate in agents[0].inner_lr)]
    words += ["--deterministic"] if protocol.get("deterministic") is True else []
    others = [agent.name for agent in agents if agent.name != "meta"]
    return shlex.join(words + (["--baselines", *others] if others else []))
