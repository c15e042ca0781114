"""Agents trained by Stable-Baselines3 in an evaluation's table."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarl.cli import main
from metarl.core.batch import undiscounted_returns
from metarl.core.errors import RequestError, RunFailed
from metarl.core.params import expand
from metarl.rollout.collector import collect
from metarl.rollout.seeding import Address
from metarl.run.evaluate import sb3_baselines as baselines
from metarl.run.evaluate.evaluate import evaluate
from metarl.run.evaluate.protocol import Protocol, held_out_tasks
from metarl.run.evaluate.sb3_baselines import kept, measure_scratch, sb3_baseline_of, sb3_config, scratch_file
from metarl.run.experience.gather import USES
from metarl.run.experience.sources import open_executor
from metarl.run.sb3.names import names_of
from metarl.run.sb3.ppo import ppo_of
from metarl.run.sb3.vec_env import TaskVecEnv
from metarl.run.store import checkpoint as store
from metarl.run.store.lock import alone_in
from metarl.run.use.runs import Run, load, train
from tiny_runs import agent, same, taught, tiny

PROTOCOL = Protocol("test", tasks=4, steps=2, episodes=3, seed=1, deterministic=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny(), tmp_path_factory.mktemp("sb3") / "run")


def refuse(*args: Any, **options: Any) -> Any:
    raise AssertionError("trained again")


def test_the_network_is_the_run_s_and_the_oracle_s_reads_the_task(run: Run) -> None:
    config = sb3_config("sb3-pretrained", run.config)
    for name in ("hidden", "activation", "init_std", "gamma", "rule", "inner_lr", "seed"):
        assert getattr(config, name) == getattr(run.config, name)
    assert sb3_config("sb3-oracle", run.config).observe_task and not config.observe_task
    oracle = sb3_baseline_of("sb3-oracle", run)
    assert oracle.meta.model["net.0.weight"].shape == (8, 4)


def test_it_is_trained_as_long_as_the_run_and_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sb3_baseline_of("sb3-pretrained", run)
    assert run.standing.samples == first.standing.samples == 480
    assert list(first.meta.model) == list(run.meta.model)
    assert not same(first.meta.model, first.agent.initial_meta().model)
    monkeypatch.setattr(baselines, "train_on_tasks", refuse)
    assert same(sb3_baseline_of("sb3-pretrained", run).meta, first.meta)
    assert same(sb3_baseline_of("sb3-pretrained", load(run.path)).meta, first.meta)
    files = sorted(path.name for path in (run.path / "baselines" / "sb3-pretrained").rglob("*.*"))
    assert files == [".lock", "manifest.json", "state.safetensors"]  # nothing that could carry code


def test_it_is_trained_again_where_the_run_went_on_or_the_file_is_damaged(tmp_path: Path) -> None:
    run = train(tiny(iterations=1), tmp_path / "run")
    assert sb3_baseline_of("sb3-pretrained", run).standing.samples == 240
    state = next((tmp_path / "run" / "baselines").rglob("state.safetensors"))
    state.write_bytes(state.read_bytes()[:-4] + b"0000")
    assert sb3_baseline_of("sb3-pretrained", run).standing.samples == 240
    assert sb3_baseline_of("sb3-pretrained", run.learn(1)).standing.samples == 480


def test_a_kept_one_is_looked_at_like_any_checkpoint(tmp_path: Path) -> None:
    run = train(tiny(iterations=1), tmp_path / "run")
    folder = sb3_baseline_of("sb3-pretrained", run).checkpoints
    tensors = store.load(store.find(folder)).tensors
    store.save(folder, 1, tensors | {"net.0.weight": torch.zeros(3, 2)}, {"asked": 10**9})
    with pytest.raises(RequestError, match=r"baseline sb3-pretrained of .* has \[3, 2\] for net.0.weight"):
        sb3_baseline_of("sb3-pretrained", run)
    store.save(folder, 1, {"x": torch.zeros(1)}, {})  # it does not say how long it was trained
    assert sb3_baseline_of("sb3-pretrained", run).standing.samples == 240
    with alone_in(folder.parent), pytest.raises(RequestError, match="is being trained"):
        sb3_baseline_of("sb3-pretrained", run)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(tiny(iterations=1), tmp_path / "run")
    learn = baselines.train_on_tasks

    def blown_up(*told: Any) -> Any:
        model = learn(*told)
        model.policy.action_net.bias.data[0] = torch.nan
        return model

    monkeypatch.setattr(baselines, "train_on_tasks", blown_up)
    with pytest.raises(RunFailed, match="sb3-pretrained failed: its weights are not finite"):
        sb3_baseline_of("sb3-pretrained", run)
    assert not list((tmp_path / "run" / "baselines").rglob("*.safetensors"))


def test_an_environment_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(iterations=1), tmp_path / "run")

    def fails(env: Any) -> Any:
        raise OSError("the cable\nis out")

    monkeypatch.setattr(TaskVecEnv, "step_wait", fails)
    small = "--tasks 2 --steps 1 --episodes 2"
    line = ["evaluate", str(tmp_path / "run"), *small.split(), "--baselines", "sb3-pretrained"]
    assert main(line) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "metarl: training the baseline sb3-pretrained failed: OSError: the cable"
    assert not (tmp_path / "run" / "evaluation.json").exists()


def test_a_run_with_a_value_network_gets_one(tmp_path: Path) -> None:
    run = train(tiny(iterations=1, baseline="value"), tmp_path / "run")
    found = sb3_baseline_of("sb3-pretrained", run).meta.model
    assert list(found) == list(run.meta.model) and found["critic.2.weight"].any()
    assert evaluate(run, tasks=2, steps=1, episodes=2, baselines=["sb3-scratch"]).agents["sb3-scratch"]


def test_scratch_starts_untrained_on_the_episodes_that_everybody_has() -> None:
    built = agent()
    with open_executor(built) as executor:
        experience, _ = measure_scratch(built, PROTOCOL, executor)
    assert experience.values.shape == (3, 4)
    tasks = held_out_tasks(built, PROTOCOL)
    for t in range(4):  # the first policy of each task, measured by itself
        seed = int(baselines.seeding.seeds(3, "baselines", USES["sb3"], t, n=1)[0] % 2**32)
        model = ppo_of(built, None, init_seed=seed)
        names = names_of(built.config, built.family, built.module, False)
        params = names.from_sb3(model.policy.state_dict())
        batch = collect(
            built.episodic.make_vec(3), built.apply_tasks, expand(params, 1),
            {key: x[t : t + 1] for key, x in tasks.items()},
            episodes=3, horizon=10, address=Address(1, USES["test"], first_task=t),
        )  # fmt: skip
        expected = undiscounted_returns(batch)[0]
        torch.testing.assert_close(experience.values[0, t], expected, rtol=1e-5, atol=1e-5)
    assert len(experience.path) == 3 and not same(experience.path[0], experience.path[2])
    for k in (1, 2):  # the policies after each update, and the episodes that judge them
        batch = collect(
            built.episodic.make_vec(12), built.apply_tasks, experience.path[k], tasks,
            episodes=3, horizon=10, address=Address(1, USES["test"], inner_step=k),
        )  # fmt: skip
        torch.testing.assert_close(experience.values[k], undiscounted_returns(batch))
        assert torch.equal(experience.batches[k].reward, batch.reward)


def test_scratch_learns_each_task_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "RATES", (0.01,))
    built, found = agent(), []
    for tasks in (2, 4):
        protocol = Protocol("test", tasks, 1, 3, 1, False)
        with open_executor(built) as executor:
            found.append(measure_scratch(built, protocol, executor)[0].path[1])
    few, many = found
    for name, x in few.items():
        torch.testing.assert_close(many[name][:2], x, rtol=1e-4, atol=1e-6)


def test_scratch_takes_the_rate_that_is_best_on_validation_tasks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(baselines, "RATES", (1e-9, 0.03, 1e9))
    built = agent(episodes=8)
    protocol = Protocol("test", 3, 2, 8, 1, False)
    with open_executor(built) as executor:
        _, rate = measure_scratch(built, protocol, executor)
    told = capsys.readouterr().err
    assert rate == 0.03 and "sb3-scratch: mean return on validation tasks by learning rate 1e-09" in told
    with open_executor(built) as executor:
        assert measure_scratch(built, Protocol("test", 3, 0, 2, 1, False), executor)[1] == 1e-9
    assert capsys.readouterr().err == ""  # without a step there is nothing to choose


def test_a_rate_that_diverges_is_none_and_without_any_other_one_line_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "--tasks 2 --steps 2 --episodes 2"
    line = ["evaluate", str(run.path), *small.split(), "--baselines", "sb3-scratch"]
    monkeypatch.setattr(baselines, "RATES", (1e9, 1e10))
    assert main(line) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith(
        "sb3-scratch cannot be measured with any learning rate of 1000000000.0, 10000000000.0"
    )
    plain = baselines._scratch
    monkeypatch.setattr(baselines, "RATES", (1e-3,))

    def diverges(agent: Any, protocol: Protocol, *rest: Any) -> Any:
        return plain(agent, protocol, *rest[:-1], 1e9 if protocol.split == "test" else 1e-3)

    monkeypatch.setattr(baselines, "_scratch", diverges)
    assert main(line) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("metarl: sb3-scratch cannot be measured with learning rate 0.001: ")
    assert not (run.path / "baselines" / "sb3-scratch").exists()


def test_episodes_that_end_early_and_choices_are_learned_from_too() -> None:
    for family in ("Corridor", "Crane"):
        built = agent(family=f"tiny_families:{family}", family_arg={})
        with open_executor(built) as executor:
            experience, _ = measure_scratch(built, Protocol("test", 2, 1, 3, 1, False), executor)
        assert bool(torch.isfinite(experience.values).all())
        assert not same(experience.path[0], experience.path[1])


def test_all_three_stand_in_the_table_with_what_they_consumed(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["sb3-pretrained", "sb3-scratch", "sb3-oracle"]
    small = "--tasks 3 --steps 2 --episodes 2"
    line = ["evaluate", str(run.path), *small.split(), "--baselines", *names]
    assert main(line) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in names)
    written = json.loads((run.path / "evaluation.json").read_text())
    assert list(written["agents"]) == ["meta", *names]
    for name, env_steps in zip(names, (480, 0, 480), strict=True):
        found = written["agents"][name]
        assert found["env_steps"] == env_steps and np.shape(found["per_task"]) == (3, 3)
        assert (found["episodes"], found["episode_env_steps"]) == ([0, 2, 4], [0.0, 20.0, 40.0])
        assert len(found["inner_lr"]) == 2
    monkeypatch.setattr(baselines, "train_on_tasks", refuse)
    monkeypatch.setattr(baselines, "_scratch", refuse)
    assert main(line) == 0
    again = json.loads((run.path / "evaluation.json").read_text())
    assert again["agents"] == written["agents"]
    assert main(["report", str(run.path)]) == 0
    page = (run.path / "report.html").read_text()
    assert "PPO on each task alone, from nothing" in page


def test_what_scratch_gave_is_kept_by_all_that_it_depends_on(run: Run) -> None:
    built, path = run.agent, scratch_file(run.path, run.agent, PROTOCOL)
    assert scratch_file(run.path, built, Protocol("test", 4, 2, 3, 1, False)) == path
    others = [
        scratch_file(run.path, built, Protocol("test", 4, 2, 3, 1, True)),
        scratch_file(run.path, built, Protocol("ood", 4, 2, 3, 1, False)),
        *(
            scratch_file(run.path, agent(**change), PROTOCOL)
            for change in ({"hidden": (9,)}, {"gamma": 0.9}, {"seed": 4}, {"family_arg": {"horizon": 9}})
        ),
    ]
    assert len({path, *others}) == 7
    assert scratch_file(run.path, agent(meta_lr=0.5), PROTOCOL) == path


def test_half_a_file_is_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "kept.json"
    given = [{"mean": [k], "ci95": [], "per_task": []} for k in range(3)]
    answers = iter(given)
    for _ in range(2):
        assert kept(path, lambda: next(answers)) == given[0]
    for half, answer in (('{"mean": [1', given[1]), ('{"mean": [1]}', given[2])):
        path.write_text(half)
        assert kept(path, lambda: next(answers)) == answer


@pytest.mark.parametrize("kind", ["sb3-pretrained", "sb3-scratch", "sb3-oracle"])
def test_what_cannot_be_such_an_agent_is_refused_before_anything_is_trained(
    kind: str, tmp_path: Path
) -> None:
    labelled = train(taught(iterations=0), tmp_path / "labelled")
    with pytest.raises(RequestError, match="gives labelled examples; allowed: families of episodes"):
        labelled.evaluate(baselines=[kind])
    images = train(tiny(family="tiny_families:Spot", hidden=None, iterations=0), tmp_path / "images")
    with pytest.raises(RequestError, match="cannot express model 'cnn'; allowed: model mlp"):
        images.evaluate(baselines=[kind])
    assert not (tmp_path / "images" / "baselines").exists()
