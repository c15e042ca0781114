"""Checks what `make demo` left behind: ``python .ci/check_demo.py RUN_DIR ITERATIONS``."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

AGENTS = ["meta", "random", "pretrained", "oracle"]


def check_training(run: Path, iterations: int) -> None:
    """The config, one metrics row an iteration, and a checkpoint."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["algorithm"] == "maml", config
    assert config["family"] == "point-goal", config
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == list(range(1, iterations + 1)), rows
    assert list((run / "checkpoints").glob("[0-9]*/*.safetensors")), "no checkpoint"


def check_evaluation(evaluation: dict[str, Any]) -> None:
    """Each agent's curve over 0 to K inner steps, its interval and every task's own curve."""
    tasks, steps = evaluation["protocol"]["tasks"], evaluation["protocol"]["steps"]
    for name in AGENTS:
        agent = evaluation["agents"][name]
        assert len(agent["mean"]) == steps + 1, name
        assert [len(interval) for interval in agent["ci95"]] == [2] * (steps + 1), name
        assert [len(curve) for curve in agent["per_task"]] == [steps + 1] * tasks, name
        assert len(agent["inner_lr"]) == steps, name


def check_report(page: str) -> None:
    """One page that loads nothing from elsewhere."""
    assert len(page) > 10_000, f"only {len(page)} characters"
    elsewhere = [
        r"<(?:script|img|iframe|source)\b[^>]*\ssrc=[\"'](?!data:)[^\"']*",
        r"<link\b(?![^>]*\shref=[\"']data:)[^>]*",
        r"@import[^;]*",
        r"url\([\"']?(?!data:|#)[^)]*",
    ]
    loads = [found for pattern in elsewhere for found in re.findall(pattern, page)]
    assert not loads, loads


if __name__ == "__main__":
    run, iterations = Path(sys.argv[1]), int(sys.argv[2])
    check_training(run, iterations)
    check_evaluation(json.loads((run / "evaluation.json").read_text()))
    check_report((run / "report.html").read_text())
    print(f"{run}: config, {iterations} rows, a checkpoint, {len(AGENTS)} agents and the report are in order")
