"""The LSTM meta-learner: its preprocessing, its cell, its update and where its gradient stops."""

import math

import pytest
import torch
from torch.func import vmap

import reference
from metarl.core.errors import RequestError
from metarl.core.lstm import PRECISION, preprocess
from metarl.core.objectives import vpg
from metarl.core.params import Meta, Params, expand, leaves, ravel, tree_map
from metarl.core.rules import lstm
from metarl.learn.adapt import adapt, unroll
from tiny import close, data, generator, model, randn

PARAMS = {"w": randn(1, 2, 3), "b": randn(2, 2), "s": randn(3, 3)}  # eleven coordinates
SEVERAL = torch.tensor([0.7, 2e-5, 3.0], dtype=torch.float64)  # losses; the second under the threshold


def weights(hidden: int = 3, scale: float = 50.0, seed: int = 0) -> Params:
    """Weights as drawn, but large enough for every path to count, and gates that are not nearly shut."""
    drawn = lstm(hidden).init(PARAMS, generator(seed))
    return {name: x / 4 if name.startswith("b_") else scale * x for name, x in drawn.items()}


def gradients(seed: int) -> Params:
    """Of many sizes: some under the threshold, one exactly 0."""
    grads = {n: randn(seed + i, *p.shape) * 10.0 ** (-2 * i) for i, (n, p) in enumerate(PARAMS.items())}
    grads["b"] = torch.tensor([0.0, -3e-5], dtype=torch.float64)
    return grads


GRADS = [gradients(10), gradients(20), gradients(30)]


def run(learned: Params, params: Params = PARAMS, grads: list[Params] = GRADS) -> list[Params]:
    """The parameters after each step."""
    rule, out = lstm(), []
    memory = rule.begin(learned, params)
    for g, loss in zip(grads, SEVERAL, strict=True):
        params, memory = rule.step(learned, memory, params, g, loss)
        out.append(params)
    return out


def test_preprocessing_by_hand() -> None:
    x = torch.tensor([1, -math.exp(-5), math.exp(20), 0, -math.exp(-12), -math.exp(-10)], dtype=torch.float64)
    # log|x| / 10 down to e^-10 and -1 below; sign x down to e^-10, below e^10 x: -e^-2 for -e^-12
    size, sign = [0, -0.5, 2, -1, -1, -1], [1, -1, 1, 0, -0.135335283, -1]
    close(preprocess(x), torch.tensor([size, sign], dtype=torch.float64), 1e-8)
    close(preprocess(x[1]), preprocess(x)[:, 1])  # a single number: the loss


