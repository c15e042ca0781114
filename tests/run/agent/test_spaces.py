"""Whole runs on spaces that few families have: several choices at once, and images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium.spaces import MultiDiscrete

from metarl.core.distributions import MultiCategorical
from metarl.core.errors import RequestError
from metarl.run.train.callbacks import Callback
from metarl.run.use.runs import Run, load, train
from tiny_families import OfOneTask
from tiny_runs import agent, rows, same, starting_meta, tiny

CRANE: dict[str, Any] = {"family": "tiny_families:Crane", "family_arg": {"first": 3}}


@pytest.fixture(scope="module")
def crane(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny(**CRANE, meta_optimizer="trpo"), tmp_path_factory.mktemp("spaces") / "crane")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"objective": "dice", "meta_optimizer": "trpo"},
        {"algorithm": "promp", "meta_optimizer": None, "meta_lr": None},
        {"algorithm": "e-maml"},
        {"algorithm": "reptile", "meta_optimizer": None},
        {"objective": "a2c"},
        {"adapts": "head", "inner_steps": 2},
    ],
    ids=lambda options: " ".join(map(str, options.values())) or "maml",
)
def test_every_algorithm_learns_to_make_several_choices(options: dict[str, Any], tmp_path: Path) -> None:
    run = train(tiny(**CRANE, **options), tmp_path / "run")
    assert run.standing.skipped == 0
    assert not same(run.meta.model, run.agent.initial_meta().model)
    assert all(np.isfinite(row["return/step_1"]) for row in rows(run.path))


def test_a_policy_of_several_choices_is_trpo_s_to_improve(crane: Run) -> None:
    assert (
        isinstance(crane.agent.apply(crane.meta.model, torch.zeros(1, 2)), MultiCategorical)
        and crane.agent.config.model == "mlp"
    )
    for row in rows(crane.path):
        assert row["line_search/accepted"] == 1 and 0 < row["kl"] <= 0.01


def test_more_iterations_of_several_choices_earn_more(tmp_path: Path) -> None:
    options = {"iterations": 8, "tasks": 8, "episodes": 8, "meta_optimizer": "trpo", "max_kl": 0.05}
    found = rows(train(tiny(**CRANE, **options), tmp_path / "run").path)
    early, late = (np.mean([row["return/step_1"] for row in part]) for part in (found[:2], found[-2:]))
    assert late > early + 1


def test_a_policy_of_choices_is_loaded_as_it_was_saved_and_acts_alike(crane: Run, tmp_path: Path) -> None:
    again = load(crane.path, trust=True)
    seen = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    for run in (crane, again):
        chosen, _ = run.policy.predict(seen, deterministic=True)
        assert chosen.shape == (9, 2) and all(map(run.agent.family.action_space.contains, chosen))
        np.testing.assert_array_equal(chosen, crane.policy.predict(seen, deterministic=True)[0])
    written = safetensors.torch.load_file(crane.policy.save(tmp_path / "policy.safetensors"))
    assert same({name: written[name] for name in crane.meta.model}, crane.meta.model)
    other = agent(**CRANE, init_from=str(tmp_path / "policy.safetensors"), seed=9)
    assert same(starting_meta(other).model, crane.meta.model)


def test_a_policy_of_choices_adapts_to_a_task_and_to_an_environment(crane: Run) -> None:
    family, task = crane.agent.family, {"goal": [0.4, -0.4]}
    adapted = crane.adapt(task=task, steps=2, episodes=4)
    assert not same(adapted.params, crane.meta.model)
    env = OfOneTask(family, task)
    policy = crane.adapt(env=env, episodes=4)
    assert not same(policy.params, crane.meta.model)
    obs, _ = env.reset(seed=0)
    env.step(policy.predict(obs)[0])
    env.action_space = MultiDiscrete([3, 3], start=[3, 3])
    with pytest.raises(RequestError, match=r"the environment's action_space is MultiDiscrete\(\[3 3\]"):
        crane.adapt(env=env, episodes=4)


def test_choices_are_resumed_exactly(crane: Run, tmp_path: Path) -> None:
    half = train(tiny(**CRANE, meta_optimizer="trpo", iterations=1), tmp_path / "run")
    half.learn(1)
    assert same(half.meta, crane.meta)


# Images ------------------------------------------------------------------------------------------

SPOT: dict[str, Any] = {"family": "tiny_families:Spot", "family_arg": {"horizon": 8}, "model": None}


@pytest.fixture(scope="module")
def spot(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny(**SPOT, meta_optimizer="trpo"), tmp_path_factory.mktemp("spaces") / "spot")


@pytest.mark.parametrize("actions", ["moves", "both", "amounts"])
@pytest.mark.parametrize("options", [{"meta_optimizer": "trpo"}, {"objective": "a2c"}], ids=["trpo", "a2c"])
def test_images_are_learned_from_whatever_the_actions_are(
    options: dict[str, Any], actions: str, tmp_path: Path
) -> None:
    told = {"family_arg": {"horizon": 8, "actions": actions}, "iterations": 1}
    run = train(tiny(**(SPOT | options | told)), tmp_path / "run")
    assert run.standing.skipped == 0
    assert not same(run.meta.model, run.agent.initial_meta().model)


def test_images_stay_bytes_from_the_environment_to_the_network(tmp_path: Path) -> None:
    seen: list[torch.dtype] = []

    class Watch(Callback):
        def on_rollout_end(self, iteration: int, experience: Any) -> None:
            seen.extend(x.dtype for b in experience.batches for x in (b.obs, b.final_obs))

    run = train(tiny(**SPOT, iterations=1), tmp_path / "run", [Watch()])
    assert run.agent.config.model == "cnn"
    assert seen == [torch.uint8] * 4


def test_a_policy_of_images_predicts_adapts_and_is_read_back(spot: Run, tmp_path: Path) -> None:
    family = spot.agent.family
    env = OfOneTask(family, {"angle": 0.5})
    obs, _ = env.reset(seed=0)
    assert spot.policy.predict(obs)[0].shape == ()
    assert spot.policy.predict(np.stack([obs] * 3), deterministic=True)[0].shape == (3,)
    with pytest.raises(RequestError, match=r"observation has shape \(7, 7\); allowed: \(1, 7, 7\) or"):
        spot.policy.predict(obs[0])
    for adapted in (spot.adapt(env=env, episodes=4), spot.adapt(task={"angle": 0.5}, episodes=4)):
        assert not same(adapted.params, spot.meta.model)
        assert env.action_space.contains(adapted.predict(obs)[0])
    path = spot.policy.save(tmp_path / "policy.safetensors")
    read = starting_meta(agent(**SPOT, init_from=str(path), seed=9)).model
    assert same(read, spot.meta.model)
    np.testing.assert_array_equal(
        load(spot.path, trust=True).policy.predict(obs, deterministic=True)[0],
        spot.policy.predict(obs, deterministic=True)[0],
    )


def test_an_oracle_of_images_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match=r"family 'spot' observes Box.*an oracle needs"):
        agent(**SPOT, observe_task=True)
