"""Collect, adapt, collect again: what training, evaluation and adaptation all stand on."""

from contextlib import closing

import pytest
import torch

from metarl.core.advantages import with_advantage, with_critic_advantage
from metarl.core.batch import Episodes
from metarl.core.critic import values_of_tasks
from metarl.core.models import GaussianMLP
from metarl.core.params import Params, expand, tree_map
from metarl.learn.adapt import begin_tasks, step_tasks, unroll
from metarl.rollout.collector import collect
from metarl.run.experience.gather import USES
from tiny_runs import ADDRESS, agent, gathered, meta_of, same, tasks_of


def plain_step(params: Params, batch: Episodes, lr: float) -> Params:
    """θ − lr · ∇ of −mean(log π · A) over the steps that happened, by plain autograd."""
    module = GaussianMLP(2, 2, (8,))
    module.load_state_dict(params)
    mean, log_std = module(batch.obs)
    normal = torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)
    loss = -(normal.log_prob(batch.action) * batch.advantage * batch.mask).sum() / batch.mask.sum()
    grads = torch.autograd.grad(loss, list(module.parameters()))
    names = [name for name, _ in module.named_parameters()]
    return {name: params[name] - lr * g for name, g in zip(names, grads, strict=True)}


@pytest.mark.parametrize("algorithm", ["maml", "fomaml"])
def test_every_inner_step_is_a_gradient_step_on_its_own_batch(algorithm: str) -> None:
    built, rates = agent(algorithm=algorithm), [0.1, 0.3]
    found = gathered(built, rates)
    for task in range(4):
        params = meta_of(built).model
        for batch, lr in zip(found.data.support, rates, strict=True):
            params = plain_step(params, tree_map(lambda x, t=task: x[t], batch), lr)
        for name, value in params.items():
            torch.testing.assert_close(found.params[name][task], value, rtol=1e-4, atol=1e-6)


def test_each_batch_is_collected_by_the_policies_of_its_step() -> None:
    built = agent()
    found = gathered(built, [0.1, 0.3])
    assert len(found.batches) == 3
    inner = begin_tasks(built.adaptations([0.1], 1)[0], expand(meta_of(built), 4))
    policies = [inner.params]
    for batch, lr in zip(found.data.support, [0.1, 0.3], strict=True):
        inner, _ = step_tasks(built.adaptations([lr], 1)[0], expand(meta_of(built), 4), inner, batch)
        policies.append(inner.params)
    for k, (params, batch) in enumerate(zip(policies, found.batches, strict=True)):
        with closing(built.family.make_vec(12)) as env:
            address = ADDRESS._replace(inner_step=k)
            expected = collect(
                env, built.apply_tasks, params, tasks_of(built), episodes=3, horizon=10, address=address
            )
        expected, _ = with_advantage(expected, 0.99, 1.0)
        for name in ("obs", "action", "reward", "log_prob", "advantage", "final_obs"):
            torch.testing.assert_close(getattr(batch, name), getattr(expected, name), rtol=1e-4, atol=1e-5)
        # The meta-objective's ratio is 1 where it starts: the behaviour policy is the one in the graph.
        ratio = torch.vmap(built.apply)(params, batch.obs).log_prob(batch.action) - batch.log_prob
        torch.testing.assert_close(ratio * batch.mask, torch.zeros_like(ratio), rtol=0, atol=1e-5)


def test_the_meta_learner_adapts_to_what_collection_used() -> None:
    built = agent(inner_steps=2)
    found = gathered(built, [0.1, 0.1])
    repeated = unroll(built.adaptations([0.1], 1)[0], expand(meta_of(built), 4), found.data.support).params
    for name, value in repeated.items():
        torch.testing.assert_close(found.params[name], value, rtol=1e-5, atol=1e-7)
    # At the policies that collected the query, every ratio is 1, and the mean of the advantages is 0.
    assert abs(float(built.learner(found.data).at(meta_of(built)).loss)) < 1e-5
    elsewhere = agent(inner_steps=2, inner_lr=0.5).learner(found.data).at(meta_of(built))
    assert abs(float(elsewhere.loss)) > 1e-3


def test_without_inner_steps_one_batch_is_collected_by_the_initialisation() -> None:
    built = agent(inner_steps=0)
    found = gathered(built, [])
    assert len(found.batches) == 1
    assert found.data.support == ()
    assert found.values.shape == (1, 4)
    assert same(found.params, expand(meta_of(built), 4).model)


def test_returns_are_sums_of_rewards_and_steps_are_counted() -> None:
    built = agent()
    found = gathered(built, [0.1, 0.1])
    assert found.values.shape == (3, 4)
    for batch, returns in zip(found.batches, found.values, strict=True):
        torch.testing.assert_close(returns, (batch.reward * batch.mask).sum((1, 2)) / 3)
    assert found.samples == sum(int(batch.mask.sum()) for batch in found.batches) == 3 * 4 * 3 * 10


