"""One meta-iteration, and one validation, as functions."""

from typing import Any

import numpy as np
import pytest
import torch

from metarl.core.params import expand
from metarl.learn.adapt import unroll
from metarl.rollout.seeding import Address
from metarl.run.agent.agent import Agent
from metarl.run.experience.gather import USES, Experience, Source
from metarl.run.experience.sources import open_executor, source_of
from metarl.run.train import iteration
from metarl.run.train.callbacks import Callback
from metarl.run.train.iteration import Row, Standing, iterate
from metarl.run.use.policy import Policy
from metarl_envs import PointGoal
from tiny_runs import agent, same, validated


class Kept(Callback):
    """The iteration's experience."""

    experience: Experience

    def on_rollout_end(self, iteration: int, experience: Any) -> None:
        self.experience = experience


def iterated(built: Agent, start: Standing | None = None) -> tuple[Standing, Row, Experience]:
    kept = Kept()
    with open_executor(built) as executor:
        after, row = iterate(built, start or standing(built), executor, [kept])
    return after, row, kept.experience


def standing(built: Agent, **values: Any) -> Standing:
    meta = built.initial_meta()
    return Standing(meta, built.optimizer.init(meta), **values)


def test_an_iteration_is_a_function_of_where_the_run_stands() -> None:
    built = agent()
    start = standing(built)
    before = [x.clone() for x in start.meta.model.values()]
    (one, row, _), (two, again, _) = iterated(built, start), iterated(built, start)
    assert same(one.meta, two.meta)
    assert row | {"seconds": 0} == again | {"seconds": 0}
    assert all(map(torch.equal, before, start.meta.model.values()))  # nothing was changed in place


def test_it_counts_on_from_where_the_run_stands() -> None:
    built = agent()
    after, row, _ = iterated(built, standing(built, iteration=7, samples=1000, skipped=3))
    assert (after.iteration, after.samples, after.skipped) == (8, 1240, 0)
    assert (row["iteration"], row["env_steps"], row["skipped"]) == (8, 1240, 0)


def test_iterations_differ_by_their_number_alone() -> None:
    built = agent(family="tiny_families:Field")
    first, second = (iterated(built, standing(built, iteration=n))[2].data.support[0] for n in (0, 1))
    assert not (first.obs[:, :, 0] == second.obs[:, :, 0]).all(-1).any()
    still = agent(family="tiny_families:Field", family_arg={}, spec="fixed")  # what differs is noise
    first, second = (iterated(still, standing(still, iteration=n))[2].data.support[0] for n in (0, 1))
    assert not (first.action[:, :, 0] == second.action[:, :, 0]).any()


def test_tasks_are_drawn_for_each_iteration_and_apart_for_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, addresses, sample = [], [], PointGoal.sample_tasks

    def sampled(family: PointGoal, n: int, rng: Any, split: str = "train") -> Any:
        drawn.append((split, sample(family, n, rng, split)["goal"]))
        return {"goal": drawn[-1][1]}

    def watched(built: Agent, executor: Any, tasks: Any, address: Address) -> Source:
        addresses.append(address)
        return source_of(built, executor, tasks, address)

    monkeypatch.setattr(PointGoal, "sample_tasks", sampled)
    monkeypatch.setattr(iteration, "source_of", watched)
    built = agent()
    for n in (0, 1):
        iterated(built, standing(built, iteration=n))
    for _ in range(2):
        validated(built, built.initial_meta())
    (first, second, *validations) = (goals for _, goals in drawn)
    assert [split for split, _ in drawn] == ["train", "train", "validation", "validation"]
    assert not np.isin(first, second).any()
    assert not np.isin(first, validations[0]).any()
    np.testing.assert_array_equal(*validations)
    train, validation = USES["train"], USES["validation"]
    assert addresses == [Address(3, train, 1), Address(3, train, 2), *[Address(3, validation)] * 2]


