"""Truth without sampling: finite MDPs of which every trajectory is written down, in float64."""

import dataclasses
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.nn import functional as F

from metarl.core.batch import Episodes
from metarl.core.distributions import Categorical
from metarl.core.errors import RequestError
from metarl.core.models import Apply
from metarl.core.objectives import Objective
from metarl.core.params import Meta, Params, detach, tree_map
from metarl.core.returns import discounted_returns
from metarl.core.rules import sgd
from metarl.learn.adapt import adapt
from metarl.testing.trees import cast

MOST_TRAJECTORIES = 2**20


@dataclasses.dataclass(frozen=True)
class FiniteMDP:
    """A decision process of finitely many states and actions, and a fixed number of time steps.

    Attributes:
        start: P(s₀).
        transition: P(s′ | s, a).
        reward: of the action a in the state s; it is certain.
        horizon: time steps of every episode; what comes after them is worth nothing.
        gamma: discount of a time step.

    The tables are kept in float64; those given in float32 keep its rounding.

    Raises:
        RequestError: tables whose shapes do not fit each other, a row that is no distribution, an infinite
            reward, a horizon below 1, or a gamma outside [0, 1].
    """

    start: Float[Tensor, " s"]
    transition: Float[Tensor, "s a s"]
    reward: Float[Tensor, "s a"]
    horizon: int
    gamma: float = 1.0

    def __post_init__(self) -> None:
        for name in ("start", "transition", "reward"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name), dtype=torch.float64))
        shapes = [list(table.shape) for table in (self.start, self.transition, self.reward)]
        s, a = [*shapes[-1], 0, 0][:2]
        if shapes != [[s], [s, a, s], [s, a]] or s * a < 1:
            sizes = ", ".join(map(str, shapes))
            raise RequestError(f"an MDP needs start [s], transition [s, a, s] and reward [s, a], got {sizes}")
        for name, rows in (("start", self.start), ("transition", self.transition)):
            total = rows.sum(-1)
            if not bool((rows >= 0).all() and ((total - 1).abs() <= 1e-6).all()):
                raise RequestError(
                    f"{name} needs probabilities that sum to 1 along the last axis, got a smallest one of "
                    f"{float(rows.min()):g} and sums from {float(total.min()):g} to {float(total.max()):g}"
                )
        if not bool(torch.isfinite(self.reward).all()):
            raise RequestError("an MDP needs finite rewards, got one that is not")
        if self.horizon < 1:
            raise RequestError(f"an MDP needs a horizon of at least 1, not {self.horizon}")
        if not 0 <= self.gamma <= 1:
            raise RequestError(f"an MDP needs a gamma in [0, 1], not {self.gamma}")


class Trajectories(NamedTuple):
    """The states and the actions taken in them of all that can happen, and how the environment chooses.

    ``chance`` is P(s₀) ∏ₜ P(sₜ₊₁ | sₜ, aₜ), to be multiplied by the policy's ∏ₜ π(aₜ | sₜ). The state after
    the last action is no part of a trajectory, since nothing depends on it.
    """

    state: Int[Tensor, "n time"]
    action: Int[Tensor, "n time"]
    chance: Float[Tensor, " n"]


class MetaGradient(NamedTuple):
    """An objective (to be maximised) and its gradient, without a graph."""

    value: Float[Tensor, ""]
    gradient: Params


def trajectories(mdp: FiniteMDP) -> Trajectories:
    """Return all trajectories that the environment allows, whatever the policy.

    Raises:
        RequestError: there are more than ``MOST_TRAJECTORIES``.
    """
    actions = mdp.reward.shape[1]
    # A row is a beginning: its states, the actions taken so far (one fewer), and the chance of the states.
    states = mdp.start.nonzero()
    taken, chance = states[:, :0], mdp.start[states[:, 0]]
    for t in range(mdp.horizon):
        if len(states) * actions > MOST_TRAJECTORIES:
            raise RequestError(
                f"an enumeration takes up to {MOST_TRAJECTORIES} trajectories, this MDP has more by step "
                f"{t + 1} of {mdp.horizon}; use a shorter horizon or fewer states and actions"
            )
        if t == mdp.horizon - 1:
            break
        row, action, after = mdp.transition[states[:, -1]].nonzero(as_tuple=True)
        chance = chance[row] * mdp.transition[states[row, -1], action, after]
        taken = torch.cat([taken[row], action[:, None]], -1)
        states = torch.cat([states[row], after[:, None]], -1)
    last = torch.arange(actions, device=states.device).repeat(len(states))
    taken, states, chance = (x.repeat_interleave(actions, 0) for x in (taken, states, chance))
    return Trajectories(states, torch.cat([taken, last[:, None]], -1), chance)


