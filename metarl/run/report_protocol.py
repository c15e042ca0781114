"""What was measured, and against what: the words of an evaluation's protocol and of its agents."""

from collections.abc import Mapping
from typing import Any

from metarl.run.report_data import Evaluation, RunData
from metarl.run.report_numbers import count, is_whole

AGENTS = {
    "meta": "the trained agent",
    "pretrained": "the same network trained on the same tasks without inner steps",
    "random": "the untrained initialisation",
    "oracle": "like pretrained, and it observes which task it is in",
    "nearest": "the label of the nearest support image, pixel by pixel; it learns nothing",
    "sb3-pretrained": "the same network trained by Stable-Baselines3’s PPO on the same tasks",
    "sb3-scratch": "the same network trained by Stable-Baselines3’s PPO on each task alone, from nothing",
    "sb3-oracle": "like sb3-pretrained, and it observes which task it is in",
}
PRETRAINED = {  # where tasks give labelled examples
    "mse": "the same network trained on all tasks together without inner steps, then fine-tuned on each",
    "accuracy": "the same network trained to tell all training classes apart, then fine-tuned on each task "
    "with its last layer drawn anew",
}
VALUES = {
    "mse": "the mean squared error over its queries",
    "accuracy": "the share of its queries that get the right label",
}
STATISTICS = {
    "batch": "Batch normalisation uses the statistics of the images at hand: a task’s queries are normalised "
    "together, so each is predicted in sight of the others (transductive).",
    "running": "Batch normalisation predicts by running statistics of the inner steps, which begin afresh "
    "with each task: no query sees another.",
    "alone": "Batch normalisation predicts each query in a batch of its own, together with the support: no "
    "query sees another.",
}


def agent_words(evaluation: Evaluation) -> dict[str, str]:
    """What each agent that we know is."""
    known = AGENTS | ({"pretrained": PRETRAINED[evaluation.metric]} if _labelled(evaluation) else {})
    return {agent.name: known[agent.name] for agent in evaluation.agents if agent.name in known}


def procedure(run: RunData) -> str:
    """How agents met their tasks, in sentences; empty without an evaluation."""
    evaluation = run.evaluation
    if evaluation is None:
        return ""
    sentences = _lessons(evaluation, run.config) if _labelled(evaluation) else []
    if evaluation.metric == "success":
        sentences += ["A task’s value is the share of its episodes that succeed, at any of their steps."]
    if evaluation.protocol.get("inner_lr_grid") and any(a.inner_lr for a in evaluation.agents[1:]):
        sentences += ["Each baseline takes the step size of the grid that does best on validation tasks."]
    return " ".join(sentences)


def _labelled(evaluation: Evaluation) -> bool:
    return "shots" in evaluation.protocol and evaluation.metric in PRETRAINED


def _lessons(evaluation: Evaluation, config: Mapping[str, Any]) -> list[str]:
    protocol = evaluation.protocol
    shots, queries, batch = protocol["shots"], protocol.get("queries"), config.get("inner_batch")
    found = []
    if is_whole(shots) and is_whole(queries):
        portion = (
            f"{count(batch, 'example')} at a time" if is_whole(batch) and batch < shots else "all at once"
        )
        support, others = count(shots, "labelled example"), count(queries, "other")
        found += [
            f"A task gives {support} (the support) to adapt to, {portion} in each step, and {others} (the "
            "queries) to be judged by."
        ]
    found += [f"A task’s value is {VALUES[evaluation.metric]}, before the first step and after each."]
    return found + [text for name, text in STATISTICS.items() if name == protocol.get("statistics")]
