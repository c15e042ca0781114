"""Bugs of the field, each with the test that catches it.

What belongs to one module alone is tested there: 2 in test_distributions too, 3 (step size) in test_adapt and
test_rules, 4 (standard deviation 1) and 7 (truncation) in test_returns and test_baselines, 5 (ratio 1) in
test_objectives and test_maml, 6 in test_adapt too, 9 and 10 (central differences) in test_maml; 11 (workers
that draw the same tasks) belongs to the rollouts. Here stand those that show where the parts meet.
"""

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import reference
from metarl.core.advantages import with_advantage
from metarl.core.batch import register_batch
from metarl.core.distributions import Categorical
from metarl.core.models import Apply, GaussianMLP, policy
from metarl.core.objectives import vpg
from metarl.core.params import Params, expand, ravel, tree_map
from metarl.core.rules import sgd
from metarl.learn.adapt import adapt, unroll
from metarl.learn.optimizers import sgd as meta_sgd
from metarl.learn.optimizers import trpo
from metarl.learn.problem import TaskData
from tiny import as_reference, close, close_params, data, episodes, learner_of, meta, model, one

LR = 0.3

# 1. The pre-update sampling distribution: a two-state, two-action, horizon-2 MDP, all paths enumerated.
# P(s' = 1 | s, a) and the reward of (s, a); the start is state 0.
GO = torch.tensor([[0.2, 0.9], [0.6, 0.3]], dtype=torch.float64)
PAY = torch.tensor([[0.1, -0.4], [1.0, 0.5]], dtype=torch.float64)


@register_batch
@dataclasses.dataclass(frozen=True)
class Enumerated:
    """All trajectories: states and actions "path time", the rewards, and each path's weight."""

    state: Tensor
    action: Tensor
    reward: Tensor
    weight: Tensor


def tabular(params: Params, state: Tensor) -> Categorical:
    """A policy with a row of logits for each state."""
    return Categorical(params["logits"][state])


def enumerated(params: Params) -> Enumerated:
    """The batch that ``params`` would collect, without noise: every path with its probability."""
    paths = list(itertools.product((0, 1), (0, 1), (0, 1)))  # first action, second state, second action
    state, action = torch.tensor([[0, s] for _, s, _ in paths]), torch.tensor([[a, b] for a, _, b in paths])
    move = torch.stack([GO[0, a] if s == 1 else 1 - GO[0, a] for a, s, _ in paths])
    chosen = tabular(params, state).log_prob(action).sum(-1).exp()
    return Enumerated(state, action, PAY[state, action], move * chosen)


def expected_return(params: Params) -> Tensor:
    batch = enumerated(params)
    return (batch.weight * batch.reward.sum(-1)).sum()


def enumerated_vpg(apply: Apply, params: Params, batch: Enumerated) -> Tensor:
    to_go = batch.reward.flip(-1).cumsum(-1).flip(-1)
    return -(
        batch.weight.detach() * (apply(params, batch.state).log_prob(batch.action) * to_go).sum(-1)
    ).sum()


def enumerated_dice(apply: Apply, params: Params, batch: Enumerated) -> Tensor:
    """Foerster et al. 2018: each reward under the magic box of all actions up to it."""
    so_far = apply(params, batch.state).log_prob(batch.action).cumsum(-1)
    box = (so_far - so_far.detach()).exp()
    return -(batch.weight.detach() * (box * batch.reward).sum(-1)).sum()


@pytest.mark.parametrize(("objective", "exact"), [(enumerated_dice, True), (enumerated_vpg, False)])
def test_1_the_sampling_distribution_before_adaptation_is_in_the_meta_gradient(
    objective: Any, exact: bool
) -> None:
    params = {"logits": torch.tensor([[0.3, -0.2], [-0.5, 0.4]], dtype=torch.float64)}
    theta = reference.leaves(params)
    (inner,) = torch.autograd.grad(expected_return(theta), list(theta.values()), create_graph=True)
    outer = expected_return({"logits": theta["logits"] + 1.0 * inner})
    (truth,) = torch.autograd.grad(outer, list(theta.values()))

    start = reference.leaves(params)
    support = tree_map(lambda x: x[None], enumerated(params))
    adaptation = adapt(tabular, objective, sgd(1.0))
    found = unroll(adaptation, expand(meta(start), 1), [support]).params["logits"][0]
    close(found, params["logits"] + inner.detach(), 1e-12)  # the same step in both cases ...
    (grad,) = torch.autograd.grad(expected_return({"logits": found}), list(start.values()))
    error = float((grad - truth).abs().max())
    assert (error < 1e-8) if exact else (error > 1e-3)  # ... but not the same derivative


