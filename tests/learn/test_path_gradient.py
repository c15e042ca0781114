"""The gradient of the path is that of the whole unrolled loop; one step of its graph is held at a time."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import vmap
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from metarl.core.batch import Shots
from metarl.core.objectives import mse, surrogate, vpg
from metarl.core.params import Meta, Params, expand, leaves, tree_map
from metarl.core.rules import Rule, adam, lstm, meta_sgd, only, sgd
from metarl.learn.adapt import Adaptation, adapt, begin_tasks, step_tasks, unroll
from metarl.learn.path_gradient import path_gradient
from tiny import close_params, data, generator, lessons, model, momentum, one, predictor, randn

Loss = Callable[[Params], Tensor]
NUMBERS = {"lr": torch.tensor(0.2, dtype=torch.float64), "beta": torch.tensor(0.7, dtype=torch.float64)}


def counting() -> Rule:
    """Plain descent whose steps shrink: its memory is a whole number, which has no derivative."""

    def step(rule: Params, carry: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
        return tree_map(lambda p, g: p - 0.3 * g / (1 + carry), params, grads), carry + 1

    def begin(rule: Params, params: Params) -> Any:
        return torch.zeros((), dtype=torch.int64)

    return Rule("counting", step=step, begin=begin)


RULES = {
    "sgd": lambda: sgd(0.3),
    "momentum": momentum,
    "counting": counting,
    "adam": lambda: adam(0.1),
    "meta-sgd": lambda: meta_sgd(0.3),
    "lstm": lambda: lstm(3),
    "head": lambda: only(sgd(0.3), ["2.weight", "2.bias"]),
}


def started(rule: Rule, params: Params) -> Meta:
    """The meta-parameters of each of three tasks, all different: a mix-up between tasks would show."""
    learned = NUMBERS if rule.name == "momentum" else rule.init(params, generator(3))
    each = expand(Meta(params, learned), 3)
    return tree_map(lambda x: x + 0.1 * randn(x.numel(), *x.shape), each)


def query_loss(apply: Any, objective: Any, query: Any) -> Loss:
    return lambda params: vmap(functools.partial(objective, apply))(params, query)


def through_the_whole_loop(
    adaptation: Adaptation, meta: Meta, support: Sequence[Any], loss: Loss
) -> tuple[Tensor, Meta]:
    """Loss and gradient by one backward pass over one graph."""
    meta = tree_map(lambda x: x.detach().requires_grad_(), meta)
    losses = loss(unroll(adaptation, meta, support).params)
    grads = torch.autograd.grad(losses.sum(), leaves(meta), materialize_grads=True)
    return losses.detach(), pytree.tree_unflatten(grads, pytree.tree_structure(meta))


def equal(a: Any, b: Any) -> None:
    for x, y in zip(leaves(a), leaves(b), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize("name", RULES)
def test_the_gradient_is_that_of_the_whole_loop(name: str, steps: int, order: int) -> None:
    apply, params = predictor()
    rule, tasks = RULES[name](), lessons(steps)
    adaptation, meta = adapt(apply, mse, rule, order), started(rule, params)
    loss = query_loss(apply, mse, tasks.query)
    found = path_gradient(adaptation, meta, tasks.support, loss)
    losses, grad = through_the_whole_loop(adaptation, meta, tasks.support, loss)
    equal(found.loss, losses)
    equal(found.grad, grad)
    assert all(bool(x.any()) for x in leaves(found.grad.model))


@pytest.mark.parametrize("steps", [1, 3])
def test_it_is_so_for_policies_too(steps: int) -> None:
    apply, params = model()
    tasks, rule = data(steps, params), momentum()
    adaptation, meta = adapt(apply, vpg, rule), started(rule, params)
    loss = query_loss(apply, surrogate, tasks.query)
    found = path_gradient(adaptation, meta, tasks.support, loss)
    equal(found.grad, through_the_whole_loop(adaptation, meta, tasks.support, loss)[1])
    assert bool(found.grad.rule["lr"].all())
    assert bool(found.grad.rule["beta"].all()) is (steps > 1)  # the first step has no momentum yet


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("name", ["momentum", "lstm"])
def test_losses_along_the_path_count_too(name: str, steps: int, order: int) -> None:
    """Each is of the parameters before its step, so that it reaches back through the steps before alone."""
    apply, params = predictor()
    rule, tasks = RULES[name](), lessons(steps)
    adaptation, meta = adapt(apply, mse, rule, order), started(rule, params)
    asked = {0, 2, steps} if steps != 2 else {1, 2}

    def losses_at(k: int, params: Params) -> Tensor:
        batch = tasks.query if k == steps else tasks.support[k]
        return (0.5 + k) * query_loss(apply, mse, batch)(params)

    def along(k: int, params: Params) -> Tensor | None:
        return losses_at(k, params) if k in asked else None

    found = path_gradient(adaptation, meta, tasks.support, lambda params: losses_at(steps, params), along)
    whole = tree_map(lambda x: x.detach().requires_grad_(), meta)
    inner, losses = begin_tasks(adaptation, whole), torch.zeros(3, dtype=torch.float64)
    for k in range(steps + 1):
        if k in asked:
            losses = losses + losses_at(k, inner.params)
        if k < steps:
            inner, _ = step_tasks(adaptation, whole, inner, tasks.support[k])
    grads = torch.autograd.grad(losses.sum(), leaves(whole), materialize_grads=True)
    equal(found.loss, losses.detach())
    equal(found.grad, pytree.tree_unflatten(grads, pytree.tree_structure(whole)))


def test_without_a_step_it_is_the_gradient_of_the_loss() -> None:
    apply, params = predictor()
    tasks, rule = lessons(0), momentum()
    meta = started(rule, params)
    found = path_gradient(adapt(apply, mse, rule), meta, (), query_loss(apply, mse, tasks.query))
    for i in range(3):
        theta = {name: p.clone().requires_grad_() for name, p in one(meta.model, i).items()}
        expected = mse(apply, theta, one(tasks.query, i))
        grads = torch.autograd.grad(expected, list(theta.values()))
        close_params(one(found.grad.model, i), dict(zip(theta, grads, strict=True)), 1e-14)
        assert float(found.loss[i]) == pytest.approx(float(expected.detach()), rel=1e-14)
    assert not any(bool(x.any()) for x in found.grad.rule.values())
    assert len(found.path) == 1
    equal(found.path[0], meta.model)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_the_path_holds_the_parameters_before_each_step_and_after_the_last(steps: int, order: int) -> None:
    apply, params = predictor()
    tasks, rule = lessons(steps), momentum()
    adaptation, meta = adapt(apply, mse, rule, order), started(rule, params)
    loss = query_loss(apply, mse, tasks.query)
    found = path_gradient(adaptation, meta, tasks.support, loss)
    inner = begin_tasks(adaptation, meta)
    expected = [inner.params]
    for batch in tasks.support:
        inner, _ = step_tasks(adaptation, meta, inner, batch)
        expected.append(inner.params)
    assert len(found.path) == steps + 1
    equal(found.path, tuple(expected))
    kept = [*leaves(found.path), *leaves(found.grad), found.loss]
    assert not any(x.requires_grad or x.grad_fn for x in kept)
    assert not any(x.requires_grad for x in leaves(meta))  # what was handed over is left alone


class Peak(TorchDispatchMode):
    """Bytes of the tensors alive at the same time, at most: those of a graph are alive as long as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self._alive = 0, dict[int, tuple[StorageWeakRef, int]]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in pytree.tree_leaves(out):
            if isinstance(x, Tensor):
                while torch._C._functorch.is_functorch_wrapped_tensor(x):
                    x = torch._C._functorch.get_unwrapped(x)
                storage = x.untyped_storage()
                self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._alive = {key: held for key, held in self._alive.items() if not held[0].expired()}
        self.bytes = max(self.bytes, sum(size for _, size in self._alive.values()))
        return out


def test_memory_is_that_of_one_step() -> None:
    """With many examples the graph of a step is far larger than the parameters that are kept."""
    apply, params = predictor()
    adaptation, meta = adapt(apply, mse, sgd(0.1)), expand(Meta(params, {}), 3)

    def examples(seed: int) -> Shots:
        return Shots(randn(seed, 3, 100, 2), randn(seed + 1, 3, 100, 3))

    loss = query_loss(apply, mse, examples(90))

    def peak(gradient: Callable[..., Any], steps: int) -> int:
        support = [examples(k) for k in range(steps)]
        gradient(adaptation, meta, support, loss)  # what is made once is made now
        with Peak() as watched:
            gradient(adaptation, meta, support, loss)
        return watched.bytes

    assert peak(path_gradient, 5) < 1.25 * peak(path_gradient, 1)
    assert peak(through_the_whole_loop, 5) > 2.5 * peak(path_gradient, 1)  # else the measure sees nothing
