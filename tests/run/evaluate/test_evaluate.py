"""Evaluation: what it measures, what it stands beside and what it writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.core.errors import RequestError
from metarl.run.evaluate.evaluate import evaluate, evaluate_run
from metarl.run.evaluate.protocol import GRID, Protocol
from metarl.run.results.comparable import protocol_hash
from metarl.run.results.evaluation import Evaluation
from metarl.run.use.runs import Run, train
from tiny_runs import measured, rows, same, tiny

FEW: dict[str, Any] = {"tasks": 5, "steps": 2, "episodes": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = tiny(iterations=4, checkpoint_every=2)
    return train(config, tmp_path_factory.mktemp("evaluated") / "run")


def test_the_file_holds_what_the_contract_says(run: Run) -> None:
    evaluation = evaluate_run(run.path, baselines=["random"], **FEW)
    found = json.loads((run.path / "evaluation.json").read_text())
    assert found == json.loads(json.dumps(evaluation.as_dict()))
    assert list(found) == ["metric", "measure", "protocol", "metrics", "agents", "traces"]
    assert found["metric"] == "return"
    assert evaluation.protocol["iteration"] in (2, 4)
    assert found["protocol"] == {
        "name": "custom",
        "algorithm": "maml",
        "family": "point-goal",
        "spec": "finn2017",
        "family_arg": {"horizon": 10},
        "split": "test",
        **FEW,
        "seed": 1,
        "deterministic": False,
        "checkpoint": "best",
        "iteration": evaluation.protocol["iteration"],
        "horizon": 10,
        "tasks_seen_in_training": False,
        "tasks_in_all": None,
        "interval": "95 % bootstrap over tasks",
        "step_sizes": "own",
        "inner_lr_grid": list(GRID),
        "hash": protocol_hash("return", found["protocol"]),
    }
    assert list(found["agents"]) == ["meta", "random"]
    assert found["agents"]["random"].pop("description") == "the untrained initialisation"
    for agent in found["agents"].values():
        assert list(agent) == [
            *("mean", "iqm", "ci95", "per_task", "inner_lr", "env_steps"),
            *("episodes", "episode_env_steps"),
        ]
        # Of five tasks one is left out at either end. Nobody reaches the goal: every episode has ten steps.
        np.testing.assert_allclose(np.sort(agent["per_task"], 0)[1:-1].mean(0), agent["iqm"], rtol=1e-12)
        assert agent["episodes"] == [0, 3, 6]
        assert agent["episode_env_steps"] == [0, 30, 60]
        shapes = {"mean": (3,), "ci95": (3, 2), "per_task": (5, 3), "inner_lr": (2,)}
        assert {name: np.shape(agent[name]) for name in shapes} == shapes
        np.testing.assert_allclose(np.mean(agent["per_task"], 0), agent["mean"], rtol=1e-12)
        low, high = np.transpose(agent["ci95"])
        assert (low < agent["mean"]).all()
        assert (agent["mean"] < high).all()
    meta = found["agents"]["meta"]
    assert found["metrics"] == {f"return/step_{k}": value for k, value in enumerate(meta["mean"])}
    assert [getattr(evaluation, name) for name in ("mean", "ci95", "per_task")] == [
        meta[name] for name in ("mean", "ci95", "per_task")
    ]
    assert np.shape(found["traces"]["marks"]) == (5, 2)
    assert list(found["traces"]["agents"]["meta"]) == ["0", "2"]


def test_the_protocol_has_a_name_where_nothing_else_was_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "metarl.run.evaluate.evaluate.standard", lambda _: Protocol("test", 5, 2, 3, 1, False)
    )
    assert evaluate(run).protocol["name"] == "metarl-v1"
    assert evaluate(run, tasks=5, seed=1).protocol["name"] == "metarl-v1"
    for told in ({"seed": 2}, {"inner_lr": 0.1}, {"split": "ood"}, {"family_arg": {"horizon": 10}}):
        assert evaluate(run, **told).protocol["name"] == "custom"
    assert evaluate(run, inner_lr=0.1).protocol["step_sizes"] == [0.1]


def test_the_hash_is_that_of_what_was_measured_and_not_of_whom(run: Run) -> None:
    found = evaluate(run, **FEW)
    assert found.protocol["hash"] == evaluate(run, checkpoint="last", **FEW).protocol["hash"]
    assert found.protocol["hash"] != evaluate(run, inner_lr=0.1, **FEW).protocol["hash"]
    assert found.protocol["hash"] != evaluate(run, **FEW | {"steps": 1}).protocol["hash"]


def test_progress_is_told_of_each_measurement(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(run, baselines=["random"], **FEW)
    told = capsys.readouterr().err
    total = 1 + len(GRID) + 1  # the agent, the baseline's step sizes, the baseline
    assert f"evaluating run measurement 1/{total}" in told
    assert told.endswith(f"evaluating run measurement {total}/{total}\n")


def test_step_k_is_worth_the_episodes_that_serve_step_k_plus_1(run: Run) -> None:
    found = evaluate(run, **FEW)
    protocol = Protocol("test", 5, 2, 3, 1, False)
    experience = measured(run.agent, run.meta, [0.1, 0.05], protocol)
    for k, batch in enumerate(experience.batches):
        returns = (batch.reward * batch.mask).sum(-1).mean(-1)
        np.testing.assert_allclose(np.array(found.per_task)[:, k], returns, rtol=1e-6)
    # The data of the first batch made the first step: nothing is collected twice.
    fewer = evaluate(run, **FEW | {"steps": 1})
    assert fewer.mean == found.mean[:2]


def test_step_sizes_are_given_one_by_one_or_training_s(run: Run) -> None:
    given = evaluate(run, inner_lr=[0.5, 0.25], **FEW | {"steps": 3})
    assert given.agents["meta"]["inner_lr"] == [0.5, 0.25, 0.25]
    assert given.mean == evaluate(run, inner_lr=(0.5, 0.25, 0.25), **FEW | {"steps": 3}).mean
    assert given.mean[:2] == evaluate(run, inner_lr=0.5, **FEW).mean[:2]
    assert given.mean[2] != evaluate(run, inner_lr=0.5, **FEW).mean[2]
    unset = evaluate(run, **FEW)
    assert unset.agents["meta"]["inner_lr"] == [0.1, 0.05]
    assert unset.mean == evaluate(run, inner_lr=[0.1, 0.05], **FEW).mean
    assert evaluate(run, **FEW | {"steps": 0}).agents["meta"]["inner_lr"] == []


def test_the_same_evaluation_gives_the_same_and_leaves_the_run_alone(run: Run) -> None:
    before, on_record = run.meta, rows(run.path)
    first = evaluate(run, **FEW)
    assert first.as_dict() == evaluate(run, **FEW).as_dict()
    assert same(run.meta, before)
    assert rows(run.path) == on_record
    assert first.protocol["checkpoint"] == "as it stands"
    for name, value in {"seed": 2, "split": "ood", "deterministic": True}.items():
        other = evaluate(run, **FEW | {name: value})
        assert not np.isin(np.array(other.per_task), first.per_task).any()
        assert other.protocol[name] == value and other.protocol["tasks_seen_in_training"] is False
    assert evaluate(run, split="train", **FEW).protocol["tasks_seen_in_training"] is True


def test_a_checkpoint_is_evaluated_by_its_name(run: Run, tmp_path: Path) -> None:
    found = {
        name: evaluate_run(run.path, checkpoint=name, out=tmp_path / f"{name}.json", **FEW)
        for name in ("last", "2", "4")
    }
    last = found["last"].protocol
    assert (last["checkpoint"], last["iteration"]) == ("last", 4)
    assert found["2"].protocol["checkpoint"] == "2"
    assert found["last"].mean == found["4"].mean != found["2"].mean
    steps = {row["iteration"]: row["env_steps"] for row in rows(run.path)}
    assert found["2"].agents["meta"]["env_steps"] == steps[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.json", "4.json", "last.json"]


def test_finitely_many_tasks_are_each_given_once_and_reported_as_seen(tmp_path: Path) -> None:
    trained = train(tiny(spec="promp", iterations=1), tmp_path / "run")
    found = evaluate(trained, tasks=40, steps=1, episodes=3)
    assert found.protocol["tasks"] == len(found.per_task) == 4
    assert found.protocol["tasks_seen_in_training"] is True
    with pytest.raises(RequestError, match="no split 'ood'"):
        evaluate(trained, split="ood")


def test_without_a_plane_there_are_no_traces(tmp_path: Path) -> None:
    trained = train(tiny(family="tiny_families:Field", iterations=0), tmp_path / "run")
    found = evaluate(trained, **FEW)
    assert found.traces is None
    assert "traces" not in found.as_dict()
    assert np.shape(found.per_task) == (5, 3)


def test_the_table_has_a_line_for_each_agent(run: Run) -> None:
    found = evaluate(run, baselines=["random"], **FEW)
    title, head, *lines = str(found).splitlines()
    assert title.startswith("return on 5 test tasks of point-goal (finn2017), 3 episodes a step")
    assert head.split() == ["agent", "before", "step", "1", "step", "2", "step", "sizes"]
    assert [line.split()[0] for line in lines] == ["meta", "random"]
    low, high = found.ci95[2]
    assert lines[0].endswith(f"  {found.mean[2]:.2f} [{low:.2f}, {high:.2f}]   0.1 0.05")
    assert len({line.index("]") for line in lines}) == 1  # aligned


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"split": "exam"}, "unknown split 'exam'"),
        ({"inner_lr": 0.0}, "inner_lr must be finite numbers above 0"),
        ({"baselines": ["lucky"]}, "unknown baseline 'lucky'; allowed: nearest, oracle, pretrained, random"),
        ({"inner_lr": 1e30}, "cannot be measured with step sizes"),  # actions become infinite
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(run: Run, options: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError, match=told) as caught:
        run.evaluate(**FEW | options)
    assert "\n" not in str(caught.value)


def test_a_saved_evaluation_is_strict_json(tmp_path: Path) -> None:
    agents = {"meta": {"mean": [float("nan")], "ci95": [[0.0, 1.0]], "per_task": [[np.float32(1.5)]]}}
    made = Evaluation("return", {}, {"return/step_0": float("inf")}, agents)
    found = json.loads(made.save(tmp_path / "e.json").read_text(), parse_constant=pytest.fail)
    assert found["agents"]["meta"] == {"mean": [None], "ci95": [[0.0, 1.0]], "per_task": [[1.5]]}
    assert found["metrics"] == {"return/step_0": None}
