"""Objectives against the slow twin and by hand, and what an average over steps must and must not see."""

import dataclasses
import functools
import math
from typing import Any

import pytest
import torch

import reference
from metarl.core.batch import Episodes, Shots
from metarl.core.objectives import clipped, cross_entropy, dice, mse, objectives, surrogate, vpg
from tiny import close, close_params, episodes, model, one, predictor, shots

KINDS = ["gaussian", "categorical", "choices"]
OF_EPISODES = [name for name in objectives if objectives.facts(name).of == "episodes"]
# Objectives with the second derivatives of another where the batch was collected.
TWINS = {"a2c": "vpg", "ppo": "lvc", "surrogate": "lvc"}
CLIP = 0.05  # the behaviour policy of the tiny episodes is nearer than usual
OBJECTIVES = [
    (vpg, reference.vpg),
    (surrogate, reference.surrogate),
    (dice, reference.dice),
    (clipped(CLIP), functools.partial(reference.clipped, clip=CLIP)),
]


def gradient(loss: Any, params: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    theta = reference.leaves(params)
    return dict(zip(theta, torch.autograd.grad(loss(theta), list(theta.values())), strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("fast", "slow"), OBJECTIVES)
def test_value_and_gradient_equal_the_twin(kind: str, fast: Any, slow: Any) -> None:
    apply, params = model(kind)
    for task in range(3):
        batch = one(episodes(1, params, kind), task)
        close(fast(apply, params, batch), slow(params, batch))
        grad = gradient(lambda p, b=batch: fast(apply, p, b), params)
        close_params(grad, gradient(lambda p, b=batch: slow(p, b), params))


@pytest.mark.parametrize(("fast", "slow"), OBJECTIVES)
def test_vmap_over_tasks_equals_a_loop(fast: Any, slow: Any) -> None:
    apply, params = model()
    batch = episodes(1, params)
    together = torch.vmap(lambda b: fast(apply, params, b))(batch)
    close(together, torch.stack([slow(params, one(batch, i)) for i in range(3)]))


def test_a_ratio_that_overflows_in_the_padding_has_no_say() -> None:
    """Nothing promises that the recorded log-probability is sensible where no step happened."""
    apply, params = model()
    batch = one(episodes(1, params), 1)
    odd = dataclasses.replace(batch, log_prob=torch.where(batch.mask > 0, batch.log_prob, -1000.0))
    close(surrogate(apply, params, odd), surrogate(apply, params, batch))
    close_params(*(gradient(lambda p, b=b: surrogate(apply, p, b), params) for b in (odd, batch)))


def on_policy(params: dict[str, torch.Tensor], kind: str = "gaussian") -> Episodes:
    batch = one(episodes(1, params, kind), 0)
    log_prob = reference.log_prob(reference.policy(params, batch.obs), batch.action)
    return dataclasses.replace(batch, log_prob=log_prob)


def test_ratio_is_one_also_for_actions_outside_the_action_space() -> None:
    apply, params = model()
    batch = on_policy(params)
    far = dataclasses.replace(batch, action=5 * batch.action)  # as drawn: nothing is clipped to +-1
    far = dataclasses.replace(far, log_prob=apply(params, far.obs).log_prob(far.action))
    unit = dataclasses.replace(far, advantage=torch.ones_like(far.advantage))
    assert float(surrogate(apply, params, unit)) == -1.0


@pytest.mark.parametrize("objective", [vpg, surrogate])
def test_each_step_counts_once_whatever_its_episode(objective: Any) -> None:
    """One batch of a short and a long episode equals the same steps laid out as one long episode."""
    apply, params = model()
    batch = one(episodes(1, params), 1)  # episodes of 1 and 4 steps
    flat = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch) if f.name != "success"}
    # (2, 4) -> (1, 8); the mask then has holes, which a mean over steps does not mind.
    flat = {n: x if n == "final_obs" else x.reshape(1, 8, *x.shape[2:]) for n, x in flat.items()}
    close(objective(apply, params, Episodes(**flat)), objective(apply, params, batch))
    ones = dataclasses.replace(batch, advantage=torch.zeros_like(batch.advantage))
    ones.advantage[0, 0] = 1.0  # the one step of the short episode: 1 of 5 steps, not half of the batch
    expected = apply(params, batch.obs[0, 0]).log_prob(batch.action[0, 0])
    expected = expected if objective is vpg else (expected - batch.log_prob[0, 0]).exp()
    close(objective(apply, params, ones), -expected / 5)