@pytest.mark.parametrize("inner_steps", [0, 1, 2])
def test_the_step_goes_down_the_meta_gradient(inner_steps: int) -> None:
    built = agent(inner_steps=inner_steps, meta_optimizer="sgd", meta_lr=0.5)
    start = standing(built)
    after, row, experience = iterated(built, start)
    assert len(experience.data.support) == inner_steps
    meta = {name: value.clone().requires_grad_() for name, value in start.meta.model.items()}
    each = expand(start.meta._replace(model=meta), 4)
    adapted = unroll(built.adaptations([0.1], 1)[0], each, experience.data.support).params
    query = experience.data.query
    ratio = torch.vmap(built.apply)(adapted, query.obs).log_prob(query.action).sub(query.log_prob).exp()
    loss = -(ratio * query.advantage * query.mask).sum() / query.mask.sum()  # every episode is whole here
    grads = torch.autograd.grad(loss, list(meta.values()))
    for (name, value), grad in zip(meta.items(), grads, strict=True):
        torch.testing.assert_close(after.meta.model[name], value.detach() - 0.5 * grad, rtol=1e-4, atol=1e-6)
    assert row["loss"] == pytest.approx(float(loss.detach()), abs=1e-6)
    assert [key for key in row if key.startswith("return/")] == [
        f"return/step_{k}" for k in range(inner_steps + 1)
    ]


def test_a_trust_region_step_reports_its_kl_and_keeps_to_it() -> None:
    _, row, _ = iterated(agent(meta_optimizer="trpo", max_kl=0.003))
    assert 0 < row["kl"] <= 0.003
    assert row["improvement"] > 0
    assert row["line_search/accepted"] == 1
    assert 0 < row["line_search/step_fraction"] <= 1


def test_reptile_reports_the_kl_from_the_adapted_policies_to_those_after_its_step() -> None:
    built = agent(algorithm="reptile", meta_optimizer="sgd", meta_lr=0.5, inner_steps=2, inner_lr=0.3)
    start = standing(built)
    after, row, experience = iterated(built, start)
    data = experience.data
    mean, std = [], []
    for meta in (start.meta, after.meta):
        adapted = unroll(built.adaptations([0.3], 1)[0], expand(meta, 4), data.support).params
        policy = torch.vmap(built.apply)(adapted, data.query.obs)
        mean.append(policy.mean)
        std.append(policy.log_std.exp())
    ratio = std[0] / std[1]  # KL of one-dimensional normals, summed over the dimensions
    kl = (-ratio.log() + (ratio**2 + ((mean[0] - mean[1]) / std[1]) ** 2 - 1) / 2).sum(-1)
    assert row["kl"] == pytest.approx(float(kl.mean()), rel=1e-3)  # every episode is whole here
    assert row["kl"] > 0
    assert "improvement" not in row


# Validation --------------------------------------------------------------------------------------


def test_validation_measures_what_it_is_given_on_tasks_of_its_own() -> None:
    built = agent()
    meta = built.initial_meta()
    first = validated(built, meta)
    assert list(first) == ["validation/return/step_0", "validation/return/step_1"]
    assert validated(built, meta) == first
    other = meta._replace(model={name: value + 0.1 for name, value in meta.model.items()})
    assert validated(built, other) != first
    assert validated(agent(seed=9), meta) != first


def test_validation_of_finitely_many_tasks_takes_each_once() -> None:
    corners = {"spec": "promp", "family_arg": {"horizon": 40}, "init_std": 10.0}
    some, few, many = (agent(validation_tasks=n, **corners) for n in (3, 4, 20))
    assert validated(few, few.initial_meta()) == validated(many, many.initial_meta())
    assert validated(few, few.initial_meta()) != validated(some, some.initial_meta())


def test_a_policy_that_walks_to_the_goal_is_worth_more() -> None:
    """The value is a return: larger for a policy that acts better."""
    built = agent(observe_task=True, init_std=0.01, inner_steps=0)
    meta = built.initial_meta()
    worth = validated(built, meta)["validation/return/step_0"]
    ideal = dict(meta.model)
    ideal["net.0.weight"] = torch.zeros(8, 4)
    ideal["net.2.weight"] = torch.zeros(2, 8)
    for i in range(2):  # action = 10 (goal − position), nearly, by units in their linear range
        ideal["net.0.weight"][i, [i, 2 + i]] = torch.tensor([-0.1, 0.1])
        ideal["net.2.weight"][i, i] = 100.0
    family = built.family
    policy = Policy(built.apply, ideal, family.observation_space, family.action_space)
    action, _ = policy.predict([0.0, 0.0, 0.05, -0.05], deterministic=True)
    assert action == pytest.approx([0.5, -0.5], rel=0.01)
    assert validated(built, meta._replace(model=ideal))["validation/return/step_0"] > worth + 1
