"""Baselines: runs without meta-learning that had as much experience."""

from pathlib import Path
from typing import Any

import pytest

from metarl.core.errors import RequestError, RunFailed
from metarl.run.config.admission import load_config
from metarl.run.config.train_config import as_dict
from metarl.run.evaluate import trained_baselines
from metarl.run.evaluate.evaluate import evaluate_run
from metarl.run.evaluate.protocol import Protocol
from metarl.run.evaluate.trained_baselines import TRAINED, baseline_config, baseline_of, train_baseline
from metarl.run.train.callbacks import Callback
from metarl.run.train.run_state import RunState
from metarl.run.train.training import learn
from metarl.run.use.runs import Run, load, train
from tiny_runs import agent, measured, rows, same, tiny, tuned_rates

FEW: dict[str, Any] = {"tasks": 3, "steps": 1, "episodes": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny(inner_steps=2), tmp_path_factory.mktemp("based") / "run")


def changes(kind: str, **values: Any) -> dict[str, Any]:
    """What a baseline's configuration changes."""
    before = tiny(**values)
    after = as_dict(baseline_config(kind, before))
    return {name: value for name, value in after.items() if value != getattr(before, name)}


def test_each_baseline_changes_what_makes_it_one_and_nothing_else() -> None:
    values = {"inner_steps": 3, "iterations": 5, "checkpoint_every": 2}
    values |= {"logger": ("wandb",), "init_from": "x"}
    trained = {"inner_steps": 0, "iterations": 20, "checkpoint_every": 8, "logger": ()}
    assert changes("pretrained", **values) == trained
    assert changes("oracle", **values) == trained | {"observe_task": True, "init_from": None}
    assert changes("random", **values) == {"iterations": 0, "init_from": None}
    with pytest.raises(RequestError, match="unknown baseline 'lucky'; allowed: random, pretrained, oracle"):
        baseline_config("lucky", tiny())


@pytest.mark.parametrize("kind", ["pretrained", "oracle"])
def test_it_has_as_many_environment_steps_and_no_inner_step(tmp_path: Path, kind: str) -> None:
    run = train(tiny(inner_steps=2, spec="promp"), tmp_path / "run")  # which no episode ends early
    baseline_of(kind, run)
    path = run.path / "baselines" / kind
    found = rows(path)
    assert len(found) == 2 * 3
    assert found[-1]["env_steps"] == rows(run.path)[-1]["env_steps"] == run.standing.samples
    assert all("return/step_0" in row and "return/step_1" not in row for row in found)
    assert load_config(path / "config.yaml").inner_steps == 0


def test_random_is_the_untrained_initialisation(run: Run) -> None:
    random = baseline_of("random", run)
    assert same(random.meta, agent().initial_meta())
    assert not same(random.meta, run.meta)
    assert random.standing.samples == 0
    assert not (run.path / "baselines" / "random").exists()


def test_it_is_the_best_checkpoint_of_a_run_of_its_own(run: Run) -> None:
    found = baseline_of("pretrained", run)
    path = run.path / "baselines" / "pretrained"
    assert same(found.meta, load(path, "best").meta)
    again = train(baseline_config("pretrained", run.config), path.parent / "again")
    assert same(load(path, "last").meta, again.meta)


def test_it_is_trained_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {kind: baseline_of(kind, run) for kind in ("pretrained", "oracle")}
    widths = {kind: made.agent.family.observation_space.shape for kind, made in first.items()}
    assert widths == {"pretrained": (2,), "oracle": (4,)}  # which sees the task
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    monkeypatch.setattr(trained_baselines, "learn", pytest.fail)
    for kind, found in first.items():
        assert same(baseline_of(kind, run).meta, found.meta)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_one_that_was_interrupted_goes_on(run: Run, tmp_path: Path) -> None:
    class Broken(Callback):
        def on_rollout_end(self, iteration: int, experience: Any) -> None:
            if iteration == 7:
                raise ZeroDivisionError

    mine = train(tiny(inner_steps=2, checkpoint_every=1, iterations=4), tmp_path / "run")
    path = mine.path / "baselines" / "pretrained"
    begun = RunState.start(baseline_config("pretrained", mine.config), path)
    with pytest.raises(RunFailed, match=r"iteration 7 failed: ZeroDivisionError.* metarl resume "):
        learn(begun, 12, [Broken()])
    assert len(rows(path)) == 6
    baseline_of("pretrained", mine)
    assert len(rows(path)) == 12
    whole = train(baseline_config("pretrained", mine.config), tmp_path / "whole")
    assert same(load(path, "last").meta, whole.meta)