def test_deterministic_measures_apart_and_learns_from_the_same() -> None:
    built = agent(family="tiny_families:Field")  # whose starts are drawn, for each step anew
    random, measured = gathered(built, [0.5]), gathered(built, [0.5], deterministic=True)
    assert same(random.data, measured.data)
    assert same(random.params, measured.params)
    for k, params in enumerate([expand(meta_of(built), 4).model, random.params]):
        with closing(built.family.make_vec(12)) as env:
            batch = collect(
                env,
                built.apply_tasks,
                params,
                tasks_of(built),
                episodes=3,
                horizon=10,
                address=ADDRESS._replace(inner_step=k),
                deterministic=True,
            )
        torch.testing.assert_close(measured.values[k], batch.reward.sum((1, 2)) / 3)
    assert not torch.equal(random.values, measured.values)


def test_tasks_learn_from_their_own_episodes_alone() -> None:
    built, goals = agent(), tasks_of(agent())["goal"]
    moved = goals.copy()
    moved[2] += 1.0
    one, other = (gathered(built, [0.1], {"goal": g}) for g in (goals, moved))
    for name, value in one.params.items():
        changed = (value != other.params[name]).flatten(1).any(1).tolist()
        assert changed == [False, False, True, False], name


def test_chunks_and_threads_leave_every_bit_alone() -> None:
    ways = ({"chunk": 4}, {"chunk": 2}, {"chunk": 2, "threads": 2})
    found = [gathered(agent(**way), [0.1]) for way in ways]
    for other in found[1:]:
        assert same(found[0].params, other.params)
        assert same(found[0].data, other.data)


def test_discounts_reach_the_advantages() -> None:
    plain = gathered(agent(), [0.1]).data.support[0]
    for change in ({"gamma": 0.5}, {"gae_lambda": 0.5}):
        c = agent(**change).config
        batch = gathered(agent(**change), [0.1]).data.support[0]
        expected, _ = with_advantage(plain, c.gamma, c.gae_lambda)
        assert torch.equal(batch.advantage, expected.advantage)
        assert not torch.equal(batch.advantage, plain.advantage)


def test_uses_are_never_renumbered() -> None:
    assert USES == {"train": 0, "validation": 1, "test": 2, "ood": 3, "adapt": 4, "sb3": 5}


def test_an_inner_step_of_several_epochs_is_as_many_updates_on_the_same_episodes() -> None:
    built = agent(objective="ppo", inner_epochs=3)
    found = gathered(built, [0.1, 0.3])
    assert len(found.path) == len(found.batches) == 3  # what was collected
    assert [id(batch) for batch in found.data.support] == [
        id(batch) for batch in (found.batches[0],) * 3 + (found.batches[1],) * 3
    ]
    each = expand(meta_of(built), 4)
    inner = begin_tasks(built.adaptation, each)
    for batch, lr in zip(found.batches[:2], [0.1, 0.3], strict=True):
        for _ in range(3):
            inner, _ = step_tasks(built.adaptations([lr], 1)[0], each, inner, batch)
    for name, value in inner.params.items():
        torch.testing.assert_close(found.params[name], value.detach(), rtol=1e-5, atol=1e-7)
    assert found.values.shape == (3, 4)
    assert found.samples == sum(int(batch.mask.sum()) for batch in found.batches)
    # The meta-learner repeats all six: at the policies that collected the query, every ratio is 1.
    repeated = agent(objective="ppo", inner_epochs=3, inner_steps=2)
    data = gathered(repeated, [0.1, 0.1]).data
    assert abs(float(repeated.learner(data).at(meta_of(repeated)).loss)) < 1e-5


def test_each_task_is_credited_with_what_its_query_gained_over_the_others() -> None:
    built = agent()
    found = gathered(built, [0.1])
    plain = found.data.query
    _, estimate = with_advantage(plain, built.config.gamma, built.config.gae_lambda)
    for i in range(4):
        others = torch.cat([estimate.start_return[:i], estimate.start_return[i + 1 :]]).mean()
        steps = float(plain.mask[i].sum()) / 3
        wanted = (estimate.start_return[i] - others) / (steps * estimate.std.square().mean().sqrt())
        torch.testing.assert_close(found.data.credit[i].double(), wanted, rtol=1e-4, atol=1e-5)


def test_a_value_network_judges_with_the_parameters_that_acted() -> None:
    built = agent(objective="a2c", gae_lambda=0.5)
    assert built.critic is not None
    found = gathered(built, [0.1, 0.1])
    value = values_of_tasks(built.critic)
    for params, batch in zip(found.path, found.batches, strict=True):
        of_steps = torch.stack([value(params, batch.obs[:, :, t]) for t in range(10)], -1)
        expected, _ = with_critic_advantage(
            batch, of_steps, value(params, batch.final_obs), built.config.gamma, 0.5
        )
        torch.testing.assert_close(batch.advantage, expected.advantage, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(batch.target, expected.target, rtol=1e-4, atol=1e-5)
    critic = [name for name in found.params if name.startswith("critic.")]
    assert len(critic) == 4
    for name in critic:  # it adapts: each task to its own
        assert not torch.equal(found.params[name][0], found.params[name][1])
