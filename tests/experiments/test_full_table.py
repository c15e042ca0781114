"""The whole table: what is kept makes it without training, and what is trained here is trained once."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.run.evaluate.protocol import Protocol
from tiny_runs import tiny

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def full_table(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return __import__("full_table")


def test_all_that_the_table_needs_is_kept(full_table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of results that were made with the YAML files and protocols of today, for every row and seed."""

    def train(*told: Any) -> Any:
        raise AssertionError(f"not kept: {told}")

    monkeypatch.setattr(full_table, "measured", train)
    for family, table in full_table.TABLES.items():
        known = full_table.known(family)
        assert set(known) >= {*table.algorithms, "random", "pretrained", "oracle"}
        for kind in full_table.TRAINED_HERE:
            for seed in table.trained[kind].seeds:
                values = full_table.trained_here(family, kind, seed, Path("runs"))
                steps, episodes = table.protocol.steps + 1, table.protocol.episodes
                assert values.shape == (40, steps * episodes if kind == "rl2" else steps)
                assert np.isfinite(values).all()


def test_environment_steps_are_those_of_every_batch_of_every_iteration(full_table: Any) -> None:
    """Three iterations of two tasks with four episodes of ten steps, before and after each of two steps."""
    config = dataclasses.replace(tiny(iterations=3), tasks=2, episodes=4, inner_steps=2)
    assert config.family_arg["horizon"] == 10
    assert full_table.most_steps(config) == 3 * 2 * 4 * 10 * 3


def test_a_memory_s_value_at_a_step_is_the_mean_of_the_episodes_played_then(full_table: Any) -> None:
    protocol = Protocol("test", 1, steps=2, episodes=2, seed=1, deterministic=False)
    values = np.array([[[1.0, 3.0, 5.0, 5.0, 0.0, 8.0]]])
    assert full_table.in_steps(values, protocol).tolist() == [[[2.0, 5.0, 4.0]]]


def test_ppo_takes_the_steps_it_is_given_and_is_trained_once(
    full_table: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(iterations=1)
    size = config.tasks * config.episodes * config.family_arg["horizon"]  # of a rollout
    first = full_table.of_ppo("sb3-pretrained", config, 2 * size, tmp_path / "run")
    assert first.standing.samples == 2 * size
    monkeypatch.setattr("metarl.run.evaluate.sb3_baselines.train_on_tasks", None)  # which would fail
    again = full_table.of_ppo("sb3-pretrained", config, 2 * size, tmp_path / "run")
    for name, value in first.meta.model.items():
        np.testing.assert_array_equal(again.meta.model[name], value)


def test_every_seed_of_what_another_script_kept_is_a_row_s(
    full_table: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full_table, "KEPT", tmp_path)
    with pytest.raises(SystemExit, match="cheetah-dir, maml: nothing is kept"):
        full_table.known("cheetah-dir")
    for name, value in {"maml-1": 1.0, "maml-2": 2.0, "maml-1-training": 9.0, "maml-1-last": 9.0}.items():
        agents = {"meta": [[value]]} | ({"random": [[0.0]]} if name == "maml-1" else {})
        (tmp_path / f"cheetah-dir-{name}.json").write_text(json.dumps({"agents": agents}))
    table = full_table.TABLES["cheetah-dir"]._replace(algorithms=("maml",))
    monkeypatch.setitem(full_table.TABLES, "cheetah-dir", table)
    found = full_table.known("cheetah-dir")
    assert found["maml"].values.tolist() == [[[1.0]], [[2.0]]]
    assert found["maml"].env_steps == 200 * 20 * 10 * 100 * 2
    assert found["random"].values.shape == (1, 1, 1) and found["random"].env_steps == 0
