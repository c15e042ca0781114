"""The inner rules as plain updates."""

import pytest
import torch
from torch import Tensor

import reference
from metarl.core.errors import RequestError
from metarl.core.rules import rules, sgd
from tiny import close_params, generator, model, randn

LOSS = torch.zeros((), dtype=torch.float64)


def gradients(seed: int) -> dict[str, Tensor]:
    return {name: randn(seed + i, *p.shape) for i, (name, p) in enumerate(model()[1].items())}


def test_sgd_moves_by_the_step_size_times_the_gradient() -> None:
    _, params = model()
    grads = gradients(50)
    new, carry = sgd(0.25).step({}, (), params, grads, LOSS)
    assert carry == ()
    close_params({n: new[n] - params[n] for n in params}, {n: -0.25 * grads[n] for n in params})


def test_sgd_equals_torch_over_three_steps() -> None:
    rule, params = sgd(0.1), model()[1]
    theirs = reference.leaves(params)
    optimiser = torch.optim.SGD(list(theirs.values()), lr=0.1)
    carry = rule.begin({}, params)
    for k in range(3):
        grads = gradients(10 * k)
        params, carry = rule.step({}, carry, params, grads, LOSS)
        for name, p in theirs.items():
            p.grad = grads[name]
        optimiser.step()
    close_params(params, {name: p.detach() for name, p in theirs.items()})


def test_sgd_learns_nothing_itself_and_changes_nothing_in_place() -> None:
    rule, params = rules["sgd"](0.1), model()[1]
    before, grads = {n: p.clone() for n, p in params.items()}, gradients(50)
    assert rule.name == "sgd"
    assert rule.init(params, generator(0)) == {}
    assert rule.begin({}, params) == ()
    rule.step({}, (), params, grads, LOSS)
    close_params(params, before)
    close_params(grads, gradients(50))


def test_sgd_passes_gradients_on_to_both_parameters_and_gradient() -> None:
    p, g = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    new, _ = sgd(0.5).step({}, (), {"x": p}, {"x": g}, LOSS)
    assert [float(x) for x in torch.autograd.grad(new["x"], [p, g])] == [1.0, -0.5]


def test_an_unknown_rule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"unknown rule 'sgdd'; allowed: .*sgd"):
        rules["sgdd"]