@pytest.mark.parametrize("side", [1 - 1e-9, 1 + 1e-9])
def test_preprocessing_is_continuous_at_the_threshold(side: float) -> None:
    x = torch.tensor([side, -side], dtype=torch.float64) * math.exp(-PRECISION)
    close(preprocess(x), torch.tensor([[-1, -1], [1, -1]], dtype=torch.float64), 1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_preprocessing_has_finite_derivatives_everywhere(dtype: torch.dtype) -> None:
    x = torch.tensor([0.0, -0.0, 1e-40, -2e-5, 0.5, 1e30, -3e38], dtype=dtype, requires_grad=True)
    size, sign = preprocess(x)
    by_size = torch.autograd.grad(size.sum(), x, retain_graph=True)[0]
    by_sign = torch.autograd.grad(sign.sum(), x)[0]
    assert torch.isfinite(torch.stack([size, sign, by_size, by_sign])).all()
    # below the threshold (0, e^10), above (1 / (10 x), 0)
    close(by_size[[0, 3, 4]], torch.tensor([0, 0, 0.2], dtype=dtype), 1e-6)
    close(by_sign[[0, 3, 4]], torch.tensor([math.exp(10), math.exp(10), 0], dtype=dtype), 1e-6)


def test_two_steps_by_hand() -> None:
    """One unit, one coordinate. The gates of the LSTM are 1/2 throughout, as their weights are 0."""
    f64 = torch.float64
    learned = {
        "lstm.weight_ih": torch.zeros(4, 4, dtype=f64).index_put(
            (torch.tensor([2, 2]), torch.tensor([0, 2])), torch.tensor([2.0, 2.0], dtype=f64)
        ),  # the new value is tanh(2 · size of the loss + 2 · size of the gradient)
        "lstm.weight_hh": torch.zeros(4, 1, dtype=f64),
        "lstm.bias": torch.zeros(4, dtype=f64),
        "W_F": torch.tensor([1.0, 2.0, 3.0], dtype=f64),
        "b_F": torch.tensor(0.5, dtype=f64),
        "W_I": torch.tensor([-1.0, 1.0, 0.5], dtype=f64),
        "b_I": torch.tensor(-1.0, dtype=f64),
    }
    rule, theta = lstm(1), {"x": torch.tensor(0.1, dtype=f64)}
    memory = rule.begin(learned, theta)
    # Step 1: gradient e^-5 -> size -0.5; loss 1 -> size 0.
    #   c = 0.5 tanh(-1) = -0.3807971, h = 0.5 tanh(c) = -0.1816997
    #   f^ = h + 2 (0.1) + 3 (0) + 0.5 = 0.5183003, f = 0.6267502
    #   i^ = -h + 0.1 + 0.5 (0) - 1 = -0.7183003, i = 0.3277674
    #   theta = 0.6267502 (0.1) - 0.3277674 (0.0067379) = 0.0604665
    grad = torch.tensor(math.exp(-5), dtype=f64)
    theta, memory = rule.step(learned, memory, theta, {"x": grad}, torch.ones((), dtype=f64))
    assert [float(memory.cell), float(memory.hidden)] == pytest.approx([-0.3807971, -0.1816997], abs=1e-7)
    assert memory.gates.flatten().tolist() == pytest.approx([0.5183003, -0.7183003], abs=1e-7)
    assert float(theta["x"]) == pytest.approx(0.0604665, abs=1e-7)
    # Step 2: gradient -2 -> size 0.0693147; loss 1 -> size 0.
    #   c = 0.5 (-0.3807971) + 0.5 tanh(0.1386294) = -0.1215245, h = 0.5 tanh(c) = -0.0604649
    #   f^ = h + 2 (0.0604665) + 3 (0.5183003) + 0.5 = 2.1153690, f = 0.8923880
    #   i^ = -h + 0.0604665 + 0.5 (-0.7183003) - 1 = -1.2382187, i = 0.2247462
    #   theta = 0.8923880 (0.0604665) + 0.2247462 (2) = 0.5034520
    theta, memory = rule.step(
        learned, memory, theta, {"x": torch.tensor(-2.0, dtype=f64)}, torch.ones((), dtype=f64)
    )
    assert memory.gates.flatten().tolist() == pytest.approx([2.1153690, -1.2382187], abs=1e-7)
    assert float(theta["x"]) == pytest.approx(0.5034520, abs=1e-7)


def test_three_steps_equal_the_twin_s_coordinate_by_coordinate() -> None:
    learned = weights()
    found = torch.stack([ravel(params) for params in run(learned)])
    for n, theta in enumerate(ravel(PARAMS).tolist()):
        grads = [float(ravel(g)[n]) for g in GRADS]
        slow = reference.lstm_steps(theta, grads, SEVERAL.tolist(), learned)
        close(found[:, n], torch.tensor(slow, dtype=torch.float64), 1e-12)


def test_the_cell_equals_torch_s_with_the_same_weights() -> None:
    learned, rule, params = weights(20, scale=30.0), lstm(), PARAMS
    cell = torch.nn.LSTMCell(4, 20, dtype=torch.float64).requires_grad_(False)
    cell.weight_ih.copy_(learned["lstm.weight_ih"])
    cell.weight_hh.copy_(learned["lstm.weight_hh"])
    cell.bias_ih.copy_(learned["lstm.bias"])
    cell.bias_hh.zero_()
    memory, theirs = rule.begin(learned, params), (torch.zeros(11, 20).double(), torch.zeros(11, 20).double())
    for grads, loss in zip(GRADS, SEVERAL, strict=True):
        params, memory = rule.step(learned, memory, params, grads, loss)
        x = torch.cat([preprocess(loss).expand(11, 2), preprocess(ravel(grads)).T], 1)
        theirs = cell(x, theirs)
        close(memory.hidden.T, theirs[0])
        close(memory.cell.T, theirs[1])


def test_initial_weights_lie_in_the_stated_ranges() -> None:
    draws = [lstm().init(PARAMS, generator(seed)) for seed in range(40)]
    ranges = {"b_F": (4.0, 5.0), "b_I": (-5.0, -4.0)}
    assert {n: tuple(x.shape) for n, x in draws[0].items()} == {
        "lstm.weight_ih": (80, 4),
        "lstm.weight_hh": (80, 20),
        "lstm.bias": (80,),
        "W_F": (22,),
        "b_F": (),
        "W_I": (22,),
        "b_I": (),
    }
    for name in draws[0]:
        low, high = ranges.get(name, (-0.01, 0.01))
        x = torch.stack([draw[name] for draw in draws])
        assert float(x.min()) >= low and float(x.max()) <= high
        # Forty draws leave neither tenth at the ends empty, nor does their mean lie far off.
        assert float(x.min()) < low + 0.1 * (high - low) and float(x.max()) > high - 0.1 * (high - low)
        assert abs(float(x.mean()) - (low + high) / 2) < 0.15 * (high - low)


def test_weights_follow_the_generator_and_the_precision_of_the_parameters() -> None:
    first, other = (lstm(4).init({"x": torch.zeros(2)}, generator(seed)) for seed in (3, 4))
    assert not any(torch.equal(first[n], other[n]) for n in first)
    assert {x.dtype for x in first.values()} == {torch.float32}
    assert {x.dtype for x in lstm(4).init(PARAMS, generator(3)).values()} == {torch.float64}


def test_a_fresh_rule_keeps_almost_all_and_moves_a_little() -> None:
    """f is about 0.99 and i about 0.01, as b_F and b_I say."""
    (first, *_) = run(lstm().init(PARAMS, generator(0)))
    for name, p in first.items():
        assert ((p - 0.989 * PARAMS[name] + 0.011 * GRADS[0][name]).abs() < 0.012).all(), name


def test_permuting_the_coordinates_permutes_the_results() -> None:
    """Weights are shared and state is per coordinate, whichever tensor a coordinate stands in."""
    learned, order = weights(), torch.randperm(11, generator=generator(5))
    flat = {"all": ravel(PARAMS)[order]}
    found = run(learned, flat, [{"all": ravel(g)[order]} for g in GRADS])
    for a, b in zip(found, run(learned), strict=True):
        close(a["all"], ravel(b)[order], 1e-12)


def test_a_coordinate_s_gradient_reaches_that_coordinate_alone() -> None:
    learned, grads = weights(), [dict(g) for g in GRADS]
    grads[0]["s"] = grads[0]["s"] + torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    for step, (before, after) in enumerate(zip(run(learned), run(learned, grads=grads), strict=True)):
        changed = ravel(before) != ravel(after)
        assert changed.nonzero().flatten().tolist() == [9], step


def test_the_loss_reaches_all_coordinates() -> None:
    rule, learned = lstm(), weights()
    memory = rule.begin(learned, PARAMS)
    first, other = (rule.step(learned, memory, PARAMS, GRADS[0], loss)[0] for loss in SEVERAL[[0, 2]])
    assert (ravel(first) != ravel(other)).sum() >= 9  # all but where theta and the gradient are 0


def test_no_gradient_flows_through_the_learner_s_gradients_and_loss() -> None:
    rule, learned = lstm(), weights()
    grads, loss = tree_map(lambda x: x.clone().requires_grad_(), (GRADS[0], SEVERAL[0]))
    out = rule.step(learned, rule.begin(learned, PARAMS), PARAMS, grads, loss)
    assert not any(x.requires_grad for x in leaves(out))


@pytest.mark.parametrize("steps", [1, 3])
def test_so_both_orders_have_one_meta_gradient(steps: int) -> None:
    apply, params = model()
    tasks, learned = data(steps, params), weights()
    found = []
    for order in (1, 2):
        meta = tree_map(lambda x: x.clone().requires_grad_(), Meta(params, learned))
        adapted = unroll(adapt(apply, vpg, lstm(), order), expand(meta, 3), tasks.support).params
        loss = vmap(lambda p, batch: vpg(apply, p, batch))(adapted, tasks.query).sum()
        found.append(torch.autograd.grad(loss, leaves(meta), materialize_grads=True))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert all(bool(g.any()) for g in found[0][-4:])  # the gates learn


def test_the_memory_has_a_row_for_each_coordinate_and_task() -> None:
    rule, meta = lstm(5), expand(Meta(PARAMS, lstm(5).init(PARAMS, generator(0))), 4)
    memory = vmap(rule.begin)(meta.rule, meta.model)
    assert [tuple(x.shape) for x in memory] == [(4, 5, 11), (4, 5, 11), (4, 2, 11)]
    assert not any(bool(x.any()) for x in memory)
    assert len({x.data_ptr() for x in memory}) == 3  # three tensors, which can be stored side by side


def test_no_hidden_unit_is_refused() -> None:
    with pytest.raises(RequestError, match="lstm needs at least 1 hidden unit, not 0"):
        lstm(0)
