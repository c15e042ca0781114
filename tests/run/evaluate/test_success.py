"""Success as a metric, from episodes to the report: the share of episodes that succeed, beside the return."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core.batch import Episodes
from metarl.core.errors import RequestError
from metarl.run.evaluate.evaluate import evaluate_run
from metarl.run.report.page import write_report
from metarl.run.store import checkpoint as store
from metarl.run.use.runs import train
from tiny_runs import agent, gathered, rows, tiny

BELLS: dict[str, Any] = {"family": "tiny_families:Bells"}


def to_the_right(batch: Episodes) -> Tensor:
    """The share of each task's episodes whose second action, if they have one, goes to the right."""
    return ((batch.action[:, :, 1, 0] > 0) & (batch.mask[:, :, 1] > 0)).float().mean(1)


def test_the_value_is_the_share_of_successful_episodes_and_the_return_stands_beside_it() -> None:
    found = gathered(agent(**BELLS), [0.5, 0.5])
    torch.testing.assert_close(found.values, torch.stack([to_the_right(batch) for batch in found.batches]))
    returns = torch.stack([(batch.reward * batch.mask).sum((1, 2)) / 3 for batch in found.batches])
    assert list(found.curves) == ["success", "return"]
    torch.testing.assert_close(found.curves["return"], returns)
    assert 0 < float(found.values.mean()) < 1  # or a constant would pass


def test_deterministic_policies_succeed_in_all_episodes_of_a_task_or_in_none() -> None:
    found = gathered(agent(**BELLS, spec="fixed"), [0.5], deterministic=True)
    assert set(found.values.flatten().tolist()) <= {0.0, 1.0}
    assert not torch.equal(found.values, torch.stack([to_the_right(batch) for batch in found.batches]))


def test_a_family_that_says_nothing_of_success_is_told_so() -> None:
    built = agent(**BELLS, family_arg={"told": False})
    with pytest.raises(
        RequestError, match=r"^family 'bells' is measured by success, but says no info\['success'\]"
    ):
        gathered(built, [0.5])


def test_rows_checkpoints_evaluation_and_report_speak_of_success(tmp_path: Path) -> None:
    config = tiny(**BELLS, iterations=4, checkpoint_every=1, keep_checkpoints=9, meta_lr=0.3)
    run = train(config, tmp_path / "run")
    steps = ("success/step_0", "success/step_1", "return/step_0", "return/step_1")
    scores = {}
    for row in rows(run.path):
        names = [name for name in row if "/step_" in name]
        assert names == [*steps, *(f"validation/{name}" for name in steps)]
        assert all(0 <= row[name] <= 1 and row[name.replace("success", "return")] < 0 for name in steps[:2])
        scores[row["iteration"]] = [row["validation/success/step_1"], row["validation/return/step_1"]]
    for number, score in scores.items():
        saved = store.load(store.find(run.checkpoints, number))
        assert saved.extra["validation"] == score
    assert int(store.find(run.checkpoints, "best").name) == max(scores, key=lambda number: scores[number])

    evaluation = evaluate_run(run.path, tasks=4, steps=2, episodes=3, baselines=["random"], trust=True)
    found = json.loads((run.path / "evaluation.json").read_text())
    assert found["metric"] == "success"
    assert list(found["metrics"]) == [f"{name}/step_{k}" for name in ("success", "return") for k in range(3)]
    meta = found["agents"]["meta"]
    assert [found["metrics"][f"success/step_{k}"] for k in range(3)] == meta["mean"] == evaluation.mean
    assert all(0 <= value <= 1 for task in meta["per_task"] for value in task)
    assert all(found["metrics"][f"return/step_{k}"] < 0 for k in range(3))
    assert evaluation.table().startswith("success on 4 test tasks of tiny_families:Bells")

    page = write_report([run.path], tmp_path / "page.html").read_text()
    assert "the agent’s success rate" in page and "at any of their steps" in page
    assert f"{100 * meta['mean'][-1]:.1f}\u202f%" in page