# All of them, and whether their facts are true


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OF_EPISODES)
def test_where_the_batch_was_collected_each_is_the_policy_gradient(name: str, kind: str) -> None:
    """Second derivatives, which a meta-gradient of order 2 sees, are those of vpg or not as the facts say."""
    (apply, params), objective = model(kind), objectives[name]
    batch = on_policy(params, kind)
    ours, plain = (gradient(lambda p, o=o: o(apply, p, batch), params) for o in (objective, vpg))
    close_params(ours, plain)
    good = dataclasses.replace(batch, advantage=torch.ones_like(batch.advantage))
    along = gradient(lambda p: objective(apply, p, good), params)
    new = {n: p - 0.01 * along[n] for n, p in params.items()}
    gained = apply(new, batch.obs).log_prob(batch.action) - apply(params, batch.obs).log_prob(batch.action)
    assert float((gained * batch.mask).sum()) > 0

    def hessian_product(objective: Any) -> torch.Tensor:
        theta = reference.leaves(params)
        grads = torch.autograd.grad(objective(apply, theta, batch), list(theta.values()), create_graph=True)
        total = torch.stack([g.sum() for g in grads]).sum()
        again = torch.autograd.grad(total, list(theta.values()), materialize_grads=True)
        return torch.cat([g.reshape(-1) for g in again])

    apart = {
        other: (hessian_product(objective) - hessian_product(objectives[other])).norm() > 1e-2
        for other in ("vpg", "lvc", "dice")
    }
    assert bool(apart["vpg"]) is objectives.facts(name).second_order
    assert not apart[TWINS.get(name, name)] and sum(map(bool, apart.values())) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OF_EPISODES)
def test_padding_has_no_say_and_single_steps_make_up_an_average(name: str, kind: str) -> None:
    """Only an objective that averages steps is the mean of what it is on each of them alone."""
    (apply, params), objective, facts = model(kind), objectives[name], objectives.facts(name)
    batch = one(episodes(1, params, kind), 1)  # episodes of 1 and 4 steps
    noise = {
        field: getattr(batch, field)
        + 3 * (1 - batch.mask).reshape(2, 4, *[1] * (getattr(batch, field).ndim - 2))
        for field in ("obs", "reward", "log_prob", "advantage")
    }
    noisy = dataclasses.replace(batch, **noise)
    close(objective(apply, params, noisy), objective(apply, params, batch))
    close_params(*(gradient(lambda p, b=b: objective(apply, p, b), params) for b in (noisy, batch)))
    single = []
    for place in batch.mask.nonzero().tolist():
        mask = torch.zeros_like(batch.mask)
        mask[tuple(place)] = 1
        single.append(objective(apply, params, dataclasses.replace(batch, mask=mask)))
    apart = float((torch.stack(single).mean() - objective(apply, params, batch)).abs())
    assert (apart < 1e-12) is facts.averages_steps
    recorded = dataclasses.replace(batch, log_prob=batch.log_prob - 0.1)
    reads_ratio = not torch.equal(objective(apply, params, recorded), objective(apply, params, batch))
    assert reads_ratio is not facts.on_policy  # without a ratio, nothing is right for another policy


def test_what_each_reads() -> None:
    read = {name: objectives.facts(name).of for name in objectives}
    assert {name for name, of in read.items() if of == "examples"} == {"cross-entropy", "mse"}
    assert None not in read.values()
    assert [name for name in objectives if objectives.facts(name).needs_critic] == ["a2c"]
    assert {name: n for name in objectives if (n := objectives.facts(name).inner_epochs) > 1} == {"ppo": 3}


