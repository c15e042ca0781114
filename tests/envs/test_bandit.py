"""bandit: pulls by hand, frequencies, splits, one against many, bad input."""

import re
from statistics import NormalDist

import numpy as np
import pytest

from metarl_envs import Bandit
from metarl_envs.base import row_draws
from row_by_row import same

SPECS = list(Bandit.specs)
Z = 4.5  # standard errors that a frequency may be off: seeds are fixed, and one in 150,000 would be


def line(message: str) -> str:
    """A pattern that only this message matches."""
    return f"^{re.escape(message)}$"


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- pulls ---


def test_a_pull_is_a_function_of_the_arms_mean_the_seed_and_the_time():
    means, seeds = np.array([[0.3, 0.7], [0.9, 0.1], [0.0, 1.0]]), np.array([5, 6, 2**64 - 1], np.uint64)
    arms = np.array([[0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 0, 1]])
    noise = np.stack([row_draws.uniform(seeds, 1, row_draws.STEP + t)[:, 0] for t in range(4)], axis=1)
    for spec in SPECS:
        env = Bandit(spec, arms=2, horizon=4).make_vec(3)
        obs, info = env.reset(seed=seeds, options={"task": {"mean": means}})
        assert obs.tolist() == [[1.0]] * 3 and obs.dtype == np.float32 and same(info["task"]["mean"], means)
        for t in range(4):
            obs, reward, terminated, truncated, info = env.step(arms[:, t])
            mean = means[np.arange(3), arms[:, t]]
            paid = [float(u < m) for u, m in zip(noise[:, t], mean, strict=True)]
            added = [m + NormalDist().inv_cdf(u) for u, m in zip(noise[:, t], mean, strict=True)]
            assert reward.tolist() == (paid if spec == "bernoulli" else added)
            assert obs.tolist() == [[1.0]] * 3 and not terminated.any() and info == {}
            assert truncated.tolist() == [t == 3] * 3


def test_bernoulli_arms_pay_as_often_as_they_should_each_pull_by_itself():
    n, means = 20_000, np.array([0.0, 0.1, 0.5, 0.97, 1.0])
    env = Bandit().make_vec(n)
    env.reset(seed=0, options={"task": {"mean": np.tile(means, (n, 1))}})
    rewards = np.stack([env.step(np.full(n, arm))[1] for arm in (0, 1, 2, 3, 4, 2, 2)])
    assert set(np.unique(rewards)) == {0.0, 1.0}
    p = means[[0, 1, 2, 3, 4, 2, 2]]
    assert (np.abs(rewards.mean(axis=1) - p) <= Z * np.sqrt(p * (1 - p) / n)).all()
    halves = rewards[[2, 5, 6]]  # three pulls of the same arm
    assert np.abs(np.corrcoef(halves) - np.eye(3)).max() < Z / np.sqrt(n)


def test_an_arm_that_never_pays_does_not_pay_at_the_smallest_uniform_number():
    model, tasks = Bandit(arms=2).model, {"mean": np.array([[0.0, 1.0]])}
    for arm, noise in [(0, 0.0), (1, 1.0 - 2.0**-53)]:
        _, reward, _ = model.step(np.ones((1, 1)), np.array([arm]), tasks, np.array([[noise]]))
        assert reward.tolist() == [float(arm)]


def test_gaussian_arms_have_their_mean_and_standard_deviation_one():
    n, means = 20_000, np.array([-3.0, 0.5])
    env = Bandit("gaussian", arms=2).make_vec(n)
    env.reset(seed=0, options={"task": {"mean": np.tile(means, (n, 1))}})
    for arm in (0, 1):
        reward = env.step(np.full(n, arm))[1]
        assert reward.mean() == pytest.approx(means[arm], abs=Z / np.sqrt(n))
        assert reward.std() == pytest.approx(1.0, abs=Z / np.sqrt(2 * n))
        assert (np.abs(reward - means[arm]) < 1.0).mean() == pytest.approx(0.6827, abs=Z * 0.465 / np.sqrt(n))


# --- tasks ---

# Mean, standard deviation and smallest and largest possible value of an arm's mean.
MEANS = {
    ("bernoulli", "train"): (0.5, 1 / np.sqrt(12), 0.0, 1.0),
    ("bernoulli", "ood"): (0.1, 0.2 / np.sqrt(12), 0.0, 0.2),
    ("gaussian", "train"): (0.0, 1.0, -9.0, 9.0),
    ("gaussian", "ood"): (2.0, 1.0, -7.0, 11.0),
}


