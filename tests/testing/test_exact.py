"""Enumerated MDPs: the exact values against hand counts and central differences, the estimators against them.

What each inner objective's meta-gradient estimates is settled here, without sampling.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

from metarl.core.batch import Episodes, masked_mean
from metarl.core.distributions import Categorical
from metarl.core.errors import RequestError
from metarl.core.models import GaussianMLP, initial_params, policy
from metarl.core.objectives import Objective, dice, surrogate, vpg
from metarl.core.params import Meta, Params, ravel, tree_map, unravel
from metarl.core.rules import sgd
from metarl.learn.adapt import adapt
from metarl.learn.maml import exploration
from metarl.testing import (
    FiniteMDP,
    enumerated,
    exact_meta_gradient,
    exact_one_trajectory_meta_gradient,
    exact_return,
    one_by_one,
    trajectories,
)
from tiny import close, close_params, model, randn

lvc = surrogate
ALPHA = 0.7
APPLY, THETA = model("categorical")  # two states, three actions


def mdp(horizon: int = 2, gamma: float = 1.0, states: int = 2, actions: int = 3) -> FiniteMDP:
    start = torch.softmax(randn(1, states), -1)
    transition = torch.softmax(randn(2, states, actions, states), -1)
    return FiniteMDP(start, transition, 2 * randn(3, states, actions), horizon, gamma)


def two_by_two(horizon: int = 2, gamma: float = 1.0) -> FiniteMDP:
    """Starts in state 0. Action 0 stays there, action 1 leads to state 1 with probability 3/4."""
    transition = torch.tensor([[[1.0, 0.0], [0.25, 0.75]], [[0.5, 0.5], [0.0, 1.0]]])
    return FiniteMDP(
        torch.tensor([1.0, 0.0]), transition, torch.tensor([[1.0, 2.0], [4.0, 8.0]]), horizon, gamma
    )


def uniform(params: Params, obs: Tensor) -> Categorical:
    """Both actions alike, whatever the parameters are."""
    return Categorical((obs @ params["w"])[..., None] * torch.zeros(2))


ANY = {"w": torch.zeros(2, dtype=torch.float64)}


def central(value: Callable[[Params], Tensor], at: Params, step: float = 1e-3) -> Params:
    """The gradient by the five-point stencil, entry by entry: an error of order step⁴."""
    base, slopes = ravel(at), []
    for i in range(len(base)):
        shift = torch.zeros_like(base)
        shift[i] = step
        a, b, c, d = (float(value(unravel(base + k * shift, at))) for k in (-2, -1, 1, 2))
        slopes.append((a - 8 * b + 8 * c - d) / (12 * step))
    return unravel(torch.tensor(slopes, dtype=torch.float64), at)


def distance(a: Params, b: Params) -> float:
    return float((ravel(a) - ravel(b)).abs().max() / ravel(b).abs().max())


def adapted(inner: Objective, params: Params, step_size: float, batch: Episodes) -> Params:
    adaptation, meta = adapt(APPLY, inner, sgd(step_size)), Meta(params, {})
    return adaptation.step(meta, adaptation.begin(meta), batch)[0].params


def after_each(
    inner: Objective, mdp: FiniteMDP, params: Params, step_size: float, batches: Episodes
) -> Tensor:
    """J(U(θ, τ)) of each trajectory, with its recorded log-probabilities as they are."""
    return vmap(lambda b: exact_return(mdp, APPLY, adapted(inner, params, step_size, b)))(batches)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users have it: without the shape checks of the tests, which would speak first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


# The MDP ----------------------------


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": torch.zeros(2)}, r"got \[2\], \[2, 2, 2\], \[2\]"),
        ({"start": torch.ones(1)}, r"got \[1\], \[2, 2, 2\], \[2, 2\]"),
        ({"start": torch.tensor([0.5, 0.4])}, "start needs probabilities .* sums from 0.9 to 0.9"),
        ({"start": torch.tensor([1.5, -0.5])}, "start needs probabilities .* smallest one of -0.5"),
        ({"transition": torch.full((2, 2, 2), torch.nan)}, "transition needs probabilities"),
        ({"reward": torch.full((2, 2), torch.inf)}, "finite rewards"),
        ({"horizon": 0}, "horizon of at least 1, not 0"),
        ({"gamma": 1.5}, r"gamma in \[0, 1\], not 1.5"),
    ],
)
def test_what_is_no_mdp_is_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        dataclasses.replace(two_by_two(), **change)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("unchecked")
def test_other_requests_that_cannot_be_met() -> None:
    gaussian = GaussianMLP(2, 3).double()
    with pytest.raises(RequestError, match="Categorical policy over its 3 actions, got DiagGaussian"):
        exact_return(mdp(), policy(gaussian), initial_params(gaussian))
    with pytest.raises(RequestError, match="over its 2 actions, got Categorical of 3"):
        enumerated(two_by_two(), APPLY, THETA)
    with pytest.raises(RequestError, match=r"\[state, time\] \[2, 2\], got \[2, 3\]"):
        enumerated(two_by_two(), uniform, ANY, torch.zeros(2, 3))
    with pytest.raises(RequestError, match="this MDP has more by step 8 of 20"):
        trajectories(mdp(horizon=20))


# Enumeration ------------------------


def test_trajectories_by_hand() -> None:
    """From state 0: stay and act, or go and act in 0 (slipped) or in 1. What has no chance is left out."""
    found = trajectories(two_by_two())
    rows = zip(found.state.tolist(), found.action.tolist(), found.chance.tolist(), strict=True)
    assert sorted(rows) == [
        ([0, 0], [0, 0], 1.0),
        ([0, 0], [0, 1], 1.0),
        ([0, 0], [1, 0], 0.25),
        ([0, 0], [1, 1], 0.25),
        ([0, 1], [1, 0], 0.75),
        ([0, 1], [1, 1], 0.75),
    ]
    assert len(trajectories(mdp(3)).chance) == 2 * 3 * (2 * 3) ** 2


def test_the_exact_return_by_hand() -> None:
    """First step: (1 + 2) / 2. Second: in state 1 with probability 3/8 (worth 6), else in 0 (worth 3/2)."""
    for gamma in (1.0, 0.5, 0.0):
        wanted = 1.5 + gamma * (0.375 * 6 + 0.625 * 1.5)
        assert float(exact_return(two_by_two(gamma=gamma), uniform, ANY)) == pytest.approx(wanted, abs=1e-12)


def test_the_return_by_enumeration_and_by_dynamic_programming_agree_up_to_second_derivatives() -> None:
    task = mdp(horizon=4, gamma=0.9)
    found = trajectories(task)
    discounted = (task.reward[found.state, found.action] * 0.9 ** torch.arange(4.0).double()).sum(-1)
    obs = torch.eye(2, dtype=torch.float64)[found.state]

    def summed(params: Params) -> Tensor:
        return (found.chance * APPLY(params, obs).log_prob(found.action).sum(-1).exp() * discounted).sum()

    def dynamic(params: Params) -> Tensor:
        return exact_return(task, APPLY, params)

    close(dynamic(THETA), summed(THETA))
    close_params(grad(dynamic)(THETA), grad(summed)(THETA))
    close_params(*(jacrev(jacrev(f))(THETA) for f in (dynamic, summed)))


def test_float32_parameters_and_tables_are_computed_in_float64() -> None:
    task, single = mdp(), tree_map(lambda p: p.float(), THETA)
    value, gradient = exact_meta_gradient(task, APPLY, single, ALPHA)
    again = exact_meta_gradient(task, APPLY, tree_map(lambda p: p.double(), single), ALPHA)
    assert value.dtype == torch.float64 and float(value) == float(again.value)
    close_params(gradient, again.gradient, 0.0)
    assert two_by_two().reward.dtype == torch.float64


def test_an_enumerated_batch_by_hand() -> None:
    """The trajectory that goes, arrives and acts there (rewards 2 and 8): chance 3/4, two actions of 1/2."""
    baseline = torch.tensor([[0.5, 9.0], [9.0, 3.0]], dtype=torch.float64)
    batch, probability = enumerated(two_by_two(gamma=0.5), uniform, ANY, baseline)
    i = [row[:, 1].tolist() for row in batch.obs].index([0.0, 1.0]) + 1
    assert batch.obs[i].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert batch.action[i].tolist() == [1, 1]
    assert float(probability[i]) == pytest.approx(0.75 / 4)
    assert batch.mask[i].tolist() == [float(probability[i])] * 2
    assert batch.target[i].tolist() == [2 + 0.5 * 8, 8]
    assert batch.advantage[i].tolist() == [6 - 0.5, 0.5 * (8 - 3)]
    close(batch.log_prob[i], torch.full((2,), 0.5, dtype=torch.float64).log())
    assert batch.terminated[i].tolist() == [False, True] and not batch.truncated.any()
    close(probability.sum(), torch.tensor(1.0, dtype=torch.float64))


@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_its_mean_over_steps_is_the_expectation_over_the_horizon(gamma: float) -> None:
    task = mdp(3, gamma)
    batch, _ = enumerated(task, APPLY, THETA, randn(8, 2, 3))
    rewards = masked_mean(batch.reward * gamma ** torch.arange(3.0).double(), batch.mask)
    close(rewards, exact_return(task, APPLY, THETA) / 3)
    wanted = tree_map(lambda g: -g / 3, grad(lambda p: exact_return(task, APPLY, p))(THETA))
    for objective in (vpg, lvc, dice):
        close_params(grad(lambda p, o=objective: o(APPLY, p, batch))(THETA), wanted)


def test_one_by_one_holds_the_same_trajectories_with_weight_1() -> None:
    (one, p), (all_, q) = (f(mdp(), APPLY, THETA, randn(8, 2, 2)) for f in (one_by_one, enumerated))
    close(p, q, 0.0)
    assert one.obs.shape == (36, 1, 2, 2) and one.final_obs.shape == (36, 1, 2)
    assert bool((one.mask == 1).all())
    same = dataclasses.replace(tree_map(lambda x: x[:, 0], one), mask=all_.mask)
    close_params(dataclasses.asdict(same), dataclasses.asdict(all_), 0.0)


# (a) The gradient of J(θ + α∇J(θ)) ---


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_the_exact_meta_gradient_is_that_of_a_plain_loop(steps: int) -> None:
    task = mdp(gamma=0.9)

    def plain(params: Params) -> Tensor:
        for _ in range(steps):
            slope = grad(lambda p: exact_return(task, APPLY, p))(params)
            params = {name: p + ALPHA * slope[name] for name, p in params.items()}
        return exact_return(task, APPLY, params)

    value, gradient = exact_meta_gradient(task, APPLY, THETA, ALPHA, steps)
    close(value, plain(THETA))
    assert distance(gradient, central(plain, THETA)) < 1e-9


def through(inner: Objective, task: FiniteMDP, steps: int = 1, baseline: Tensor | None = None) -> Params:
    """The gradient through ``adapt``, each step on the enumerated batch of the policy that is there."""
    support, params = [], THETA
    for _ in range(steps):
        support.append(enumerated(task, APPLY, params, baseline)[0])
        params = adapted(inner, params, ALPHA * task.horizon, support[-1])

    def after(params: Params) -> Tensor:
        for batch in support:
            params = adapted(inner, params, ALPHA * task.horizon, batch)
        return exact_return(task, APPLY, params)

    return grad(after)(THETA)


def test_with_exact_values_and_a_linear_softmax_vpg_is_first_order_maml() -> None:
    """∇² log π then is the same for all actions, and E[A] is 0 in each state: its Hessian is 0."""
    task, logits = mdp(3), {"w": randn(5, 2, 3)}

    def table(params: Params, obs: Tensor) -> Categorical:
        return Categorical(obs @ params["w"])

    policy, after, values = torch.softmax(logits["w"], -1), torch.zeros(2, dtype=torch.float64), []
    for _ in range(task.horizon):  # V(s, t) = Σ π(a|s) (r(s, a) + Σ P(s'|s, a) V(s', t + 1)), backwards
        after = (policy * (task.reward + task.transition @ after)).sum(-1)
        values.append(after)
    support, _ = enumerated(task, table, logits, torch.stack(values[::-1], -1))

    def meta_gradient(objective: Objective, order: int) -> Tensor:
        step = adapt(table, objective, sgd(ALPHA * task.horizon), order)

        def judged(params: Params) -> Tensor:
            start = Meta(params, {})
            return exact_return(task, table, step.step(start, step.begin(start), support)[0].params)

        return grad(judged)(logits)["w"]

    close(meta_gradient(vpg, 2), meta_gradient(vpg, 1), 1e-12)
    assert float((meta_gradient(dice, 2) - meta_gradient(vpg, 1)).abs().max()) > 1e-2


@pytest.mark.parametrize("gamma", [1.0, 0.8])
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("based", [False, True], ids=["plain", "baseline"])
def test_dice_is_exact(gamma: float, steps: int, based: bool) -> None:
    task = mdp(3, gamma)
    baseline = randn(8, 2, 3) if based else None
    truth = exact_meta_gradient(task, APPLY, THETA, ALPHA, steps).gradient
    close_params(through(dice, task, steps, baseline), truth, 1e-10)


def test_lvc_is_dice_at_horizon_1() -> None:
    task = mdp(1)
    close_params(through(lvc, task), exact_meta_gradient(task, APPLY, THETA, ALPHA).gradient, 1e-10)


@pytest.mark.parametrize("horizon", [2, 3])
def test_lvc_lacks_the_products_of_scores_of_different_time_steps(horizon: int) -> None:
    """With gₜ = ∇log π(aₜ|sₜ), the Hessian of E[(wₜ − wₜ₋₁) Aₜ] at the behaviour policy is, for one t,

        E[(gₜgₜᵀ + ∇²log π(aₜ|sₜ)) Aₜ] + Σ_{k<t} E[(gₜgₖᵀ + gₖgₜᵀ) Aₜ],

    since that of wₜ is (Σ_{k≤t} gₖ)(Σ_{k≤t} gₖ)ᵀ + Σ_{k≤t} ∇²log πₖ. The first part is LVC's.
    """
    task = mdp(horizon, gamma=0.9)
    batch, p = enumerated(task, APPLY, THETA)
    flat = ravel(THETA)
    g = jacrev(lambda v: APPLY(unravel(v, THETA), batch.obs).log_prob(batch.action))(flat)  # n time param
    pairs = [
        torch.einsum("n,ni,nj->ij", p * batch.advantage[:, t], g[:, t], g[:, k])
        for t in range(horizon)
        for k in range(t)
    ]
    omitted = torch.stack([pair + pair.T for pair in pairs]).sum(0)
    end = adapted(lvc, THETA, ALPHA * horizon, batch)
    missing = ALPHA * omitted @ ravel(grad(lambda q: exact_return(task, APPLY, q))(end))

    truth = exact_meta_gradient(task, APPLY, THETA, ALPHA).gradient
    close(ravel(through(lvc, task)) + missing, ravel(truth), 1e-10)
    assert distance(through(lvc, task), truth) > 0.01


def test_vpg_lacks_more_and_what_it_lacks_depends_on_the_baseline() -> None:
    """E[∇²log π b(s)] = −E[ggᵀ b(s)] is not 0: a baseline changes VPG's Hessian, but none of the others'."""
    task, baseline = mdp(), randn(8, 2, 2)
    truth = exact_meta_gradient(task, APPLY, THETA, ALPHA).gradient
    assert distance(through(vpg, task), truth) > 0.1
    assert distance(through(vpg, task, 1, baseline), through(vpg, task)) > 0.1
    close_params(through(lvc, task, 1, baseline), through(lvc, task), 1e-10)


# (b) The gradient of E_τ J(U(θ, τ)) --


def e_maml(inner: Objective, task: FiniteMDP, baseline: Tensor | None = None) -> Params:
    """Mean over one-trajectory batches of the gradient through ``adapt`` and of E-MAML's score term."""
    batches, p = one_by_one(task, APPLY, THETA, baseline)

    def estimate(params: Params) -> Tensor:
        value = after_each(inner, task, params, ALPHA, batches)
        score = vmap(lambda b, credit: -exploration(APPLY, params, b, credit))(batches, value.detach())
        return (p * (value + score)).sum()

    return grad(estimate)(THETA)