def test_2_six_action_dimensions_are_six_times_one() -> None:
    """An action of six equal dimensions moves the first layer six times as far as one dimension does."""
    apply_one, apply_six = (policy(GaussianMLP(2, n, hidden=(4,)).double()) for n in (1, 6))
    one_dim = {n: p[..., :1] if n == "log_std" else p for n, p in model()[1].items()}
    one_dim |= {"net.2.weight": one_dim["net.2.weight"][:1], "net.2.bias": one_dim["net.2.bias"][:1]}
    repeat = ("log_std", "net.2.weight", "net.2.bias")
    six_dim = {n: p.repeat_interleave(6, 0) if n in repeat else p for n, p in one_dim.items()}
    batch = one(episodes(1, model()[1]), 0)
    moved = []
    for apply, params, n in ((apply_one, one_dim, 1), (apply_six, six_dim, 6)):
        action = batch.action[..., :1].expand(2, 4, n)
        start = reference.leaves(params)
        grads = torch.autograd.grad(
            vpg(apply, start, dataclasses.replace(batch, action=action)), list(start.values())
        )
        moved.append(dict(zip(start, grads, strict=True))["net.0.weight"])
    close(moved[1], 6 * moved[0])


def test_4_ten_times_the_reward_is_the_same_inner_and_outer_update() -> None:
    apply, params = model()
    tasks, updates = data(1, params), []
    for scale in (1.0, 10.0):
        scaled = [
            with_advantage(dataclasses.replace(b, reward=scale * b.reward), 0.9, 0.8)[0]
            for b in (*tasks.support, tasks.query)
        ]
        problem = learner_of(apply, chunk=3)(TaskData((scaled[0],), scaled[1]))
        updates.append(ravel(meta_sgd(0.1).step(problem, meta(params), {})[0]) - ravel(meta(params)))
    # Equal but for the ridge, the 1e-8 in the denominator and the few steps of a tiny fit.
    torch.testing.assert_close(updates[0], updates[1], rtol=1e-3, atol=1e-4)
    assert float(updates[0].norm()) > 1e-2


def test_6_a_task_s_data_reach_the_meta_gradient_through_that_task_alone() -> None:
    apply, params = model()
    tasks = data(2, params)
    learner = learner_of(apply, chunk=3)
    order = torch.tensor([2, 0, 1])
    permuted = tree_map(lambda x: x[order], tasks)
    close(ravel(learner(permuted).at(meta(params)).grad), ravel(learner(tasks).at(meta(params)).grad), 1e-12)
    point, new = learner(tasks).at(meta(params)), learner(permuted).at(meta(params))
    for a, b in zip(new.policies, point.policies, strict=True):
        close(a, b[order], 1e-12)


def test_8_steps_count_not_episodes() -> None:
    """One of two episodes falls at once: a mean over episodes would give its one step half the gradient."""
    apply, params = model()
    batch = one(episodes(1, params), 1)  # episodes of 1 and 4 steps
    alone = []
    for e in (0, 1):
        theta = reference.leaves(params)
        kept = dataclasses.replace(batch, mask=batch.mask * torch.eye(2, dtype=torch.float64)[e][:, None])
        alone.append(torch.autograd.grad(vpg(apply, theta, kept), list(theta.values())))
    theta = reference.leaves(params)
    together = torch.autograd.grad(vpg(apply, theta, batch), list(theta.values()))
    for whole, short, four in zip(together, *alone, strict=True):
        close(whole, short / 5 + 4 * four / 5)


def test_9_with_no_inner_step_a_meta_step_is_a_plain_policy_gradient_step() -> None:
    """The baseline "pretrained": the same meta-optimizer and zero inner steps, at order 1 and 2 alike."""
    apply, params = model()
    tasks = data(0, params)
    expected = reference.maml_grad(params, [((), query) for _, query in as_reference(tasks)], LR)
    for order in (1, 2):
        problem = learner_of(apply, order=order, chunk=3)(tasks)
        new, _, _ = meta_sgd(0.5).step(problem, meta(params), {})
        close_params(new.model, {name: p - 0.5 * expected[name] for name, p in params.items()})


def test_fitting_a_baseline_is_no_part_of_a_loss() -> None:
    """TRPO's line search sees one and the same batch: its advantages enter as they are, never refitted."""
    apply, params = model()
    tasks = data(1, params)
    problem = learner_of(apply, chunk=3)
    odd = dataclasses.replace(tasks.query, reward=float("nan") * tasks.query.reward)
    found = [
        trpo().step(problem(TaskData(tasks.support, q)), meta(params), {})[0] for q in (tasks.query, odd)
    ]
    assert torch.equal(ravel(found[0]), ravel(found[1])) and not torch.equal(
        ravel(found[0]), ravel(meta(params))
    )
