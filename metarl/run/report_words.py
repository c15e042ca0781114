"""The report's sentences: what the measurements say, in plain words."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from metarl.run import yamlfile
from metarl.run.admission import command
from metarl.run.measures import measure_of
from metarl.run.report_data import (
    DRAWN,
    Agent,
    Evaluation,
    RunData,
    better,
    drawn_key,
    series,
    step_keys,
    training_metric,
)
from metarl.run.report_numbers import Form, count, form_of, is_whole, rates
from metarl.run.report_pictures import Array
from metarl.run.svg import tick
from metarl.run.zoo import is_zoo, place


def form(evaluation: Evaluation) -> Form:
    """How all means and intervals of an evaluation are written."""
    values = (v for agent in evaluation.agents for v in (*agent.mean, *agent.low, *agent.high))
    return form_of(measure_of(evaluation.metric), map(float, values))


def headline(run: RunData) -> str:
    """The one sentence a reader takes away."""
    if run.evaluation is None:
        return _training_headline(run)
    evaluation, agent = run.evaluation, run.evaluation.agents[0]
    shown, steps = form(evaluation), len(agent.mean) - 1
    name, tasks = measure_of(evaluation.metric).of_tasks, _tasks(evaluation)
    first, last = shown(float(agent.mean[0])), shown(float(agent.mean[-1]))
    who = "the agent’s" if agent.name == "meta" else f"{agent.name}’s"
    if steps == 0:
        return f"Without adaptation {who} {name} is {first} on {tasks}{_others(evaluation, shown)}."
    change = _change(agent, first, last)
    within = f" ({shown(float(agent.mean[1]))} after the first)" if steps > 1 else ""
    after = f"After {_steps(steps, evaluation.protocol)}"
    return f"{after} {who} {name} {change}{within} on {tasks}{_others(evaluation, shown)}."


def _change(agent: Agent, first: str, last: str) -> str:
    if "–" in (first, last):
        return f"goes from {first} to {last}"
    if first == last:
        return f"stays at {last}"
    return f"{'rises' if agent.mean[-1] > agent.mean[0] else 'falls'} from {first} to {last}"


def _steps(steps: int, protocol: Mapping[str, Any]) -> str:
    """Episodes are drawn anew in each step, labelled examples once a task."""
    if is_whole(episodes := protocol.get("episodes")):
        return f"{count(steps, 'step')} of {count(episodes, 'episode')}" + (" each" if steps > 1 else "")
    shots = protocol.get("shots")
    return count(steps, "step") + (f" on {count(shots, 'example')}" if is_whole(shots) else "")


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


def _others(evaluation: Evaluation, shown: Form) -> str:
    others = [(agent.name, shown(float(agent.mean[-1]))) for agent in evaluation.agents[1:]]
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
    shown = [form_of(measure_of(metric), ends)(value) for value in ends]
    done = f"Not evaluated yet. The training tasks’ {measure_of(metric).of_tasks} was last"
    if len(keys) == 1 or len(ends) < 2:
        return f"{done} {shown[0] if shown else 'not a finite number'}."
    return f"{done} {shown[0]} before and {shown[1]} after {count(len(keys) - 1, 'step')} of adaptation."


def facts(run: RunData) -> list[str]:
    """What was run, in a few words each."""
    config, rows, key = run.config, run.rows, drawn_key(run)
    found = [f"spec {config['spec']}"] if config.get("spec") else []
    if rows:
        found += [count(rows[-1]["iteration"], "iteration")]
        found += [f"{tick(y[-1])} {DRAWN[key]}" for _, y in [series(rows, key)] if len(y)]
        found += [
            f"{count(n, 'step')} skipped, not finite" for n in [rows[-1].get("skipped")] if is_whole(n) and n
        ]
    tasks, episodes = config.get("tasks"), config.get("episodes")
    if is_whole(tasks):
        each = f" × {count(episodes, 'episode')}" if is_whole(episodes) and key == "env_steps" else ""
        found += [f"{count(tasks, 'task')}{each} an iteration"]
    return found + ([f"seed {config['seed']}"] if "seed" in config else [])


def per_task_words(before: Array, after: Array, metric: str, shown: Form) -> str:
    """How many tasks gain, by how much in the middle, and which ends worst; values "task", some finite."""
    gained = int((better(metric, after, before) & (after != before)).sum())
    worst = int(np.nanargmax(after) if measure_of(metric).lower_is_better else np.nanargmin(after))
    return (
        f"{gained} of {count(len(after), 'task')} improve; the median change is "
        f"{shown.change(float(np.nanmedian(after - before)))}. Task {worst + 1} ends worst: "
        f"{shown(float(before[worst]))} before, {shown(float(after[worst]))} after."
    )


def commands(run: RunData) -> list[str]:
    """The command lines that make this run, its evaluation and this page again."""
    algorithm, again = str(run.config.get("algorithm", "ALGO")), f"{place(run.path)}-again"
    config = str(run.path if is_zoo(run.path) else run.path / "config.yaml")
    return [
        command("train", algorithm, "--config", config, "--out", again, opens=run.config),
        evaluate_command(run, again),
        command("report", again),
    ]


def evaluate_command(run: RunData, where: str | None = None) -> str:
    """The evaluation that was made, or the plain one, of the run at ``where`` (its own path)."""
    words = ["evaluate", where or str(run.path)]
    if run.evaluation is None:
        return command(*words, opens=run.config)
    protocol, agents = run.evaluation.protocol, run.evaluation.agents
    checkpoint = str(protocol.get("checkpoint", "")).split(" ")[0]
    if checkpoint in ("best", "last") or checkpoint.isdigit():
        words += ["--checkpoint", checkpoint]
    for key in ("split", "tasks", "steps", "episodes", "seed"):
        words += [f"--{key}", str(protocol[key])] if key in protocol else []
    trained, told = (values.get("family_arg") or {} for values in (run.config, protocol))
    given = {name: value for name, value in told.items() if name not in trained or trained[name] != value}
    words += ["--family-arg", *(f"{name}={_yaml(value)}" for name, value in given.items())] if given else []
    if agents[0].inner_lr:
        words += ["--inner-lr", *(f"{rate:g}" for rate in rates(agents[0].inner_lr))]
    words += ["--deterministic"] if protocol.get("deterministic") is True else []
    others = [agent.name for agent in agents if agent.name != "meta"]
    words += ["--baselines", *others] if others else []
    return command(*words, opens=run.config)


def _yaml(value: Any) -> str:
    """One line that YAML reads as ``value``."""
    try:
        plain = yamlfile.parse(str(value)) == value
    except ValueError:
        plain = False
    return str(value) if plain else json.dumps(value)
