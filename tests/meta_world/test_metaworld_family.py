"""Meta-World's benchmarks as families: their tasks are the benchmark's own, and they can be trained on."""

import json
import pickle
from pathlib import Path
from typing import Any

import metaworld
import numpy as np
import pytest
from metaworld.env_dict import ML10_V3, ML45_V3

from metarl.cli import main
from metarl.testing import check_family
from metarl_envs.manipulation.envs import NAMES
from metarl_envs.manipulation.family import MetaWorldML1, MetaWorldML10, MetaWorldML45

pytestmark = pytest.mark.metaworld


def own(tasks: list[Any]) -> list[tuple[int, tuple[float, ...]]]:
    """Meta-World's tasks as pairs of an environment's number and its vector, in its order."""
    vectors = [pickle.loads(task.data)["rand_vec"] for task in tasks]
    return [(NAMES.index(task.env_name), tuple(x)) for task, x in zip(tasks, vectors, strict=True)]


def listed(family: Any, split: str) -> list[tuple[int, tuple[float, ...]]]:
    """The same of a family, whose vectors are padded."""
    found = []
    for number, vectors in family.vectors(split).items():
        size = len(family.simulations.take(number, vectors[0])._random_reset_space.low)
        assert not vectors[:, size:].any()
        found += [(number, tuple(x[:size])) for x in vectors]
    return found


def drawn(tasks: Any) -> list[tuple[int, tuple[float, ...]]]:
    return list(zip(tasks["environment"].tolist(), map(tuple, tasks["rand_vec"].tolist()), strict=True))


@pytest.fixture(scope="module")
def ml10() -> MetaWorldML10:
    return MetaWorldML10(horizon=4)


@pytest.mark.parametrize("task", ["reach-v3", "button-press-v3"])
def test_ml1_keeps_the_contract(task: str) -> None:
    check_family(MetaWorldML1(task=task, horizon=8))


def test_ml10_keeps_it_too(ml10: MetaWorldML10) -> None:
    check_family(ml10)


@pytest.mark.parametrize("task", ["reach-v3", "hammer-v3"])
def test_tasks_of_ml1_are_the_benchmarks_own(task: str) -> None:
    family, benchmark = MetaWorldML1(task=task, benchmark_seed=3), metaworld.ML1(task, seed=3)
    assert listed(family, "train") == own(benchmark.train_tasks)
    assert listed(family, "test") == own(benchmark.test_tasks)
    held_out = listed(family, "validation")
    assert len(set(held_out)) == 50
    assert not set(held_out) & {*own(benchmark.train_tasks), *own(benchmark.test_tasks)}


def test_tasks_of_ml10_are_the_benchmarks_own(ml10: MetaWorldML10) -> None:
    benchmark = metaworld.ML10(seed=0)
    assert listed(ml10, "train") == own(benchmark.train_tasks)
    assert listed(ml10, "test") == own(benchmark.test_tasks)
    held_out = listed(ml10, "validation")
    assert {number for number, _ in held_out} == {number for number, _ in own(benchmark.train_tasks)}
    assert not set(held_out) & set(own(benchmark.train_tasks))
    assert [NAMES[number] for number in ml10._numbers()] == [*ML10_V3["train"], *ML10_V3["test"]]


def test_environments_are_taken_in_turn_and_no_variation_twice(ml10: MetaWorldML10) -> None:
    for split, numbers in (("train", 10), ("test", 5)):
        tasks = drawn(ml10.sample_tasks(50 * numbers, np.random.default_rng(0), split))
        assert len(set(tasks)) == 50 * numbers
        for k in range(0, 50 * numbers, numbers):
            assert len({number for number, _ in tasks[k : k + numbers]}) == numbers
    orders = {tuple(number for number, _ in tasks[k : k + 5]) for k in range(0, 250, 5)}
    assert len(orders) > 20  # of 120
    assert len(set(drawn(ml10.sample_tasks(501, np.random.default_rng(0))))) == 500


def test_the_oracle_sees_environment_and_vector(ml10: MetaWorldML10) -> None:
    tasks = ml10.sample_tasks(30, np.random.default_rng(2), "test")
    seen = ml10.task_features(tasks)
    assert seen.shape == (30, 21) and seen[:, :15].sum(1).tolist() == [1.0] * 30
    assert [ml10._numbers()[k] for k in seen[:, :15].argmax(1)] == tasks["environment"].tolist()
    assert np.array_equal(seen[:, 15:], tasks["rand_vec"].astype(np.float32))


def test_arguments_travel_and_what_there_is_not_is_named() -> None:
    family = pickle.loads(pickle.dumps(MetaWorldML1(task="door-open-v3", horizon=7, benchmark_seed=5)))
    assert (family.environments, family.horizon, family.benchmark_seed) == (("door-open-v3",), 7, 5)
    assert MetaWorldML45().environments == (*ML45_V3["train"], *ML45_V3["test"])
    for given, message in [
        ({"task": "reach"}, "unknown task 'reach'; allowed: assembly-v3, basketball-v3, "),
        ({"horizon": 501}, "horizon is 501; allowed: integers from 1 to 500"),
        ({"benchmark_seed": -1}, "benchmark_seed is -1; allowed: integers from 0"),
        ({"seed": 1}, "unknown argument 'seed'; allowed: task, horizon, benchmark_seed"),
        ({"spec": "v2"}, "unknown spec 'v2'; allowed: v3"),
    ]:
        with pytest.raises(ValueError, match=f"^metaworld-ml1: {message}"):
            MetaWorldML1(**given)
    with pytest.raises(ValueError, match=r"no split 'ood'; allowed: train, validation, test$"):
        MetaWorldML1().sample_tasks(1, np.random.default_rng(0), "ood")


def test_training_on_two_workers_is_training_in_one_process(tmp_path: Path) -> None:
    family = "metarl_envs.manipulation.family:MetaWorldML1 --family-arg horizon=15"
    words = (
        f"train maml --family {family} --tasks 4 --episodes 2 --iterations 2 --chunk 2 --validation-tasks 2"
    )
    found = []
    for executor in ("inline", "processes"):
        out = tmp_path / executor
        assert main([*words.split(), "--executor", executor, "--workers", "2", "--out", str(out)]) == 0
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        found.append([row | {"seconds": 0} for row in rows])
        assert len(rows) == 2 and {"success/step_0", "success/step_1", "return/step_1"} <= set(rows[0])
    assert found[0] == found[1]