def exact_return(mdp: FiniteMDP, apply: Apply, params: Params) -> Float[Tensor, ""]:
    """Return J(θ) = E[Σₜ γᵗ r(sₜ, aₜ)] of the policy ``apply(params, ·)``, in float64, with all derivatives.

    By the distribution of states from step to step, dₜ₊₁(s′) = Σₛₐ dₜ(s) π(a|s) P(s′|s, a), which is cheap
    where trajectories are too many. The policy reads one-hot states, float64 "s s".

    Raises:
        RequestError: the policy is not categorical over the MDP's actions.
    """
    chosen = _log_policy(mdp, apply, params).exp()
    at, total = mdp.start, mdp.start.new_zeros(())
    for t in range(mdp.horizon):
        joint = at[:, None] * chosen
        total = total + mdp.gamma**t * (joint * mdp.reward).sum()
        at = (joint[..., None] * mdp.transition).sum((0, 1))
    return total


def enumerated(
    mdp: FiniteMDP, apply: Apply, params: Params, baseline: Float[Tensor, "s time"] | None = None
) -> tuple[Episodes, Float[Tensor, " n"]]:
    """Return all trajectories as one batch of one task, weighted by their probability under ``params``.

    What a learner would collect, without noise: the core's mean over steps, Σ mask·x / Σ mask, is an exact
    expectation on it. All episodes have ``horizon`` steps, so it is E[Σₜ xₜ] / horizon: **the gradient of
    ``vpg`` here is −∇J / horizon**, and an inner step of size horizon·α is θ + α∇J(θ).

    Everything is float64 and constant. With n trajectories: ``obs`` "n time s" is one-hot, ``action``
    "n time", ``mask`` "n time" the trajectory's probability on each of its steps, ``log_prob`` that of
    ``params``; ``target`` is the return to go Gₜ = Σ_{k≥t} γᵏ⁻ᵗ rₖ and ``advantage`` is
    γᵗ (Gₜ − ``baseline[sₜ, t]``). The factor γᵗ, which practice leaves out, makes it the gradient of the
    discounted J. The last step is ``terminated``, and ``final_obs`` 0: nothing follows.
    ``undiscounted_returns`` divides by episodes rather than by their weight: it is J / n here (for gamma 1).

    Args:
        baseline: of each state at each time step, a constant; None is 0.

    Returns:
        The batch, and the probability of each trajectory; they sum to 1.

    Raises:
        RequestError: as ``trajectories`` and ``exact_return``, or a baseline of another shape.
    """
    batch, probability = _episodes(mdp, apply, detach(params), baseline)
    mask = probability[:, None].expand_as(batch.mask).contiguous()
    return dataclasses.replace(batch, mask=mask), probability


def one_by_one(
    mdp: FiniteMDP, apply: Apply, params: Params, baseline: Float[Tensor, "s time"] | None = None
) -> tuple[Episodes, Float[Tensor, " n"]]:
    """Return each trajectory as a batch of its own: the task axis counts trajectories, each of one episode.

    ``mask`` is 1; all else is as in ``enumerated``, with shapes "n 1 time …". Averaged over the first axis
    with the probabilities, an estimator that sees a single episode gives its expectation.

    Returns:
        The batches, and the probability of each trajectory.

    Raises:
        RequestError: as ``enumerated``.
    """
    batch, probability = _episodes(mdp, apply, detach(params), baseline)
    return _one_each(batch), probability


def exact_meta_gradient(
    mdp: FiniteMDP, apply: Apply, params: Params, step_size: float, steps: int = 1
) -> MetaGradient:
    """Return J(θ_K) and its gradient in θ₀, θₖ₊₁ = θₖ + α∇J(θₖ): adaptation on infinitely many episodes.

    Args:
        params: θ₀.
        step_size: α, of J itself (not divided by the horizon).
        steps: K; 0 gives the policy gradient.

    Raises:
        RequestError: as ``exact_return``.
    """
    adaptation = adapt(apply, lambda apply, params, _: -exact_return(mdp, apply, params), sgd(step_size))

    def objective(params: Params) -> Tensor:
        meta = Meta(params, {})
        inner = adaptation.begin(meta)
        for _ in range(steps):
            inner, _ = adaptation.step(meta, inner, ())
        return exact_return(mdp, apply, inner.params)

    gradient, value = grad_and_value(objective)(detach(cast(params, torch.float64)))
    return MetaGradient(value, gradient)


