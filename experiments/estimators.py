"""Estimators of the inner objective on MDPs whose truth is known: bias and deviation against batch size.

    .venv/bin/python experiments/estimators.py

Two states, three actions, a tanh network of four hidden units, one SGD step; these tables are those of
tests/testing/test_exact.py. Adapted parameters are judged by the exact return, so that nothing but the
support batch is sampled. Prints Markdown tables and writes docs/figures/estimators.svg.

Bias is |mean − truth| / |truth| of the meta-gradient, deviation √(summed variance) / |truth|. The mean has a
control variate. A sampled batch is the enumerated one with other weights, so the estimate is a function f of
weights w whose mean are the probabilities p; Df(p)(w − p) has mean 0, and subtracting it leaves an error of
order 1/N, not 1/√N. That is what makes a bias visible which is itself of order 1/N.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from torch import Tensor
from torch.func import grad, jacrev, vmap

from metarl.core.models import MLP, initial_params, policy
from metarl.core.objectives import Objective, dice, lvc, vpg
from metarl.core.params import Meta, Params, ravel, tree_map
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
)

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "estimators.svg"
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
EPISODES = 200_000  # drawn for each N: 200,000 / N repetitions, within the limits below
REPETITIONS = (1000, 20_000)
STEP_SIZES = {2: 0.7, 5: 0.2}  # of J itself, by horizon
Estimator = tuple[Objective, int]  # the inner objective, and the order of the derivative
ESTIMATORS: dict[str, Estimator] = {"vpg": (vpg, 2), "lvc": (lvc, 2), "dice": (dice, 2), "fomaml": (vpg, 1)}
COLOURS = {"vpg": "#d55e00", "lvc": "#0072b2", "dice": "#009e73", "fomaml": "#888888"}
MARKERS = {"vpg": "s", "lvc": "^", "dice": "o", "fomaml": "x"}


def randn(seed: int, *shape: int) -> Tensor:
    """The tests' numbers of that seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


NETWORK = MLP(2, (4,), 3).double()
APPLY = policy(NETWORK)
THETA = {name: 0.5 * randn(i, *p.shape) for i, (name, p) in enumerate(initial_params(NETWORK).items())}


class Measured(NamedTuple):
    """Errors of one estimator at one batch size, relative to the true gradient's norm."""

    bias: float
    error: float  # standard error of the bias
    deviation: float


def mdp(horizon: int) -> FiniteMDP:
    """The tests' two states and three actions."""
    start = torch.softmax(randn(1, 2), -1)
    return FiniteMDP(start, torch.softmax(randn(2, 2, 3, 2), -1), 2 * randn(3, 2, 3), horizon)


def values(task: FiniteMDP) -> Tensor:
    """V(s, t) of the policy at θ, which serves as the baseline."""
    chosen = APPLY(THETA, torch.eye(2, dtype=torch.float64)).logits.softmax(-1).detach()
    value = [torch.zeros(2, dtype=torch.float64)]
    for _ in range(task.horizon):
        value.insert(0, (chosen * (task.reward + task.transition @ value[0])).sum(-1))
    return torch.stack(value[:-1], -1)


def adapted_return(
    task: FiniteMDP, estimator: Estimator, step_size: float, params: Params, batch: Any
) -> Tensor:
    """J after one inner step on the mean over the steps of ``batch``."""
    objective, order = estimator
    adaptation, meta = adapt(APPLY, objective, sgd(step_size), order), Meta(params, {})
    return exact_return(task, APPLY, adaptation.step(meta, adaptation.begin(meta), batch)[0].params)


def estimate(task: FiniteMDP, estimator: Estimator, batch: Any) -> Tensor:
    """The meta-gradient that a learner takes from one support batch."""
    step_size = STEP_SIZES[task.horizon] * task.horizon  # the loss is a mean over steps, J a sum
    return ravel(grad(lambda params: adapted_return(task, estimator, step_size, params, batch))(THETA))


def weighted(batch: Any, weights: Tensor) -> Any:
    """The same episodes with other weights, whose sum is 1."""
    return dataclasses.replace(batch, mask=weights[:, None].expand(batch.mask.shape))


def truth(task: FiniteMDP) -> Tensor:
    """∇J(θ + α∇J(θ))."""
    return ravel(exact_meta_gradient(task, APPLY, THETA, STEP_SIZES[task.horizon]).gradient)


def limit(task: FiniteMDP, estimator: Estimator, baseline: Tensor | None) -> float:
    """The bias on infinitely many episodes."""
    exact = truth(task)
    found = estimate(task, estimator, enumerated(task, APPLY, THETA, baseline)[0])
    return float((found - exact).norm() / exact.norm())