@pytest.mark.parametrize("inner", [vpg, lvc, dice], ids=["vpg", "lvc", "dice"])
@pytest.mark.parametrize("based", [False, True], ids=["plain", "baseline"])
def test_the_exact_one_trajectory_meta_gradient_is_that_of_real_learners(inner: Any, based: bool) -> None:
    """Central differences of Σ_τ p_θ(τ) J(U(θ, τ)), for which each displaced θ records its own episodes. In
    numbers, U is the same for all three inner losses, hence so is the gradient.
    """
    task, baseline = mdp(gamma=0.9), randn(8, 2, 2) if based else None

    def learners(params: Params) -> Tensor:
        batches, p = one_by_one(task, APPLY, params, baseline)
        return (p * after_each(inner, task, params, ALPHA, batches)).sum()

    value, gradient = exact_one_trajectory_meta_gradient(task, APPLY, THETA, inner, ALPHA, baseline)
    close(value, learners(THETA))
    assert distance(gradient, central(learners, THETA)) < 1e-9
    same = exact_one_trajectory_meta_gradient(task, APPLY, THETA, vpg, ALPHA, baseline)
    close_params(gradient, same.gradient, 1e-12)


def test_e_maml_s_score_term_is_exact_with_vpg_and_not_with_dice_or_lvc() -> None:
    """∂U/∂θ for a fixed episode is I + α Σ ∇²log π A, VPG's. The products of scores that DiCE and LVC add are
    how the sampling distribution moves, which the score term has already.
    """
    task, baseline = mdp(), randn(8, 2, 2)
    for b in (None, baseline):
        truth = exact_one_trajectory_meta_gradient(task, APPLY, THETA, vpg, ALPHA, b).gradient
        close_params(e_maml(vpg, task, b), truth, 1e-10)
        for inner in (dice, lvc):
            assert distance(e_maml(inner, task, b), truth) > 0.05
    expected = exact_meta_gradient(task, APPLY, THETA, ALPHA / task.horizon).gradient
    assert distance(truth, expected) > 0.05  # another objective than (a)


@pytest.mark.parametrize("inner", [lvc, dice], ids=["lvc", "dice"])
def test_lvc_and_dice_with_the_score_term_belong_to_importance_weighted_steps(inner: Any) -> None:
    """What they are exact for: episodes drawn at the displaced θ, but a U whose recorded log-probabilities
    stay those of the undisplaced one, so that it holds an importance weight. No learner takes such a step.
    """
    task = mdp()
    recorded, _ = one_by_one(task, APPLY, THETA)

    def weighted(params: Params) -> Tensor:
        p = one_by_one(task, APPLY, params)[1]
        return (p * after_each(inner, task, params, ALPHA, recorded)).sum()

    assert distance(e_maml(inner, task), central(weighted, THETA)) < 1e-9
