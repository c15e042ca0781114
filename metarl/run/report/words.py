"""The report's words: the headline, the facts of a run, and what agents and entries of a protocol mean."""

from collections.abc import Mapping
from typing import Any

from metarl.run.log.measures import SAMPLES
from metarl.run.results.evaluation import AgentResult, Evaluation
from metarl.run.results.numbers import Form, count, form_of, is_whole, tick
from metarl.run.results.read import RunData, curve_series, series

# Of evaluations that say nothing of their agents themselves, as those of metarl 0.1 do.
OLD_AGENTS = {
    "meta": "the trained agent",
    "pretrained": "the same network trained on the same tasks without inner steps",
    "random": "the untrained initialisation",
    "oracle": "like pretrained, and it observes which task it is in",
    "nearest": "the label of the nearest support image, pixel by pixel; it learns nothing",
    "sb3-pretrained": "the same network trained by Stable-Baselines3’s PPO on the same tasks",
    "sb3-scratch": "the same network trained by Stable-Baselines3’s PPO on each task alone, from nothing",
    "sb3-oracle": "like sb3-pretrained, and it observes which task it is in",
}
OLD_PRETRAINED = {  # where tasks give labelled examples
    "mse": "the same network trained on all tasks together without inner steps, then fine-tuned on each",
    "accuracy": "the same network trained to tell all training classes apart, then fine-tuned on each task "
    "with its last layer drawn anew",
}
PROTOCOL = {
    "shots": "labelled examples of a task to adapt to (the support)",
    "queries": "other examples of a task, to be judged by",
    "episodes": "drawn of a task in each step, and after the last",
    "step_sizes": "own: those of training; a baseline takes the best of the grid on validation tasks",
    "inner_lr_grid": "the step sizes that a baseline chooses from, on validation tasks",
    "tasks_in_all": "of the family; none: as many as are drawn",
    "hash": "of what makes figures comparable",
}
STATISTICS = {
    "batch": "batch normalisation uses the statistics of the images at hand: a task’s queries are normalised "
    "together, so each is predicted in sight of the others (transductive)",
    "running": "batch normalisation predicts by running statistics of the inner steps, which begin afresh "
    "with each task: no query sees another",
    "alone": "batch normalisation predicts each query in a batch of its own, together with the support: no "
    "query sees another",
}


def agent_words(evaluation: Evaluation) -> dict[str, str]:
    """Return each agent's description, for those that have one."""
    old = OLD_AGENTS
    if "shots" in evaluation.protocol and evaluation.metric in OLD_PRETRAINED:
        old = old | {"pretrained": OLD_PRETRAINED[evaluation.metric]}
    words = {agent.name: agent.description or old.get(agent.name, "") for agent in evaluation.results}
    return {name: description for name, description in words.items() if description}


def protocol_words(evaluation: Evaluation) -> dict[str, str]:
    """Return what the protocol's entries mean, and the metric."""
    statistics = STATISTICS.get(str(evaluation.protocol.get("statistics")), "")
    return PROTOCOL | {"statistics": statistics, "metric": evaluation.measure.meaning}


def form(evaluation: Evaluation) -> Form:
    """Return the form of all means and intervals of an evaluation."""
    values = (v for agent in evaluation.results for v in (*agent.mean, *agent.low, *agent.high))
    return form_of(evaluation.measure, map(float, values))


def steps_label(protocol: Mapping[str, Any]) -> str:
    """Return the words beneath an axis of inner steps."""
    episodes = protocol.get("episodes")
    return "steps of adaptation" + (f" ({count(episodes, 'episode')} each)" if is_whole(episodes) else "")