def sampled(task: FiniteMDP, estimator: Estimator, baseline: Tensor) -> list[Measured]:
    """Bias and deviation for each batch size; all estimators see the same batches."""
    exact = truth(task)
    every, probability = enumerated(task, APPLY, THETA, baseline)
    slope = jacrev(lambda w: estimate(task, estimator, weighted(every, w)))(probability).T  # "n param"
    ones = dataclasses.replace(every, mask=torch.ones_like(every.mask))
    generator = torch.Generator().manual_seed(0)
    found = []

    def on(rows: Tensor) -> Tensor:
        return estimate(task, estimator, tree_map(lambda x: x[rows], ones))

    for n in SIZES:
        repetitions = min(max(EPISODES // n, REPETITIONS[0]), REPETITIONS[1])
        index = torch.multinomial(probability, repetitions * n, replacement=True, generator=generator)
        index = index.view(repetitions, n)
        estimates = torch.cat([vmap(on)(part) for part in index.split(20_000 // n)])
        rest = estimates - slope[index].mean(1) + probability @ slope
        squared_error = rest.var(0).sum() / repetitions
        squared_bias = (rest.mean(0) - exact).square().sum() - squared_error  # noise adds to a distance
        numbers = (squared_bias.clamp(min=0), squared_error, estimates.var(0).sum())
        found.append(Measured(*(float(x.sqrt() / exact.norm()) for x in numbers)))
    return found


def one_trajectory(task: FiniteMDP, baseline: Tensor) -> list[str]:
    """Rows for the gradient of E_τ J(U(θ, τ)): means over all one-trajectory batches, without sampling."""
    step_size = STEP_SIZES[task.horizon] * task.horizon
    value, gradient = exact_one_trajectory_meta_gradient(task, APPLY, THETA, vpg, step_size, baseline)
    exact = ravel(gradient)
    batches, probability = one_by_one(task, APPLY, THETA, baseline)

    def of_each(name: str, score: bool, credited_from: Tensor | float) -> Tensor:
        def both(params: Params, batch: Any) -> Tensor:
            after = adapted_return(task, ESTIMATORS[name], step_size, params, batch)
            credit = after.detach() - credited_from
            return after - (exploration(APPLY, params, batch, credit) if score else 0.0)

        found: Tensor = vmap(lambda batch: ravel(grad(both)(THETA, batch)))(batches)
        return found

    rows = []
    for title, name, score, credited_from in (
        ("vpg", "vpg", False, 0.0),
        ("vpg + score, credit J(U)", "vpg", True, 0.0),
        ("vpg + score, credit J(U) − E J(U)", "vpg", True, value),
        ("lvc + score, credit J(U) − E J(U)", "lvc", True, value),
        ("dice + score, credit J(U) − E J(U)", "dice", True, value),
        ("lvc", "lvc", False, 0.0),
        ("dice", "dice", False, 0.0),
    ):
        gradients = of_each(name, score, credited_from)
        mean = probability @ gradients
        variance = (probability @ (gradients - mean).square()).sum()
        bias, deviation = (mean - exact).norm() / exact.norm(), variance.sqrt() / exact.norm()
        rows.append(f"| {task.horizon} | {title} | {bias:.2g} | {deviation:.2g} |")
    return rows


def draw(found: dict[int, dict[str, list[Measured]]], limits: dict[int, dict[str, float]]) -> Figure:
    """Rows are horizons, columns bias and deviation. A bias below three standard errors is left out."""
    figure = Figure(figsize=(8.4, 6.0), layout="constrained", facecolor="white")
    panels = figure.subplots(len(found), 2, sharex=True, sharey="col")
    for (horizon, estimators), (left, right) in zip(found.items(), panels, strict=True):
        for name, measured in estimators.items():
            look = {"color": COLOURS[name], "marker": MARKERS[name], "markersize": 5, "linewidth": 1.5}
            seen = [m.bias if m.bias > 3 * m.error else float("nan") for m in measured]
            left.plot(SIZES, seen, label=name, **look)
            right.plot(SIZES, [m.deviation for m in measured], label=name, **look)
            if limits[horizon][name] > 1e-9:
                left.axhline(limits[horizon][name], color=COLOURS[name], linewidth=0.8, linestyle=":")
        left.set_title(f"bias, horizon {horizon}", loc="left")
        right.set_title(f"standard deviation, horizon {horizon}", loc="left")
        for axes in (left, right):
            axes.set(xscale="log", yscale="log")
            axes.grid(color="#e4e4e4", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    for axes in panels[-1]:
        axes.set_xlabel("episodes in the support batch, N")
    for axes in panels[:, 0]:
        axes.set_ylabel("share of the true gradient's norm")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
    return figure


def main() -> None:
    """Measure, print the tables, draw the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=FIGURE, help="the figure; .svg or .png")
    path = parser.parse_args().out
    torch.set_num_threads(1)
    found: dict[int, dict[str, list[Measured]]] = {}
    limits: dict[int, dict[str, float]] = {}

    print("Bias / deviation, with the value function as the baseline. Infinitely many are exact.\n")
    print("| horizon | estimator |", *(f"N = {n} |" for n in SIZES), "∞ | ∞, no baseline |")
    print("|---" * (len(SIZES) + 4) + "|")
    for horizon in STEP_SIZES:
        task = mdp(horizon)
        baseline = values(task)
        found[horizon] = {name: sampled(task, e, baseline) for name, e in ESTIMATORS.items()}
        limits[horizon] = {name: limit(task, e, baseline) for name, e in ESTIMATORS.items()}
        for name, e in ESTIMATORS.items():
            cells = [f"{m.bias:.2g} / {m.deviation:.2g}" for m in found[horizon][name]]
            ends = [f"{x:.2g}" for x in (limits[horizon][name], limit(task, e, None))]
            print(f"| {horizon} | {name} |", " | ".join(cells + ends), "|")
    errors = [m.error / m.bias for each in found.values() for row in each.values() for m in row if m.bias]
    print(f"\nStandard errors of the biases: up to {100 * max(errors):.0f} % of the bias.")

    print("\nOne trajectory, the same step sizes, against the gradient of E J(U); exact averages.\n")
    print("| horizon | estimator | bias | deviation |\n|---|---|---|---|")
    for horizon in STEP_SIZES:
        print(*one_trajectory(mdp(horizon), values(mdp(horizon))), sep="\n")

    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "estimators", "font.size": 10, "axes.titlesize": 10}):
        vector = path.suffix == ".svg"
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type")) if vector else None
        draw(found, limits).savefig(path, metadata=nothing, dpi=110)
    if vector:
        path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines()))


if __name__ == "__main__":
    main()
