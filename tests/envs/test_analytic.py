"""What every family of formulas gets, on a coin bandit: noise, a discrete action, two task entries."""

import dataclasses

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from metarl.testing import check_family
from metarl_envs.base import row_draws
from metarl_envs.base.analytic_family import AnalyticFamily
from metarl_envs.base.arguments import positive_int
from metarl_envs.base.formula_envs import AnalyticVectorEnv
from metarl_envs.base.formulas import Analytic, Refusal, flat_features, read_tasks, refuse_rows
from row_by_row import check_a_row_is_the_same_among_many, refused


def coin_step(state, action, tasks, noise):
    """Arm a pays 1 with chance ``odds[a - 1]``; the episode ends when the count of pays reaches ``goal``."""
    paid = noise[:, 0] < tasks["odds"][np.arange(len(action)), action - 1]
    state = state + paid[:, None]
    return state, paid.astype(np.float64), state[:, 0] >= tasks["goal"]


COIN = Analytic(
    title="coin/two-armed",
    horizon=6,
    observation_space=Box(0.0, 6.0, (1,), np.float32),
    action_space=Discrete(2, start=1),
    task_shapes={"odds": (2,), "goal": ()},
    task_draws=2,
    task=lambda u: {"odds": u, "goal": np.full(len(u), 3.0)},
    start=lambda u: np.zeros((len(u), 1)),
    step=coin_step,
    step_draws=1,
    observe=lambda state, tasks: state.astype(np.float32),
)


def test_step_noise_is_a_function_of_the_rows_seed_and_time():
    env, seeds = AnalyticVectorEnv(COIN, 5), [3, 1, 4, 1, 5]
    tasks = {"odds": np.full((5, 2), 0.5), "goal": np.full(5, 9.0)}
    env.reset(seed=seeds, options={"task": tasks})
    rewards = np.stack([env.step(np.ones(5, np.int64))[1] for _ in range(6)], axis=1)
    for row, seed in enumerate(seeds):
        noise = [
            row_draws.uniform(np.array([seed], np.uint64), 1, row_draws.STEP + t)[0, 0] for t in range(6)
        ]
        assert rewards[row].tolist() == [float(u < 0.5) for u in noise]
    assert np.array_equal(rewards[1], rewards[3]) and not np.array_equal(rewards[0], rewards[1])


class Coins(AnalyticFamily):
    name, specs = "coin", {"two-armed": ""}


def test_the_contract_is_kept_with_noise_that_starts_over_in_each_episode():
    family = Coins("two-armed", COIN)
    check_family(family)
    check_a_row_is_the_same_among_many(family)
    env = family.make_vec(40)
    env.reset(seed=0)
    ends = [env.step(np.ones(40, np.int64))[2:4] for _ in range(6)][-1]
    assert min(flags.sum() for flags in ends) > 3 and np.logical_xor(*ends).all()  # both kinds come up


def test_discrete_actions_are_checked_and_those_of_frozen_rows_ignored():
    env = AnalyticVectorEnv(COIN, 2)
    tasks = {"odds": np.ones((2, 2)), "goal": np.array([1.0, 9.0])}
    env.reset(seed=0, options={"task": tasks})
    assert env.step(np.array([1, 1]))[2].tolist() == [True, False]
    obs, reward, terminated, _, _ = env.step(np.array([77, 2]))  # row 0 is over
    assert obs[:, 0].tolist() == [1.0, 2.0] and reward.tolist() == [0.0, 1.0]
    assert terminated.tolist() == [True, False]
    with refused("coin/two-armed: action at step 3 of row 1 is 3; allowed: integers 1 to 2"):
        env.step(np.array([77, 3]))
    with refused("actions are float64 (2,); allowed: integers (2,)"):
        env.step(np.array([1.0, 2.0]))


def test_choices_are_within_what_each_component_has():
    space = MultiDiscrete([2, 3], start=[1, 5])
    pair = dataclasses.replace(
        COIN, action_space=space, step=lambda s, a, tasks, noise: (s + a[:, :1], a[:, 1] / 2, s[:, 0] >= 4)
    )
    env = AnalyticVectorEnv(pair, 2)
    env.reset(seed=0)
    assert env.step(np.array([[1, 5], [2, 7]]))[1].tolist() == [2.5, 3.5]
    for wrong in ([2, 8], [0, 7], [1, 4]):
        with refused(f"action at step 2 of row 1 is {wrong}; allowed: integers [1, 5] to [2, 7]"):
            env.step(np.array([[1, 5], wrong]))
    with refused("actions are float64 (2, 2); allowed: integers (2, 2)"):
        env.step(np.full((2, 2), 1.5))
    with refused("actions are int64 (2,); allowed: integers (2, 2)"):
        env.step(np.array([1, 2]))


def test_a_task_entry_without_axes_and_every_bad_task():
    env = AnalyticVectorEnv(COIN, 2)
    good = {"odds": np.full((2, 2), 0.5), "goal": np.ones(2)}
    assert read_tasks(COIN, good)["goal"].tolist() == [1.0, 1.0]
    for bad, message in [
        ({"odds": good["odds"]}, "task has ['odds']; allowed: a dict with the keys ['goal', 'odds']"),
        (good | {"x": 1}, "task has ['goal', 'odds', 'x']"),
        ([1.0], "task has list"),
        (good | {"odds": np.ones((2, 3))}, "task 'odds' has shape (2, 3); allowed: (2, 2)"),
        (good | {"goal": np.ones(3)}, "task 'goal' has shape (3,); allowed: (2,)"),
        (good | {"goal": [1.0, np.inf]}, "task 'goal' of row 1 is inf; allowed: finite numbers"),
        (good | {"goal": ["a", "b"]}, "task 'goal' is not numeric: ['a', 'b']"),
    ]:
        with refused(f"coin/two-armed: {message}"):
            env.reset(options={"task": bad})
    with refused("task 'goal' has shape (3,); allowed: (2,)"):
        read_tasks(COIN, good | {"goal": np.ones(3)})  # rows must agree with one another