def headline(run: RunData) -> str:
    """Return the one sentence that a reader takes away."""
    if run.evaluation is None:
        return _training_headline(run)
    evaluation, agent = run.evaluation, run.evaluation.results[0]
    write, steps = form(evaluation), len(agent.mean) - 1
    name, tasks = evaluation.measure.of_tasks, _tasks(evaluation)
    first, last = write(float(agent.mean[0])), write(float(agent.mean[-1]))
    who = "the agent’s" if agent.name == "meta" else f"{agent.name}’s"
    if steps == 0:
        return f"Without adaptation {who} {name} is {first} on {tasks}{_others(evaluation, write)}."
    change = _change(agent, first, last)
    within = f" ({write(float(agent.mean[1]))} after the first)" if steps > 1 else ""
    after = f"After {_steps(steps, evaluation.protocol)}"
    return f"{after} {who} {name} {change}{within} on {tasks}{_others(evaluation, write)}."


def _change(agent: AgentResult, first: str, last: str) -> str:
    if "–" in (first, last):
        return f"goes from {first} to {last}"
    if first == last:
        return f"stays at {last}"
    return f"{'rises' if agent.mean[-1] > agent.mean[0] else 'falls'} from {first} to {last}"


def _steps(steps: int, protocol: Mapping[str, Any]) -> str:
    """Return how many steps, and of what: episodes are drawn anew in each, labelled examples once a task."""
    if is_whole(episodes := protocol.get("episodes")):
        return f"{count(steps, 'step')} of {count(episodes, 'episode')}" + (" each" if steps > 1 else "")
    shots = protocol.get("shots")
    return count(steps, "step") + (f" on {count(shots, 'example')}" if is_whole(shots) else "")


def _tasks(evaluation: Evaluation) -> str:
    """Return how many tasks, and whether training had met them."""
    protocol, values = evaluation.protocol, evaluation.results[0].per_task
    tasks, split, seen = (protocol.get(key) for key in ("tasks", "split", "tasks_seen_in_training"))
    n = tasks if is_whole(tasks) else 0 if values is None else len(values)
    if seen and split != "train":
        return f"{count(n, 'task')}, all of them seen in training"
    kinds = {"validation": "validation ", "train": "training ", "test": "" if seen is None else "unseen "}
    where = " outside the training distribution" if split == "ood" else ""
    return count(n, f"{kinds.get(str(split), '')}task") + where


def _others(evaluation: Evaluation, write: Form) -> str:
    ends = [(agent.name, write(float(agent.mean[-1]))) for agent in evaluation.results[1:]]
    others = [f"{name} {'' if i else 'reaches '}{value}" for i, (name, value) in enumerate(ends)]
    if not others:
        return ""
    return "; " + (others[0] if len(others) == 1 else f"{', '.join(others[:-1])} and {others[-1]}")


def _training_headline(run: RunData) -> str:
    metric, measure = run.training_metric, run.training_measure
    lines = curve_series(run.rows, metric)
    if not lines:
        return "No iteration has finished yet."
    ends = [float(line.y[-1]) for line in (lines[0], lines[-1]) if len(line.y)]
    words = [form_of(measure, ends)(value) for value in ends]
    done = f"Not evaluated yet. The training tasks’ {measure.of_tasks} was last"
    if len(lines) == 1 or len(ends) < 2:
        return f"{done} {words[0] if words else 'not a finite number'}."
    return f"{done} {words[0]} before and {words[1]} after {count(len(lines) - 1, 'step')} of adaptation."


def facts(run: RunData) -> list[str]:
    """Return what was run, in a few words each."""
    config, rows, key = run.config, run.rows, run.samples_key
    words = [f"spec {config['spec']}"] if config.get("spec") else []
    if rows:
        words += [count(rows[-1]["iteration"], "iteration")]
        words += [f"{tick(y[-1])} {SAMPLES[key]}" for _, y in [series(rows, key)] if len(y)]
        skipped = rows[-1].get("skipped")
        words += [f"{count(skipped, 'step')} skipped, not finite"] if is_whole(skipped) and skipped else []
    tasks, episodes = config.get("tasks"), config.get("episodes")
    if is_whole(tasks):
        of_each = f" × {count(episodes, 'episode')}" if is_whole(episodes) and key == "env_steps" else ""
        words += [f"{count(tasks, 'task')}{of_each} an iteration"]
    return words + ([f"seed {config['seed']}"] if "seed" in config else [])
