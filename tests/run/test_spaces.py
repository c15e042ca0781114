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
from metarl.run.runs import Run, load, train
from tiny_families import OfOneTask
from tiny_runs import agent, rows, same, tiny

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


def test_it_is_loaded_as_it_was_saved_and_acts_alike(crane: Run, tmp_path: Path) -> None:
    again, seen = load(crane.path), np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    for run in (crane, again):
        chosen, _ = run.policy.predict(seen, deterministic=True)
        assert chosen.shape == (9, 2) and all(map(run.agent.family.action_space.contains, chosen))
        np.testing.assert_array_equal(chosen, crane.policy.predict(seen, deterministic=True)[0])
    written = safetensors.torch.load_file(crane.policy.save(tmp_path / "policy.safetensors"))
    assert same({name: written[name] for name in crane.meta.model}, crane.meta.model)
    other = agent(**CRANE, init_from=str(tmp_path / "policy.safetensors"), seed=9)
    assert same(other.starting_meta().model, crane.meta.model)


def test_it_adapts_to_a_task_and_to_an_environment(crane: Run) -> None:
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


def test_it_is_resumed_exactly(crane: Run, tmp_path: Path) -> None:
    half = train(tiny(**CRANE, meta_optimizer="trpo", iterations=1), tmp_path / "run")
    half.learn(1)
    assert same(half.meta, crane.meta)
