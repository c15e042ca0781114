"""The contract test of rules: what keeps the contract passes, each way to break it is told in one line."""

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core.params import Params, tree_map
from metarl.core.rules import Rule, adam, lstm, meta_sgd, only, rules, sgd
from metarl.testing import check_rule

Step = Callable[[Params, Any, Params, Params, Tensor], tuple[Params, Any]]
BASE = sgd(0.1)
PROBLEM = {"a": torch.tensor([0.3, -0.7, 0.2], dtype=torch.float64)}


def plain(step: Step, rule: Rule = BASE) -> Rule:
    """A rule with no memory, or with that of ``rule``."""
    return dataclasses.replace(rule, name="mine", step=step)


def elementwise(update: Callable[[Tensor], Tensor]) -> Rule:
    """θ ← θ − 0.1 · update(g)."""
    return plain(
        lambda r, c, params, grads, loss: (tree_map(lambda p, g: p - 0.1 * update(g), params, grads), c)
    )


def momentum(step: Step | None = None) -> Rule:
    """Heavy ball with a learned decay; ``step`` in place of its own."""

    def init(params: Params, generator: torch.Generator) -> Params:
        return {"decay": torch.tensor(0.8), "lr": torch.tensor(0.1)}

    def begin(learned: Params, params: Params) -> Params:
        return {name: torch.zeros_like(p) for name, p in params.items()}

    return Rule("mine", step=step or heavy_ball, begin=begin, init=init)


def heavy_ball(r: Params, v: Params, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Params]:
    new = tree_map(lambda v, g: r["decay"] * v + g, v, grads)
    return tree_map(lambda p, v: p - r["lr"] * v, params, new), new


# What keeps the contract ------------


@pytest.mark.parametrize("name", list(rules))
def test_every_registered_rule_keeps_the_contract(name: str) -> None:
    check_rule(rules[name]())


@pytest.mark.parametrize("rule", [sgd(0.5), adam(0.1), meta_sgd(0.5), lstm(3)], ids=lambda rule: rule.name)
def test_so_it_does_on_a_part_and_on_other_parameters(rule: Rule) -> None:
    check_rule(only(rule, ["body.bias", "head"]))
    check_rule(rule, PROBLEM)


def proximal() -> Rule:
    """A memory that never changes: where the task began."""

    def step(r: Params, start: Params, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Params]:
        return tree_map(lambda p, s, g: p - 0.1 * (g + 0.5 * (p - s)), params, start, grads), start

    return Rule("proximal", step=step, begin=lambda r, params: params)