def test_a_run_that_trained_on_is_compared_with_one_that_did_too(tmp_path: Path) -> None:
    mine = train(tiny(iterations=1, spec="promp"), tmp_path / "run")
    baseline_of("pretrained", mine)
    mine.learn(2)
    baseline_of("pretrained", mine)
    trained = rows(mine.path / "baselines" / "pretrained")
    assert trained[-1]["env_steps"] == mine.standing.samples


def test_evaluation_puts_them_side_by_side(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = run.evaluate(baselines=list(TRAINED), inner_lr=[0.4, 0.2], **FEW | {"steps": 2})
    assert list(found.agents) == ["meta", *TRAINED]
    assert found.agents["random"]["env_steps"] == 0
    assert found.agents["meta"]["env_steps"] == run.standing.samples
    told = capsys.readouterr().err
    for kind in TRAINED:
        first, second = found.agents[kind]["inner_lr"]
        assert second == first / 2  # the same proportions from step to step
        assert f"metarl: {kind}: mean return on validation tasks by step size 0: " in told
        assert f"best {first:g}\n" in told
    assert len({tuple(agent["mean"]) for agent in found.agents.values()}) == 4
    protocol = Protocol("test", 3, 2, 3, 1, False)
    for kind in TRAINED:
        agent, meta = baseline_of(kind, run).agent, baseline_of(kind, run).meta
        best = tuned_rates(agent, meta, [0.4, 0.2], protocol, kind)
        assert found.agents[kind]["inner_lr"] == best
        expected = measured(agent, meta, best, protocol).values.double().mean(1)
        assert found.agents[kind]["mean"] == pytest.approx(expected.tolist())
    alone = run.evaluate(baselines=["oracle"], inner_lr=[0.4, 0.2], **FEW | {"steps": 2})
    assert alone.agents["oracle"] == found.agents["oracle"]
    assert alone.agents["meta"] == found.agents["meta"]


# Trained by themselves ---------------------------------------------------------------------------


def test_a_baseline_has_a_directory_of_its_own(tmp_path: Path) -> None:
    made = train_baseline("oracle", tiny(iterations=1))
    assert made.path == Path("runs/point-goal-finn2017-oracle-seed3")
    assert len(rows(tmp_path / "runs/point-goal-finn2017-oracle-seed3")) == 2
    assert train_baseline("pretrained", tiny(iterations=1), tmp_path / "mine").path == tmp_path / "mine"


@pytest.mark.parametrize("kind", TRAINED)
def test_a_baseline_can_be_evaluated_as_its_command_says(tmp_path: Path, kind: str) -> None:
    path = train_baseline(kind, tiny(iterations=1), tmp_path / kind).path
    assert len(evaluate_run(path, **FEW).mean) == 2


@pytest.mark.parametrize("algorithm", ["e-maml", "reptile", "promp", "lstm"])
@pytest.mark.parametrize("objective", ["vpg", "a2c"])
@pytest.mark.parametrize("kind", ["pretrained", "oracle"])
def test_a_baseline_of_any_algorithm_is_one_that_can_be_trained(
    algorithm: str, objective: str, kind: str
) -> None:
    """It would be accepted as it is, and its meta-optimizer is the run's, but for Reptile's."""
    rates = {"inner_lr": None, "meta_optimizer": None, "meta_lr": None, "objective": objective}
    if objective == "a2c" and algorithm == "e-maml":
        rates["meta_optimizer"] = "adam"
    run = tiny(algorithm=algorithm, **rates)
    found = baseline_config(kind, run)
    assert (found.baseline, found.objective) == (run.baseline, objective)
    assert found.learner == "maml"
    if algorithm == "reptile":
        assert found.meta_optimizer == ("adam" if objective == "a2c" else "trpo")
    else:
        assert (found.meta_optimizer, found.meta_lr) == (run.meta_optimizer, run.meta_lr)