@pytest.mark.parametrize("split", ["train", "validation", "test", "ood"])
@pytest.mark.parametrize("spec", SPECS)
def test_arms_of_a_split_have_its_distribution(spec, split):
    family, n = Bandit(spec), 4000
    drawn = family.sample_tasks(n, rng(1), split)["mean"]
    mean, sd, low, high = MEANS[spec, "ood" if split == "ood" else "train"]
    assert drawn.shape == (n, 5) and drawn.dtype == np.float64 and drawn.min() >= low and drawn.max() <= high
    assert np.abs(drawn.mean(axis=0) - mean).max() < Z * sd / np.sqrt(n)
    assert np.abs(drawn.std(axis=0) / sd - 1).max() < Z / np.sqrt(2 * n)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(5)).max() < Z / np.sqrt(n)
    assert same(family.sample_tasks(7, rng(1), split)["mean"], drawn[:7])
    assert not np.isin(family.sample_tasks(n, rng(2), split)["mean"], drawn).any()


@pytest.mark.parametrize("spec", SPECS)
def test_without_a_task_a_training_task_is_drawn_from_each_rows_seed(spec):
    family = Bandit(spec)
    _, info = family.make_vec(4000).reset(seed=10)
    drawn, (mean, sd, low, high) = info["task"]["mean"], MEANS[spec, "train"]
    assert np.abs(drawn.mean(axis=0) - mean).max() < Z * sd / np.sqrt(4000)
    assert drawn.min() >= low and drawn.max() <= high and np.unique(drawn).size == 20_000
    assert same(family.make().reset(seed=73)[1]["task"]["mean"], drawn[63])
    first = row_draws.uniform(row_draws.row_seeds(10, 4000), 1, row_draws.STEP)[:, 0]
    assert np.abs(np.corrcoef(first, drawn.T)[0, 1:]).max() < Z / np.sqrt(4000)  # noise tells nothing of it


def test_an_oracle_sees_the_means():
    features = Bandit(arms=2).task_features({"mean": [[0.1, 0.9], [0.5, 0.2]]})
    assert same(features, np.float32([[0.1, 0.9], [0.5, 0.2]]))


# --- bad input ---


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"spec": "beta"}, "bandit: unknown spec 'beta'; allowed: bernoulli, gaussian"),
        ({"arms": 0}, "bandit: arms is 0; allowed: integers from 1"),
        ({"horizon": True}, "bandit: horizon is True; allowed: integers from 1"),
        ({"pulls": 3}, "bandit: unknown argument 'pulls'; allowed: arms, horizon"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(args, message):
    with pytest.raises(ValueError, match=line(message)):
        Bandit(**args)


@pytest.mark.parametrize(
    ("spec", "mean", "message"),
    [
        (None, [[0.5, 0.5], [0.5, 1.2]], "of row 1 is [0.5, 1.2]; allowed: probabilities from 0 to 1"),
        (None, [[-0.1, 0.5], [0.5, 0.5]], "of row 0 is [-0.1, 0.5]; allowed: probabilities from 0 to 1"),
        ("gaussian", [[1.0, np.nan], [0, 0]], "of row 0 is [1.0, nan]; allowed: finite numbers"),
        (None, [[0.5], [0.5]], "has shape (2, 1); allowed: (2, 2)"),
        (None, [0.5, 0.5], "has shape (2,); allowed: (2, 2)"),
        (None, "abc", "is not numeric: 'abc'"),
    ],
)
def test_bad_tasks_are_refused_in_one_line(spec, mean, message):
    env = Bandit(spec, arms=2).make_vec(2)
    with pytest.raises(ValueError, match=line(f"bandit/{spec or 'bernoulli'}: task 'mean' {message}")):
        env.reset(options={"task": {"mean": mean}})


def test_bad_splits_and_pulls_are_refused_in_one_line():
    message = "bandit/bernoulli: no split 'dev'; allowed: train, validation, test, ood"
    with pytest.raises(ValueError, match=line(message)):
        Bandit().sample_tasks(3, rng(), "dev")
    env = Bandit().make()
    env.reset(seed=0)
    message = "bandit/bernoulli: action at step 1 of row 0 is 5; allowed: integers 0 to 4"
    with pytest.raises(ValueError, match=line(message)):
        env.step(5)