def clipped(r: Params, c: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
    squares = torch.stack([(g * g).sum() for g in grads.values()]).sum()
    scale = 1 / torch.sqrt(1 + squares)
    return tree_map(lambda p, g: p - 0.1 * scale * g, params, grads), c


def signs(r: Params, c: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
    return tree_map(lambda p, g: p - 0.1 * g.sign() * loss.detach().tanh(), params, grads), c


def counting(r: Params, n: Tensor, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
    return tree_map(lambda p, g: p - 0.1 / (1 + n) * g, params, grads), n + 1


@pytest.mark.parametrize(
    "rule",
    [
        momentum(),
        proximal(),
        plain(clipped),
        plain(signs),
        plain(
            counting, dataclasses.replace(BASE, begin=lambda r, params: torch.zeros((), dtype=torch.int64))
        ),
    ],
    ids=["momentum", "proximal", "clipped", "signs", "counting"],
)
def test_rules_of_other_kinds_keep_it_too(rule: Rule) -> None:
    """Learned numbers, a constant memory, all parameters at once, a step without a slope, whole numbers."""
    check_rule(rule)


@pytest.mark.parametrize("seed", [13, 22])
def test_a_step_across_a_kink_is_not_taken_for_a_wrong_derivative(seed: int) -> None:
    """Here gradients pass through 0 within the differences' first two steps, where Adam's update jumps."""
    check_rule(adam(0.3), {"a": 10 * torch.randn(20, generator=torch.Generator().manual_seed(seed))})


def test_it_leaves_torch_s_global_generator_alone() -> None:
    before = torch.get_rng_state()
    check_rule(BASE)
    assert torch.equal(before, torch.get_rng_state())


# What breaks it ---------------------


def in_place(r: Params, c: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
    for name, p in params.items():
        p.sub_(0.1 * grads[name])
    return params, c


def in_place_in_the_dict(
    r: Params, c: Any, params: Params, grads: Params, loss: Tensor
) -> tuple[Params, Any]:
    for name in params:
        params[name] = params[name] - 0.1 * grads[name]
    return params, c


def in_place_in_the_memory(r: Params, v: Params, params: Params, grads: Params, loss: Tensor) -> Any:
    for name in v:
        v[name].mul_(0.8).add_(grads[name])
    return tree_map(lambda p, v: p - 0.1 * v, params, v), v


def hidden_state() -> Step:
    velocity: Params = {}

    def step(r: Params, c: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
        for name, g in grads.items():
            velocity[name] = 0.9 * velocity.get(name, 0.0) + g.detach()
        return tree_map(lambda p, v: p - 0.1 * v, params, velocity), c

    return step


def noisy(r: Params, c: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
    return tree_map(lambda p, g: p - 0.1 * (g + torch.randn_like(g)), params, grads), c


def noisy_by_itself() -> Step:
    own = random.Random(0)

    def step(r: Params, c: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
        return tree_map(lambda p, g: p - own.random() * g, params, grads), c

    return step


def one_by_one(r: Params, c: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
    """Pairs by position: right as long as parameters and gradients are listed in one order."""
    pairs = zip(params.items(), grads.values(), strict=True)
    return {name: p - 0.1 * g.reshape(-1)[:1].sum() for (name, p), g in pairs}, c


def branching(r: Params, c: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
    lr = 0.1 if loss > 1 else 0.05
    return tree_map(lambda p, g: p - lr * g, params, grads), c


class AverageOfTasks(torch.autograd.Function):
    """The identity for one task; under ``vmap`` the mean over all of them."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor) -> tuple[Tensor, int]:
        return x.movedim(in_dims[0], 0).mean(0, keepdim=True).expand(info.batch_size, *x.shape[1:]), 0


class ClippedByTheLargestTask(AverageOfTasks):
    """Clips at 100; under ``vmap`` by what the largest entry of all tasks asks for."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * (100 / x.abs().max()).clamp(max=1)

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor) -> tuple[Tensor, int]:
        return ClippedByTheLargestTask.forward(x), in_dims[0]


class StepSizeTwice(torch.autograd.Function):
    """0.1 g; the backward pass applies the step size twice."""

    generate_vmap_rule = True

    @staticmethod
    def forward(g: Tensor) -> Tensor:
        return 0.1 * g

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 0.1 * (0.1 * grad)


class DerivedOnce(torch.autograd.Function):
    """tanh, whose backward pass has no derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(g: Tensor) -> Tensor:
        return g.tanh()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return grad.detach() * (1 - y * y)


def detached(*which: str) -> Step:
    """Gradient descent by the learned step size with parts of its arguments cut from the graph."""

    def step(r: Params, c: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
        lr = r["lr"].detach() if "lr" in which else r["lr"]
        scale = 1 + (loss.detach() if "loss" in which else loss)
        start = {n: p.detach() if f"{n}'" in which else p for n, p in params.items()}
        grads = {n: g.detach() if n in which else g for n, g in grads.items()}
        return tree_map(lambda p, g: p - lr * scale * g, start, grads), c

    return step


def truncated(r: Params, v: Params, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Params]:
    return heavy_ball(r, tree_map(lambda x: x.detach(), v), params, grads, loss)


def without_graph(r: Params, c: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
    with torch.no_grad():
        return tree_map(lambda p, g: p - r["lr"] * g, params, grads), c


def learned_rate(step: Step) -> Rule:
    init = momentum().init
    return Rule("mine", step=step, init=init)


def init_by(value: Callable[[Params, torch.Generator], Any]) -> Rule:
    return dataclasses.replace(BASE, name="mine", init=value)


def begin_by(value: Callable[[Params, Params], Any], step: Step | None = None) -> Rule:
    return dataclasses.replace(BASE, name="mine", begin=value, step=step or BASE.step)


BROKEN = {
    "init: a number": (init_by(lambda p, g: {"lr": 0.1}), "init must return a dict of names and floating"),
    "init: nothing": (init_by(lambda p, g: {}), "a rule that learns nothing leaves init out"),
    "init: whole numbers": (init_by(lambda p, g: {"n": torch.tensor(3)}), "init must return a dict"),
    "init: not reproducible": (
        init_by(lambda p, g: {"lr": torch.tensor(random.random())}),
        r"init gives another \['lr'\] for the same state",
    ),
    "init: global generator": (
        init_by(lambda p, g: {"lr": torch.rand(())}),
        "init draws from torch's global",
    ),
    "init: fails": (init_by(lambda p, g: {"lr": p["nothing"]}), "init raises KeyError: 'nothing'"),
    "init: in place": (init_by(lambda p, g: p.pop("head") and {}), "init changes one of its arguments"),
    "params in place": (plain(in_place), "step changes one of its arguments in place"),
    "dict in place": (plain(in_place_in_the_dict), "step changes one of its arguments in place"),
    "memory in place": (momentum(in_place_in_the_memory), "step changes one of its arguments in place"),
    "begin in place": (
        begin_by(lambda r, p: tuple(x.zero_() for x in p.values())),
        "begin changes one of its arguments in place",
    ),
    "hidden state": (plain(hidden_state()), "called again with the same arguments it gives other results"),
    "noise": (plain(noisy), "step draws from torch's global generator"),
    "own noise": (plain(noisy_by_itself()), "called again with the same arguments"),
    "no pair": (plain(lambda r, c, p, g, loss: p), r"step must return \(params, memory\)"),
    "parameter lost": (
        plain(lambda r, c, p, g, loss: ({"head": p["head"]}, c)),
        r"step makes \(\['head'\] float32 \[\]\) of the parameters \(\['body.weight'\] float32 \[3, 2\]",
    ),
    "shape": (
        plain(lambda r, c, p, g, loss: (tree_map(lambda p, g: (p - g).reshape(-1), p, g), c)),
        r"step makes \(\['body.weight'\] float32 \[6\], .* of the parameters",
    ),
    "float32 inside": (
        elementwise(lambda g: 3 * (0.7 * g.float()).to(g.dtype)),
        r"the meta-gradient \(order 2, 1 steps\) is wrong for \.model",
    ),
    "float32 parameters": (
        plain(lambda r, c, p, g, loss: (tree_map(lambda p, g: p.float() - g.float(), p, g), c)),
        r"step makes \(\['body.weight'\] float32 \[3, 2\].* of the parameters \(\['body.weight'\] float64",
    ),
    "rounds": (
        plain(lambda r, c, p, g, loss: (tree_map(lambda p, g: (p - 0.1 * g).float().to(p), p, g), c)),
        "step rounds body.weight to float32",
    ),
    "memory in float32": (
        begin_by(lambda r, p: torch.ones(()), lambda r, c, p, g, loss: (p, c)),
        "the memory is kept in torch.float32 where parameters are in torch.float64",
    ),
    "number in the memory": (begin_by(lambda r, p: 0), "the memory holds a int, only tensors"),
    "nothing in the memory": (begin_by(lambda r, p: {"v": None}), "the memory holds a NoneType"),
    "memory dropped": (
        momentum(lambda r, v, p, g, loss: (heavy_ball(r, v, p, g, loss)[0], ())),
        r"step makes \(\) of the memory \(\['body.weight'\]",
    ),
    "memory grows": (
        begin_by(lambda r, p: p["head"][None], lambda r, c, p, g, loss: (p, torch.cat([c, c]))),
        r"step makes \(float32 \[2\]\) of the memory \(float32 \[1\]\)",
    ),
    "memory not carried on": (
        momentum(lambda r, v, p, g, loss: (heavy_ball(r, v, p, g, loss)[0], v)),
        "the memory stays as begin makes it, all zeros",
    ),
    "memory not read": (
        momentum(lambda r, v, p, g, loss: heavy_ball(r, tree_map(torch.zeros_like, v), p, g, loss)),
        "step does not read the memory",
    ),
    "by position": (plain(one_by_one), r"the order in which parameters are listed changes \['body.weight'\]"),
    "branch": (plain(branching), "under vmap raises RuntimeError: .*data-dependent"),
    "average of tasks": (
        elementwise(lambda g: AverageOfTasks.apply(g)),
        r"under vmap a task gets another \.params\['body.weight'\] than alone",
    ),
    "clipped by others": (
        elementwise(lambda g: ClippedByTheLargestTask.apply(g)),
        r"a huge gradient of one task changes \.params\['body.weight'\] of another",
    ),
    "no number": (elementwise(torch.log), "ordinary gradients give numbers that are not finite"),
    "0 / 0": (elementwise(lambda g: g / g.abs()), "zero gradients give numbers that are not finite"),
    "sqrt at 0": (
        elementwise(lambda g: g / ((g * g).sqrt() + 1e-8)),
        "zero gradients give derivatives that are not finite",
    ),
    "overflow": (elementwise(torch.sinh), "huge gradients give numbers that are not finite"),
    "overflow of a slope": (
        elementwise(lambda g: 1 / (1 + g**6)),
        "huge gradients give derivatives that are not finite",
    ),
    "step size twice": (
        elementwise(lambda g: 10 * StepSizeTwice.apply(g)),
        r"the meta-gradient \(order 2, 1 steps\) is wrong for \.model\['body.weight'\]",
    ),
    "derived once": (
        elementwise(lambda g: DerivedOnce.apply(g)),
        r"the derivative of step cannot be differentiated once more",
    ),
    "rule's number detached": (
        learned_rate(detached("lr")),
        r"the meta-gradient \(order 1, 1 steps\) is wrong for \.rule\['lr'\]: .* it is 0,",
    ),
    "parameters detached": (
        learned_rate(detached("body.bias'")),
        r"the meta-gradient \(order 1, 1 steps\) is wrong for \.model\['body.bias'\]",
    ),
    "gradient detached in part": (learned_rate(detached("head")), r"the meta-gradient \(order 2, 1 steps\)"),
    "loss alone detached": (learned_rate(detached("loss")), r"the meta-gradient \(order 2, 1 steps\)"),
    "memory detached": (
        momentum(truncated),
        r"the meta-gradient \(order 1, 3 steps\) is wrong for \.rule\['decay'\]",
    ),
    "no_grad": (learned_rate(without_graph), r"the meta-gradient \(order 1, 1 steps\) is wrong for \.model"),
}


@pytest.mark.parametrize("how", list(BROKEN))
def test_a_rule_broken_on_purpose_is_told_in_one_line(how: str) -> None:
    rule, words = BROKEN[how]
    with pytest.raises(AssertionError, match=words) as caught:
        check_rule(rule)
    line = str(caught.value)
    assert line.startswith(f"rule {rule.name!r}: ") and "\n" not in line and len(line) < 400


def test_what_the_broken_ones_are_made_of_is_sound() -> None:
    """So each of them fails for what was broken alone."""
    check_rule(learned_rate(detached()))
    check_rule(learned_rate(detached("loss", "body.weight", "body.bias", "head")))  # all of it stopped
    check_rule(elementwise(torch.tanh))
