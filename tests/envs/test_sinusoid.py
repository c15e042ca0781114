"""sinusoid: hand-worked waves, what is drawn from where, bad tasks."""

import math

import numpy as np
import pytest

from metarl_envs.few_shot.sinusoid import Sinusoid
from row_by_row import refused, rng, same

SPECS = list(Sinusoid.specs)


def test_waves_by_hand():
    tasks = {"amplitude": np.array([2.0, 0.5]), "phase": np.array([math.pi / 2, 0.0])}
    x = np.array([0.0, math.pi / 2, math.pi])
    # 2 sin(x − π/2) = −2 cos x, and 2 sin(x + π/2) = 2 cos x; without a phase both are sin x / 2.
    assert Sinusoid("maml").curve(tasks, x) == pytest.approx(np.array([[-2, 0, 2], [0, 0.5, 0]]), abs=1e-12)
    assert Sinusoid("reptile").curve(tasks, x) == pytest.approx(
        np.array([[2, 0, -2], [0, 0.5, 0]]), abs=1e-12
    )


@pytest.mark.parametrize("spec", SPECS)
def test_examples_lie_on_the_curve(spec):
    family = Sinusoid(spec, shots=3, queries=4)
    tasks = family.sample_tasks(5, rng())
    drawn = family.sample_shots(tasks, rng(1))
    assert list(drawn) == ["support_x", "support_y", "query_x", "query_y"]
    fewer = family.sample_shots({key: value[:2] for key, value in tasks.items()}, rng(1))
    assert all(same(fewer[key], drawn[key][:2]) for key in drawn)
    for part, n in (("support", 3), ("query", 4)):
        x, y = drawn[f"{part}_x"], drawn[f"{part}_y"]
        assert x.shape == y.shape == (5, n, 1) and x.dtype == y.dtype == np.float32
        for row in range(5):
            truth = family.curve({key: value[[row]] for key, value in tasks.items()}, x[row, :, 0])
            assert np.array_equal(y[row, :, 0], truth[0].astype(np.float32))


def test_points_are_uniform_and_queries_are_other_points():
    family = Sinusoid(shots=20, queries=30)
    drawn = family.sample_shots(family.sample_tasks(200, rng()), rng(1))
    x = np.concatenate([drawn["support_x"], drawn["query_x"]], axis=1)
    assert x.min() >= -5.0 and x.max() <= 5.0 and np.unique(x).size > 9990
    assert np.histogram(x, 10, (-5.0, 5.0))[0] == pytest.approx(np.full(10, 1000), abs=130)
    assert abs(np.corrcoef(x[:, 0, 0], x[:, 1, 0])[0, 1]) < 0.25


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("split", ["train", "validation", "test", "ood"])
def test_amplitudes_and_phases_fill_their_ranges(spec, split):
    tasks = Sinusoid(spec).sample_tasks(4000, rng(2), split)
    low, high = (5.0, 10.0) if split == "ood" else (0.1, 5.0)
    for values, least, most in [
        (tasks["amplitude"], low, high),
        (tasks["phase"], 0.0, math.pi if spec == "maml" else 2 * math.pi),
    ]:
        assert values.dtype == np.float64 and values.shape == (4000,)
        assert least <= values.min() < least + 0.01 * (most - least)
        assert most - 0.01 * (most - least) < values.max() <= most
        assert np.histogram(values, 8, (least, most))[0] == pytest.approx(np.full(8, 500), abs=90)
    assert abs(np.corrcoef(tasks["amplitude"], tasks["phase"])[0, 1]) < 0.06


def test_numbers_of_examples_and_spaces():
    assert (Sinusoid().shots, Sinusoid("reptile").shots, Sinusoid("reptile", shots=7).shots) == (10, 50, 7)
    family = Sinusoid(shots=5, queries=100)
    assert family.sample_shots(family.sample_tasks(2, rng()), rng())["query_y"].shape == (2, 100, 1)
    assert family.observation_space.shape == family.action_space.shape == (1,)
    assert (family.observation_space.low, family.observation_space.high) == (-5.0, 5.0)
    assert (family.metric, family.num_tasks) == ("mse", None)


def test_an_oracle_sees_amplitude_and_phase():
    features = Sinusoid().task_features({"amplitude": [1.0, 2.0, 3.0], "phase": [0.5, 0.25, 0.125]})
    assert features.dtype == np.float32 and features.tolist() == [[1.0, 0.5], [2.0, 0.25], [3.0, 0.125]]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            {"amplitude": [1.0]},
            "task has ['amplitude']; allowed: a dict with the keys ['amplitude', 'phase']",
        ),
        ({"amplitude": [1, math.nan], "phase": [0, 1]}, "are [[1.0, nan], [0.0, 1.0]]; allowed: finite"),
        ({"amplitude": 1.0, "phase": 0.0}, "are [1.0, 0.0]; allowed: finite numbers, one row a task"),
        ({"amplitude": [1.0, 2.0], "phase": [0.0]}, "no numbers of equal shape"),
        ({"amplitude": ["a"], "phase": [0.0]}, "no numbers of equal shape"),
    ],
)
def test_bad_tasks_are_refused_in_one_line(tasks, message):
    for use in (
        lambda: Sinusoid().sample_shots(tasks, rng()),
        lambda: Sinusoid().curve(tasks, np.zeros(3)),
        lambda: Sinusoid().task_features(tasks),
    ):
        with refused("sinusoid: ", message):
            use()