def test_the_surrogate_at_the_behaviour_policy_is_the_mean_advantage() -> None:
    apply, params = model()
    batch = on_policy(params)
    close(surrogate(apply, params, batch), -batch.advantage[batch.mask > 0].mean())


def test_clipping_by_hand() -> None:
    # Ratios 1.5 and 0.5 with advantages of either sign, range 0.2. Advantage 2: min(3, 2.4) = 2.4 and
    # min(1, 1.6) = 1. Advantage -2: min(-3, -2.4) = -3 and min(-1, -1.6) = -1.6.
    ratio = torch.tensor([[1.5, 0.5, 1.5, 0.5]], dtype=torch.float64)
    advantage = torch.tensor([[2.0, 2.0, -2.0, -2.0]], dtype=torch.float64)
    apply, params = model("categorical")
    batch = one(episodes(1, params, "categorical"), 0)
    names = [f.name for f in dataclasses.fields(batch) if f.name != "success"]
    fields = {name: getattr(batch, name)[:1] for name in names}
    ones = torch.ones_like(fields["mask"])
    row = Episodes(**{**fields, "mask": ones, "advantage": advantage})
    row = dataclasses.replace(row, log_prob=apply(params, row.obs).log_prob(row.action) - ratio.log())
    close(clipped(0.2)(apply, params, row), torch.tensor(-(2.4 + 1.0 - 3.0 - 1.6) / 4, dtype=torch.float64))


# Labelled examples -------------------------------------------------------------------------------


def itself(params: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The network whose outputs are its inputs, scaled."""
    return params["scale"] * x


UNIT = {"scale": torch.tensor(1.0, dtype=torch.float64)}


def test_mean_squared_error_by_hand() -> None:
    # Errors 1, 2, 0 and 3 of two shots with two outputs each: (1 + 4 + 0 + 9) / 4. A sum over outputs would
    # give 7; the gradient with respect to the scale is the mean of 2 · error · x = (2·2 + 4·3 + 0 + 6·4) / 4.
    x = torch.tensor([[2.0, 3.0], [5.0, 4.0]], dtype=torch.float64)
    y = torch.tensor([[1.0, 1.0], [5.0, 1.0]], dtype=torch.float64)
    assert float(mse(itself, UNIT, Shots(x, y))) == 14 / 4
    assert float(gradient(lambda p: mse(itself, p, Shots(x, y)), UNIT)["scale"]) == 40 / 4
    single = Shots(x[:1, :1], y[:1, :1])
    assert float(mse(itself, UNIT, single)) == 1.0


def test_cross_entropy_by_hand() -> None:
    # Logits (0, ln 3) are probabilities (1/4, 3/4). Labels 1 and 0: −ln 3/4 and −ln 1/4, on average
    # (2 ln 4 − ln 3) / 2; the derivative by the logits is (probability − 1 where the label is) / 2 shots.
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)]], dtype=torch.float64)
    labels = torch.tensor([1, 0])
    found = cross_entropy(itself, UNIT, Shots(logits, labels))
    assert float(found) == pytest.approx((2 * math.log(4) - math.log(3)) / 2, rel=1e-15)
    moving = logits.clone().requires_grad_()
    (grad,) = torch.autograd.grad(cross_entropy(itself, UNIT, Shots(moving, labels)), moving)
    close(grad, torch.tensor([[0.25, -0.25], [-0.75, 0.75]], dtype=torch.float64) / 2, 1e-15)
    # The same logits plus a constant are the same network, however large: nothing overflows.
    close(cross_entropy(itself, UNIT, Shots(logits + 1e4, labels)), found, 1e-10)


@pytest.mark.parametrize("name", ["mse", "cross-entropy"])
def test_vmap_over_tasks_of_examples_equals_a_loop(name: str) -> None:
    apply, params = predictor()
    batch = shots(1, name)
    together = torch.vmap(lambda b: objectives[name](apply, params, b))(batch)
    assert together.shape == (3,)
    close(together, torch.stack([objectives[name](apply, params, one(batch, i)) for i in range(3)]), 1e-14)
    assert len(set(together.tolist())) == 3
