"""bandit: pulls by hand, frequencies, splits."""

from statistics import NormalDist

import numpy as np
import pytest

from metarl_envs import Bandit
from metarl_envs.base import row_draws
from row_by_row import rng, same

SPECS = list(Bandit.specs)
Z = 4.5  # standard errors that a frequency may be off: seeds are fixed, and one in 150,000 would be


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


def test_an_oracle_sees_the_means():
    features = Bandit(arms=2).task_features({"mean": [[0.1, 0.9], [0.5, 0.2]]})
    assert same(features, np.float32([[0.1, 0.9], [0.5, 0.2]]))
