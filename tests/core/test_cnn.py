"""The convolutional network of policies, against torch.nn's layers, autograd and central differences."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap

import reference
from metarl.core.batch import Episodes
from metarl.core.cnn import CNN, layers, usual_hidden
from metarl.core.errors import RequestError
from metarl.core.models import Choices, Gaussian, initial_params, policy, policy_of_tasks
from metarl.core.objectives import surrogate, vpg
from metarl.core.params import Meta, Params, detach, leaves, ravel, unravel
from metarl.learn.problem import TaskData
from tiny import actions, close, close_params, episodes, generator, learner_of, model, one, randn

SHAPE = (2, 6, 5)
SIZES = [(4, 84, 84), (1, 36, 40), (3, 35, 64), (2, 10, 10), (3, 7, 7), SHAPE]


def written_out(module: CNN, shape: tuple[int, int, int]) -> nn.Sequential:
    """The same weights in torch's own layers."""
    parts: list[nn.Module] = []
    for layer, conv in zip(layers(shape), module.conv, strict=True):
        parts += [nn.Conv2d(conv.in_channels, layer.filters, layer.kernel, layer.stride), nn.ReLU()]
        parts[-2].load_state_dict(conv.state_dict())
    return nn.Sequential(*parts, nn.Flatten(), *module.dense).to(module.conv[0].weight.dtype)


def images(seed: int, *lead: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randint(256, (*lead, *shape), generator=generator(seed), dtype=torch.uint8)


def params_of(module: nn.Module, seed: int) -> Params:
    """None of them zero; about as they start, since larger ones let all units fall silent."""
    torch.manual_seed(seed)
    for layer in [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.Linear)]:
        layer.reset_parameters()
    return {
        name: p + 0.1 * randn(100 * seed + i, *p.shape)
        for i, (name, p) in enumerate(initial_params(module).items())
    }


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_it_is_three_convolutions_and_linear_layers_with_relu_between(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    module, x = CNN(shape, 5), torch.rand(3, *shape)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.1 * torch.randn_like(p)  # no bias is zero
    torch.testing.assert_close(module(x), written_out(module, shape)(x))
    assert module(x).shape == (3, 5)


@pytest.mark.parametrize(
    ("shape", "expected", "features"),
    [
        ((4, 84, 84), [(32, 8, 4), (64, 4, 2), (64, 3, 1)], 64 * 7 * 7),  # as in the paper
        ((1, 36, 36), [(32, 8, 4), (64, 4, 2), (64, 3, 1)], 64 * 1 * 1),
        ((1, 35, 35), [(16, 3, 2), (32, 3, 2), (64, 2, 1)], 64 * 7 * 7),
        ((1, 10, 10), [(16, 3, 2), (32, 2, 1), (64, 2, 1)], 64 * 2 * 2),
        ((3, 7, 7), [(16, 2, 1), (32, 2, 1), (64, 2, 1)], 64 * 4 * 4),
        ((3, 5, 9), [(16, 2, 1), (32, 2, 1), (64, 2, 1)], 64 * 2 * 6),
    ],
)
def test_the_size_of_the_image_decides_on_the_layers(
    shape: tuple[int, int, int], expected: list[tuple[int, int, int]], features: int
) -> None:
    assert [tuple(layer) for layer in layers(shape)] == expected
    first = CNN(shape, 2).dense[0]
    assert isinstance(first, nn.Linear) and first.in_features == features


def test_the_units_after_the_convolutions_are_a_choice() -> None:
    widths = {
        hidden: [x.out_features for x in CNN((1, 7, 7), 3, hidden).dense if isinstance(x, nn.Linear)]
        for hidden in ((8, 9), ())
    }
    assert widths == {(8, 9): [8, 9, 3], (): [3]}
    assert [usual_hidden(shape) for shape in ((4, 84, 84), (1, 36, 36), (1, 35, 99))] == [
        (512,),
        (512,),
        (64,),
    ]


@pytest.mark.parametrize("shape", [(3, 4, 9), (84, 84, 4), (1, 1, 1)])
def test_images_that_are_too_small_are_refused_with_the_hint_that_channels_come_first(
    shape: tuple[int, int, int],
) -> None:
    with pytest.raises(RequestError, match=f"images of {shape[1]}×{shape[2]} pixels .* channels come first"):
        CNN(shape, 2)


def test_bytes_are_divided_by_255_and_other_numbers_are_read_as_they_are() -> None:
    module, x = CNN(SHAPE, 3).double(), images(1, 4)
    close(module(x), module(x.double() / 255))
    assert not torch.allclose(module(x), module(x.double()))
    assert CNN(SHAPE, 3)(x).dtype == torch.float32


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (2, 1, 3)])
def test_leading_axes_are_arbitrary(lead: tuple[int, ...]) -> None:
    module, x = CNN(SHAPE, 3).double(), images(2, *lead)
    found = module(x)
    assert found.shape == (*lead, 3)
    close(found.reshape(-1, 3), written_out(module, SHAPE)(x.reshape(-1, *SHAPE).double() / 255))