def test_what_a_family_cannot_serve_is_told_of_each_entry_of_its_tasks():
    def refuse(tasks):
        yield Refusal("odds", tasks["odds"][:, 0] > 1.0, "at most 1")
        yield Refusal("goal", tasks["goal"] < 1.0, "from 1")

    odd = dataclasses.replace(COIN, refuse=refuse)
    for odds, goal, message in [
        (2.0, 1.0, "'odds' of row 1 is [2.0, 0.0]; allowed: at most 1"),
        (1.0, 0.5, "'goal' of row 1 is 0.5; allowed: from 1"),
    ]:
        with refused(f"coin/two-armed: task {message}"):
            read_tasks(odd, {"goal": [1.0, goal], "odds": [[1.0, 0.0], [odds, 0.0]]})


def test_observations_may_show_something_of_the_task():
    def observe(state, tasks):
        return np.concatenate([state, tasks["odds"]], axis=1).astype(np.float32)

    told = dataclasses.replace(COIN, observation_space=Box(0.0, 6.0, (3,), np.float32), observe=observe)
    env, goal = AnalyticVectorEnv(told, 2), np.full(2, 9.0)
    odds = np.array([[1.0, 0.0], [0.0, 1.0]])
    obs, _ = env.reset(seed=0, options={"task": {"odds": odds, "goal": goal}})
    assert obs.tolist() == [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert env.step(np.array([1, 1]))[0].tolist() == [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    mask = np.array([False, True])
    obs, _ = env.reset(options={"task": {"odds": 1.0 - odds, "goal": goal}, "reset_mask": mask})
    assert obs.tolist() == [[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]


def test_of_a_row_with_many_numbers_the_bad_vector_is_shown_and_cut():
    values = np.arange(24.0).reshape(2, 3, 4)
    for bad in (values >= 22.0, (values >= 22.0).any(axis=-1)):  # one number of the vector is enough
        with refused("coin/two-armed: it of row 1, entry [2] is [20.0, 21.0, 22.0, 23.0]; allowed: x"):
            refuse_rows(COIN, "it", values, bad, "x")
    with refused("coin/two-armed: it of row 0 is [[0.0, 1.0", "; allowed: x"):
        refuse_rows(COIN, "it", values, np.array([True, False]), "x")  # nobody knows which vector
    with pytest.raises(ValueError, match=r"is \[0\.0, 0\.0, [^…]{109}…; allowed: x$"):
        refuse_rows(COIN, "it", np.zeros((1, 99)), np.array([True]), "x")


def test_draws_of_a_split_start_alike_and_features_keep_the_order_of_the_entries():
    def ood(uniforms):
        return {"odds": uniforms + 1.0, "goal": np.zeros(len(uniforms))}

    family = AnalyticFamily("two-armed", dataclasses.replace(COIN, ood=ood))
    drawn = {
        split: family.sample_tasks(5, np.random.default_rng(3), split)["odds"]
        for split in ("train", "validation", "test", "ood")
    }
    uniforms = np.random.default_rng(3).random((5, 2))
    assert all(np.array_equal(drawn[split], uniforms + (split == "ood")) for split in drawn)
    assert np.array_equal(family.sample_tasks(2, np.random.default_rng(3), "test")["odds"], uniforms[:2])
    alike = AnalyticFamily("two-armed", COIN)  # which has no formula of its own out of distribution
    assert np.array_equal(alike.sample_tasks(5, np.random.default_rng(3), "ood")["odds"], uniforms)
    features = flat_features(COIN, {"goal": [7.0, 8.0], "odds": [[0.1, 0.2], [0.3, 0.4]]})
    assert features.dtype == np.float32
    assert np.array_equal(features, np.float32([[0.1, 0.2, 7.0], [0.3, 0.4, 8.0]]))


def test_bad_resets_are_refused_and_change_nothing():
    env = AnalyticVectorEnv(COIN, 2)
    with pytest.raises(ResetNeeded, match="coin/two-armed: step before the first reset"):
        env.step(np.array([1, 1]))
    with refused("reset_mask leaves rows out of the first reset; allowed: all rows"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(seed=1)
    for options, message in [
        ({"tasks": {}}, "reset option 'tasks'; allowed: task, reset_mask"),
        ({"reset_mask": [True, False]}, "reset_mask is list; allowed: a bool array (2,)"),
        ({"reset_mask": np.array([1, 0])}, "reset_mask is int64 (2,); allowed: a bool array (2,)"),
        ({"reset_mask": np.array([True])}, "reset_mask is bool (1,); allowed: a bool array (2,)"),
    ]:
        with refused(f"coin/two-armed: {message}"):
            env.reset(options=options)
    twin = AnalyticVectorEnv(COIN, 2)
    twin.reset(seed=1)
    for _ in range(3):
        one, two = env.step(np.array([1, 2])), twin.step(np.array([1, 2]))
        assert all(np.array_equal(a, b) for a, b in zip(one[:4], two[:4], strict=True))


@pytest.mark.parametrize("num_envs", [0, -3, True, 2.0, "five", None])
def test_num_envs_has_to_be_a_positive_int(num_envs):
    with refused("coin: num_envs is ", "; allowed: integers from 1"):
        positive_int("coin", "num_envs", num_envs)