def exact_one_trajectory_meta_gradient(
    mdp: FiniteMDP,
    apply: Apply,
    params: Params,
    inner: Objective,
    step_size: float,
    baseline: Float[Tensor, "s time"] | None = None,
) -> MetaGradient:
    """Return F(θ) = Σ_τ p_θ(τ) J(U(θ, τ)) and its gradient, U being one inner step on the single episode τ.

    U(θ, τ) = θ − α ∇_φ ``inner``(φ, τ) at φ = θ, on the batch that a learner at θ records, its own
    ``log_prob`` included. The gradient is that of F as a function of θ alone,

        ∇F = Σ_τ p_θ(τ) [∇log p_θ(τ) J(U) + (∂U/∂θ)ᵀ ∇J(U)],

    so a move of θ moves the recorded log-probabilities too. It depends on ``inner`` through the gradients
    that a learner steps along, not through how they are written: all inner objectives that have the policy
    gradient at the behaviour policy share F and ∇F. An estimator takes ∂U/∂θ with the recorded
    log-probabilities held. For ``vpg``, which reads none, that is the same, and with the score term (E-MAML)
    it is exact; ``lvc`` and ``dice`` have the dependence of the sampling distribution in ∂U/∂θ already, and
    with the score term count it twice.

    Args:
        params: θ.
        inner: an inner loss of one episode, a mean over its steps, as learners minimise it.
        step_size: α, of that loss.
        baseline: as for ``enumerated``; F depends on it.

    Raises:
        RequestError: as ``enumerated``.
    """
    adaptation = adapt(apply, inner, sgd(step_size))

    def objective(params: Params) -> Tensor:
        batch, probability = _episodes(mdp, apply, params, baseline)  # with the graph: θ is the behaviour
        meta = Meta(params, {})

        def after(batch: Episodes) -> Tensor:
            return exact_return(mdp, apply, adaptation.step(meta, adaptation.begin(meta), batch)[0].params)

        return (probability * vmap(after)(_one_each(batch))).sum()

    gradient, value = grad_and_value(objective)(detach(cast(params, torch.float64)))
    return MetaGradient(value, gradient)


def _log_policy(mdp: FiniteMDP, apply: Apply, params: Params) -> Float[Tensor, "s a"]:
    """Return log π(a|s), with its graph."""
    actions = mdp.reward.shape[1]
    policy = apply(cast(params, torch.float64), torch.eye(len(mdp.start)).to(mdp.start))
    if not (isinstance(policy, Categorical) and policy.logits.shape[-1] == actions):
        of = f" of {policy.logits.shape[-1]}" if isinstance(policy, Categorical) else ""
        output = f"{type(policy).__name__}{of}"
        raise RequestError(f"this MDP needs a Categorical policy over its {actions} actions, got {output}")
    return torch.log_softmax(policy.logits, -1)


def _episodes(
    mdp: FiniteMDP, apply: Apply, params: Params, baseline: Float[Tensor, "s time"] | None
) -> tuple[Episodes, Float[Tensor, " n"]]:
    """Return all trajectories, of weight 1, and their probabilities; these and ``log_prob`` have a graph."""
    wanted = [len(mdp.start), mdp.horizon]
    if baseline is not None and list(baseline.shape) != wanted:
        raise RequestError(f"a baseline needs the shape [state, time] {wanted}, got {list(baseline.shape)}")
    state, action, chance = trajectories(mdp)
    log_prob = _log_policy(mdp, apply, params)[state, action]
    reward, time = mdp.reward[state, action], torch.arange(mdp.horizon).to(state)
    to_go = discounted_returns(reward, torch.ones_like(reward), mdp.gamma)
    expected = 0.0 if baseline is None else baseline.to(reward)[state, time]
    obs = F.one_hot(state, len(mdp.start)).to(reward)
    batch = Episodes(
        obs=obs,
        action=action,
        reward=reward,
        terminated=(time == mdp.horizon - 1).expand(reward.shape).contiguous(),
        truncated=torch.zeros_like(reward, dtype=torch.bool),
        mask=torch.ones_like(reward),
        log_prob=log_prob,
        final_obs=torch.zeros_like(obs[:, 0]),
        advantage=mdp.gamma ** time.to(reward) * (to_go - expected),
        target=to_go,
    )
    return batch, chance * log_prob.sum(-1).exp()


def _one_each(batch: Episodes) -> Episodes:
    """Make the episodes of one batch the tasks of another."""
    return tree_map(lambda x: x.unsqueeze(1), batch)
