"""The one inner loop against the slow twin: values, Jacobians, and tasks that do not see each other."""

import dataclasses

import pytest
import torch
from torch import Tensor

import reference
from metarl.core.objectives import vpg
from metarl.core.params import Inner, Meta, Params, concat, expand, leaves, split, tree_map
from metarl.core.rules import sgd
from metarl.learn.adapt import adapt, begin_tasks, step_tasks, unroll
from metarl.learn.problem import TaskData
from tiny import as_reference, close, close_params, data, episodes, meta, model, momentum, one, randn

LR = 0.3


def adapted(tasks: TaskData, params: Params, kind: str = "gaussian", order: int = 2) -> Params:
    apply, _ = model(kind)
    return unroll(adapt(apply, vpg, sgd(LR), order), expand(meta(params), 3), tasks.support).params


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("kind", ["gaussian", "categorical", "choices"])
def test_adapted_parameters_equal_the_twin_s(kind: str, steps: int, order: int) -> None:
    _, params = model(kind)
    tasks = data(steps, params, kind)
    found = adapted(tasks, params, kind, order)
    for i, (support, _) in enumerate(as_reference(tasks)):
        slow = reference.inner_steps(reference.leaves(params), support, LR, order)
        close_params(one(found, i), {name: p.detach() for name, p in slow.items()})


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("order", [1, 2])
def test_the_jacobian_equals_the_twin_s(order: int, steps: int) -> None:
    """Pulled back along one drawn cotangent, at each task: what the meta-gradient sees of ``adapt``."""
    _, params = model()
    tasks = data(steps, params)
    cotangent = {name: randn(i, *p.shape) for i, (name, p) in enumerate(params.items())}
    for i, (support, _) in enumerate(as_reference(tasks)):
        pulled = []
        for fast in (True, False):
            theta = reference.leaves(params)
            out = (
                one(adapted(tasks, theta, order=order), i)
                if fast
                else reference.inner_steps(theta, support, LR, order)
            )
            dot = torch.stack([(out[n] * c).sum() for n, c in cotangent.items()]).sum()
            pulled.append(dict(zip(theta, torch.autograd.grad(dot, list(theta.values())), strict=True)))
        close_params(pulled[0], pulled[1])
        if order == 1:
            close_params(pulled[0], cotangent)  # the Jacobian is the identity, whatever the number of steps
        else:
            assert not torch.allclose(reference.flat(pulled[0]), reference.flat(cotangent), atol=1e-3)


def test_one_step_moves_by_the_configured_step_size_times_the_gradient() -> None:
    apply, params = model()
    batch = one(episodes(1, params), 0)
    theta = reference.leaves(params)
    loss = reference.vpg(theta, batch)
    grads = torch.autograd.grad(loss, list(theta.values()))
    start = Inner(params, ())
    inner, metrics = adapt(apply, vpg, sgd(0.037)).step(meta(params), start, batch)
    for (name, p), g in zip(params.items(), grads, strict=True):
        close(inner.params[name] - p, -0.037 * g)
    close(metrics["inner_loss"], loss.detach())


def test_collecting_step_by_step_gives_the_bits_of_the_differentiated_loop() -> None:
    apply, params = model()
    tasks = data(3, params)
    adaptation, start = adapt(apply, vpg, sgd(LR)), expand(meta(params), 3)
    inner = begin_tasks(adaptation, start)
    for batch in tasks.support:
        with torch.no_grad():
            inner, metrics = step_tasks(adaptation, start, inner, batch)
        assert metrics["inner_loss"].shape == (3,)
    graph = unroll(adaptation, tree_map(lambda x: x.requires_grad_(), start), tasks.support)
    for a, b in zip(leaves(inner.params), leaves(graph.params), strict=True):
        assert torch.equal(a, b.detach())


def test_permuting_the_tasks_permutes_the_results() -> None:
    _, params = model()
    tasks = data(3, params)
    order = torch.tensor([2, 0, 1])
    found = adapted(tree_map(lambda x: x[order], tasks), params)
    close_params(found, {name: p[order] for name, p in adapted(tasks, params).items()}, 1e-12)


def test_all_tasks_together_equal_one_at_a_time() -> None:
    apply, params = model()
    tasks = data(3, params)
    adaptation = adapt(apply, vpg, sgd(LR))
    single = [unroll(adaptation, expand(meta(params), 1), part.support).params for part in split(tasks, 1)]
    close_params(concat(single), adapted(tasks, params), 1e-12)


@pytest.mark.parametrize("field", ["obs", "action", "advantage", "mask"])
def test_a_task_s_data_changes_that_task_alone(field: str) -> None:
    _, params = model()
    tasks = data(3, params)
    change = getattr(tasks.support[1], field).clone()
    change[1] = 0.5 * change[1] + 0.25 * torch.arange(4.0).reshape(1, 4, *[1] * (change.ndim - 3))
    other = (tasks.support[0], dataclasses.replace(tasks.support[1], **{field: change}), tasks.support[2])
    before, after = adapted(tasks, params), adapted(TaskData(other, tasks.query), params)
    for name, p in after.items():
        for i, same in enumerate((True, False, True)):
            assert torch.equal(p[i], before[name][i]) is same, name


def graph_of(x: Tensor) -> set[str]:
    """The names of all operations that a backward pass from ``x`` would go through."""
    names, seen, todo = set(), set(), [x.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            names.add(type(node).__name__)
            todo += [parent for parent, _ in node.next_functions]
    return names


@pytest.mark.parametrize("order", [1, 2])
def test_at_order_1_no_forward_pass_is_kept_in_the_graph(order: int) -> None:
    """What is detached is what enters the loss: nothing of the batch's size is held then."""
    _, params = model()
    found = adapted(data(3, params), reference.leaves(params), order=order)
    assert any("Tanh" in name for name in graph_of(found["net.0.weight"])) is (order == 2)


def test_a_rule_s_memory_and_losses_reach_each_task() -> None:
    apply, params = model()
    tasks = data(3, params)
    numbers = {"lr": torch.tensor(0.2, dtype=torch.float64), "beta": torch.tensor(0.7, dtype=torch.float64)}
    found = unroll(adapt(apply, vpg, momentum()), expand(Meta(params, numbers), 3), tasks.support)
    assert found.carry[1].tolist() == [3.0, 3.0, 3.0]
    for i, (support, _) in enumerate(as_reference(tasks)):
        theta, velocity, losses = reference.leaves(params), None, []
        for k, batch in enumerate(support):
            losses.append(reference.vpg(theta, batch))
            grads = torch.autograd.grad(losses[-1], list(theta.values()))
            velocity = (
                list(grads)
                if velocity is None
                else [0.7 * v + g for v, g in zip(velocity, grads, strict=True)]
            )
            new = [p - 0.2 * (1 + 0.1 * k) * v for p, v in zip(theta.values(), velocity, strict=True)]
            theta = reference.leaves(dict(zip(theta, new, strict=True)))
        close_params(one(found.params, i), {name: p.detach() for name, p in theta.items()})
        close(found.carry[2][i], torch.stack(losses).sum().detach())
