"""Command lines that make a run, its evaluation and its page again."""

import json
from typing import Any

from metarl.run.config.admission import command
from metarl.run.results.numbers import rates
from metarl.run.results.read import RunData
from metarl.run.store import yaml_values as yamlfile


def commands(run: RunData) -> list[str]:
    """Return the command lines that make this run, its evaluation and its page again."""
    algorithm, again = str(run.config.get("algorithm", "ALGO")), f"{run.path}-again"
    return [
        command("train", algorithm, "--config", run.path / "config.yaml", "--out", again, opens=run.config),
        evaluate_command(run, again),
        command("report", again),
    ]


def evaluate_command(run: RunData, where: str | None = None) -> str:
    """Return the evaluation that was made, or the plain one, of the run at ``where`` (its own path)."""
    words = ["evaluate", where or str(run.path)]
    if run.evaluation is None:
        return command(*words, opens=run.config)
    protocol, agents = run.evaluation.protocol, run.evaluation.results
    checkpoint = str(protocol.get("checkpoint", ""))
    if checkpoint in ("best", "last") or checkpoint.isdigit():
        words += ["--checkpoint", checkpoint]
    for key in ("split", "tasks", "steps", "episodes", "seed"):
        words += [f"--{key}", str(protocol[key])] if key in protocol else []
    trained, asked = (values.get("family_arg") or {} for values in (run.config, protocol))
    other = {name: value for name, value in asked.items() if name not in trained or trained[name] != value}
    words += ["--family-arg", *(f"{name}={_yaml(value)}" for name, value in other.items())] if other else []
    if agents[0].inner_lr:
        words += ["--inner-lr", *(f"{rate:g}" for rate in rates(agents[0].inner_lr))]
    words += ["--deterministic"] if protocol.get("deterministic") is True else []
    baselines = [agent.name for agent in agents if agent.name != "meta"]
    words += ["--baselines", *baselines] if baselines else []
    return command(*words, opens=run.config)


def _yaml(value: Any) -> str:
    """Return one line that YAML reads as ``value``."""
    try:
        plain = yamlfile.parse(str(value)) == value
    except ValueError:
        plain = False
    return str(value) if plain else json.dumps(value)