def test_weights_start_glorot_uniform_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    module = CNN((4, 84, 84), 6)
    params = initial_params(module)
    assert list(params)[-2:] == ["dense.2.weight", "dense.2.bias"]
    for name, p in params.items():
        if name.endswith("bias"):
            assert not p.any()
            continue
        area = p[0, 0].numel()
        bound = math.sqrt(6 / (area * (p.shape[0] + p.shape[1])))
        assert 0.97 * bound < float(p.abs().max()) <= bound


HEADS = {
    "gaussian": lambda: Gaussian(CNN(SHAPE, 2, (8,)), 2),
    "categorical": lambda: CNN(SHAPE, 3, (8,)),
    "choices": lambda: Choices(CNN(SHAPE, 5, (8,)), reference.CHOICES),
}


@pytest.mark.parametrize("kind", HEADS)
def test_policies_of_tasks_are_each_task_s_own(kind: str) -> None:
    module = HEADS[kind]().double()
    tasks = [params_of(module, seed) for seed in range(3)]
    together = {name: torch.stack([p[name] for p in tasks]) for name in tasks[0]}
    obs = images(3, 3, 4)
    assert hasattr(module, "forward_tasks")
    quick, plain = policy_of_tasks(module)(together, obs), vmap(policy(module))(together, obs)
    assert type(quick) is type(plain)
    for i, own in enumerate(tasks):
        for a, b, c in zip(
            leaves(one(quick, i)), leaves(one(plain, i)), leaves(policy(module)(own, obs[i])), strict=True
        ):
            close(a, c)
            close(b, c)


# Through the inner loop --------------------------------------------------------------------------


def problem_of(kind: str, steps: int) -> tuple[nn.Module, Meta, TaskData]:
    """Episodes of bytes, three tasks of 2 × 4 steps."""
    module = HEADS[kind]().double()
    params, behaviour = params_of(module, 1), model(kind)[1]

    def seen(seed: int) -> Episodes:
        batch = dataclasses.replace(episodes(seed, behaviour, kind), obs=images(seed, 3, 2, 4))
        each = {name: p.expand(3, *p.shape) for name, p in params.items()}
        log_prob = vmap(policy(module))(each, batch.obs).log_prob(actions(seed + 1, kind))
        return dataclasses.replace(batch, log_prob=log_prob + 0.1 * randn(seed + 2, 3, 2, 4))

    batches = [seen(10 * (k + 1)) for k in range(steps + 1)]
    return module, Meta(params, {}), TaskData(tuple(batches[:-1]), batches[-1])


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("kind", HEADS)
def test_the_meta_gradient_is_plain_autograd_s(kind: str, steps: int) -> None:
    module, start, tasks = problem_of(kind, steps)
    apply = policy(module)
    fast = learner_of(apply)(tasks)
    theta = reference.leaves(start.model)
    losses = []
    for i in range(3):  # a loop over tasks, no vmap
        inner = theta
        for batch in tasks.support:
            loss = vpg(apply, inner, one(batch, i))
            grads = torch.autograd.grad(loss, list(inner.values()), create_graph=True)
            inner = {name: p - 0.3 * g for (name, p), g in zip(inner.items(), grads, strict=True)}
        losses.append(surrogate(apply, inner, one(tasks.query, i)))
    slow = torch.autograd.grad(torch.stack(losses).mean(), list(theta.values()))
    close_params(fast.at(start).grad.model, dict(zip(theta, slow, strict=True)))


@pytest.mark.parametrize("kind", HEADS)
def test_the_meta_gradient_equals_central_differences(kind: str) -> None:
    module, start, tasks = problem_of(kind, 2)
    apply = policy(module)
    fast = learner_of(apply, chunk=3)(tasks)
    point, x, h = fast.at(start), ravel(start), 1e-5
    which = range(0, len(x), len(x) // 40)
    assert fast.losses is not None
    slopes = []
    for i in which:
        e = torch.zeros_like(x)
        e[i] = h
        up, down = (fast.losses(unravel(x + s * e, start), point).loss for s in (1, -1))
        slopes.append((up - down) / (2 * h))
    expected = ravel(point.grad)[list(which)]
    assert int((expected != 0).sum()) > len(expected) / 2
    assert float((torch.stack(slopes) - expected).norm()) < 1e-6 * float(expected.norm())


@pytest.mark.parametrize("kind", HEADS)
def test_the_curvature_is_the_hessian_of_the_kl(kind: str) -> None:
    module, start, tasks = problem_of(kind, 1)
    apply = policy(module)
    fast = learner_of(apply)(tasks)
    theta, divergences = reference.leaves(start.model), []
    for i in range(3):
        grads = torch.autograd.grad(
            vpg(apply, theta, one(tasks.support[0], i)), list(theta.values()), create_graph=True
        )
        inner = {name: p - 0.3 * g for (name, p), g in zip(theta.items(), grads, strict=True)}
        new = apply(inner, one(tasks.query, i).obs)
        divergences.append(reference.over_steps(detach(new).kl(new), tasks.query.mask[i]))
    first = torch.autograd.grad(torch.stack(divergences).mean(), list(theta.values()), create_graph=True)
    v = randn(3, reference.flat(start.model).numel())
    slow = torch.autograd.grad(torch.cat([g.reshape(-1) for g in first]) @ v, list(theta.values()))
    assert fast.curvature is not None
    found = fast.curvature(start)(v)
    assert float(found.norm()) > 1e-3
    close(found, torch.cat([g.reshape(-1) for g in slow]))
