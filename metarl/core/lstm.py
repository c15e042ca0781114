"""The LSTM meta-learner's update (Ravi & Larochelle 2017, "Optimization as a model for few-shot learning").

θₜ = fₜ ⊙ θₜ₋₁ − iₜ ⊙ ∇ₜ is the cell of an LSTM whose state is θ, with gates of its own:

  fₜ = σ(f̂ₜ), f̂ₜ = W_F·[hₜ, θₜ₋₁, f̂ₜ₋₁] + b_F
  iₜ = σ(îₜ), îₜ = W_I·[hₜ, θₜ₋₁, îₜ₋₁] + b_I

and hₜ the output of an ordinary LSTM that reads the preprocessed loss and gradient. A gate is fed back before
its sigmoid. Each number is per coordinate, an entry of any parameter; the weights are the same for all.

Coordinates stand in the last axis: a gate of the LSTM is then one contiguous block, which makes the forward
pass twice as fast as with coordinates first.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from metarl.core.params import Params, ravel, unravel

PRECISION = 10.0  # p of the preprocessing


class Memory(NamedTuple):
    """The LSTM's output and cell, and f̂ and î, of each coordinate."""

    hidden: Float[Tensor, "*task hidden coordinate"]
    cell: Float[Tensor, "*task hidden coordinate"]
    gates: Float[Tensor, "*task 2 coordinate"]


def preprocess(x: Float[Tensor, "*b"]) -> Float[Tensor, "feature=2 *b"]:
    """Return size and sign of numbers that span many orders of magnitude (Andrychowicz et al. 2016, app. A).

    x ↦ (log|x| / p, sign x) where |x| > e⁻ᵖ, else (−1, eᵖ x), with p = 10. Continuous, and finite at 0,
    its derivative too.
    """
    large = x.abs() > math.exp(-PRECISION)
    size = torch.where(large, x, 1.0).abs().log() / PRECISION  # no log of 0, not even where it is discarded
    small = torch.where(large, 0.0, x) * math.exp(PRECISION)
    return torch.stack([torch.where(large, size, -1.0), torch.where(large, x.sign(), small)])


def draw_weights(params: Params, generator: torch.Generator, hidden: int) -> Params:
    """Draw weights in the precision of ``params`` from U(±0.01), b_F from U(4, 5) and b_I from U(−5, −4).

    So a fresh rule keeps almost all of θ (f ≈ 0.99) and steps along the gradient with i ≈ 0.01. The LSTM's
    weights are laid out as in ``torch.nn.LSTMCell``, with one bias where that has the sum of two.
    """
    dtype = next(iter(params.values())).dtype

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=dtype).uniform_(low, high, generator=generator)

    return {
        "lstm.weight_ih": uniform(-0.01, 0.01, 4 * hidden, 4),
        "lstm.weight_hh": uniform(-0.01, 0.01, 4 * hidden, hidden),
        "lstm.bias": uniform(-0.01, 0.01, 4 * hidden),
        "W_F": uniform(-0.01, 0.01, hidden + 2),
        "b_F": uniform(4.0, 5.0),
        "W_I": uniform(-0.01, 0.01, hidden + 2),
        "b_I": uniform(-5.0, -4.0),
    }


def blank_memory(weights: Params, params: Params) -> Memory:
    """Return zeros for each coordinate of ``params``."""
    theta, hidden = ravel(params), weights["lstm.weight_hh"].shape[-1]
    return Memory(*(theta.new_zeros(rows, *theta.shape) for rows in (hidden, hidden, 2)))


def lstm_step(
    weights: Params, memory: Memory, params: Params, grads: Params, loss: Float[Tensor, ""]
) -> tuple[Params, Memory]:
    """Return θₜ and the memory of one task; no gradient flows through ``grads`` and ``loss``."""
    theta = ravel(params)
    grad = ravel({name: grads[name] for name in params}).detach()
    hidden, cell = _lstm_cell(weights, memory, grad, loss.detach())
    rows = torch.stack([weights["W_F"], weights["W_I"]])
    on_hidden, on_theta, on_gate = rows.split([hidden.shape[0], 1, 1], -1)
    bias = torch.stack([weights["b_F"], weights["b_I"]]).unsqueeze(-1)
    gates = on_hidden @ hidden + on_theta * theta + on_gate * memory.gates + bias
    keep, move = gates.sigmoid()
    return unravel(keep * theta - move * grad, params), Memory(hidden, cell, gates)


def _lstm_cell(
    weights: Params, memory: Memory, grad: Float[Tensor, " n"], loss: Float[Tensor, ""]
) -> tuple[Float[Tensor, "hidden n"], Float[Tensor, "hidden n"]]:
    """Return output and cell of an LSTM on [loss, gradient] (2 numbers each), for all n coordinates at once.

    ``nn.LSTMCell`` fails under ``vmap``; here it is one matrix product. What bias and loss contribute is the
    same for all coordinates: it is worked out once and enters as the weight of a row of ones.
    """
    on_loss, on_grad = weights["lstm.weight_ih"].split([2, 2], -1)
    same = on_loss @ preprocess(loss) + weights["lstm.bias"]
    weight = torch.cat([same.unsqueeze(-1), on_grad, weights["lstm.weight_hh"]], -1)
    x = torch.cat([torch.ones_like(grad).unsqueeze(0), preprocess(grad), memory.hidden])
    write, keep, new, show = (weight @ x).chunk(4)
    cell = keep.sigmoid() * memory.cell + write.sigmoid() * new.tanh()
    return show.sigmoid() * cell.tanh(), cell
