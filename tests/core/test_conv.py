"""The four-block convolutional network, against torch.nn's layers and central differences."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from metarl.core.batch import Shots
from metarl.core.conv import MOMENTUM, Conv4, Normalised, Statistics, observe, predict_alone
from metarl.core.errors import RequestError
from metarl.core.models import MLP, functional, initial_params
from metarl.core.objectives import cross_entropy
from metarl.core.params import Meta, Params, leaves, ravel, tree_map, unravel
from metarl.core.rules import sgd
from metarl.learn.adapt import adapt, unroll
from metarl.learn.chunks import Chunking, map_chunks
from tiny import close, close_params, generator, one, randn

WAYS, FILTERS, SHAPE = 3, 4, (2, 16, 18)


def network() -> Conv4:
    return Conv4(SHAPE, WAYS, FILTERS).double()


def drawn_params(seed: int, tasks: int | None = None) -> Params:
    """None of them zero or one, scales of both signs; with a task axis where there are ``tasks``."""
    lead = () if tasks is None else (tasks,)
    return {
        name: 0.5 * randn(100 * seed + i, *lead, *p.shape)
        for i, (name, p) in enumerate(initial_params(network()).items())
    }


def images(seed: int, *lead: int) -> Tensor:
    """Noise on half of each image, and nothing on the other: as on paper, neighbours there are equal."""
    x = randn(seed, *lead, *SHAPE)
    x[..., 8:] = 0
    return x


def shots(seed: int, tasks: int, each: int) -> Shots:
    y = torch.randint(WAYS, (tasks, each), generator=generator(seed))
    return Shots(images(seed, tasks, each), y)


def layers(momentum: float = 0.1, running: bool = False) -> nn.Sequential:
    """The same network of torch's own layers in their usual order."""
    blocks = []
    for channels in (SHAPE[0], FILTERS, FILTERS, FILTERS):
        norm = nn.BatchNorm2d(FILTERS, 1e-3, momentum, track_running_stats=running)
        conv = nn.Conv2d(channels, FILTERS, 3, padding=1)
        blocks.append(nn.Sequential(conv, norm, nn.ReLU(), nn.MaxPool2d(2)))
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(FILTERS, WAYS)).double()


def of_layers(params: Params) -> Params:
    """Our parameters under the names of ``layers``; any bias of a convolution must be without effect."""
    names = {f"{i}.0.weight": f"conv.{i}" for i in range(4)} | {
        f"{i}.1.weight": f"scale.{i}" for i in range(4)
    }
    names |= {f"{i}.1.bias": f"offset.{i}" for i in range(4)}
    names |= {"5.weight": "head.weight", "5.bias": "head.bias"}
    biases = {f"{i}.0.bias": torch.zeros(FILTERS, dtype=torch.float64) for i in range(4)}
    return biases | {theirs: params[ours] for theirs, ours in names.items()}


def plain(params: Params, x: Tensor) -> Tensor:
    found: Tensor = functional_call(layers(), of_layers(params), (x,))
    return found


@pytest.mark.parametrize(("shape", "features"), [((1, 28, 28), 32), ((3, 84, 84), 800), ((1, 16, 33), 64)])
def test_shapes(shape: tuple[int, int, int], features: int) -> None:
    module = Conv4(shape, 5)
    assert module.head.weight.shape == (5, features)
    assert module(torch.zeros(7, *shape)).shape == (7, 5)
    inside = 9 * 32 * (shape[0] + 3 * 32) + 4 * 2 * 32
    assert sum(p.numel() for p in module.parameters()) == inside + 5 * features + 5


def test_images_that_vanish_are_refused() -> None:
    Conv4((1, 16, 16), 5)
    with pytest.raises(RequestError, match=r"^images of 28×15 pixels .* reads 16×16 or more$"):
        Conv4((1, 28, 15), 5)


def test_it_starts_with_glorot_weights_and_a_normalisation_that_changes_nothing() -> None:
    torch.manual_seed(0)
    params = initial_params(Conv4((1, 28, 28), 5))
    for i in range(4):
        bound = math.sqrt(6 / (9 * ((1 if i == 0 else 32) + 32)))
        assert 0.97 * bound < float(params[f"conv.{i}"].abs().max()) <= bound
        assert bool((params[f"scale.{i}"] == 1).all()) and not bool(params[f"offset.{i}"].any())
    assert float(params["head.weight"].abs().max()) <= math.sqrt(6 / 37)
    assert not bool(params["head.bias"].any())


def test_it_equals_torch_s_own_layers() -> None:
    params, x = drawn_params(1), images(2, 6)
    close(functional(network())(params, x), plain(params, x))


def test_a_bias_of_the_convolutions_would_have_no_effect() -> None:
    params, x = drawn_params(1), images(2, 6)
    biased = of_layers(params) | {f"{i}.0.bias": randn(i, FILTERS) for i in range(4)}
    close(functional_call(layers(), biased, (x,)), plain(params, x))


def test_tasks_together_equal_each_alone() -> None:
    apply, params, x = functional(network()), drawn_params(1, tasks=3), images(2, 3, 6)
    together = vmap(apply)(params, x)
    for i in range(3):
        close(together[i], apply(one(params, i), x[i]))


def meta_loss(params: Params, support: Sequence[Shots], query: Shots) -> Tensor:
    """Each task's loss after the inner steps; ``params`` has the task axis first."""
    apply = functional(network())
    adaptation = adapt(apply, cross_entropy, sgd(0.4), order=2)
    adapted = unroll(adaptation, Meta(params, {}), support).params
    losses: Tensor = vmap(lambda params, query: cross_entropy(apply, params, query))(adapted, query)
    return losses


def plain_meta_loss(params: Params, support: Sequence[Shots], query: Shots) -> Tensor:
    """The same of one task, by plain autograd through torch's own layers."""
    for batch in support:
        loss = F.cross_entropy(plain(params, batch.x), batch.y)
        grads = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        params = {name: p - 0.4 * g for (name, p), g in zip(params.items(), grads, strict=True)}
    return F.cross_entropy(plain(params, query.x), query.y)


def gradient(loss: Callable[..., Tensor], params: Params, *data: object) -> Params:
    params = tree_map(lambda p: p.clone().requires_grad_(), params)
    grads = torch.autograd.grad(loss(params, *data).sum(), leaves(params))
    return dict(zip(params, grads, strict=True))


@pytest.mark.parametrize(("tasks", "steps"), [(1, 1), (2, 1), (2, 3)])
def test_the_meta_gradient_equals_plain_autograd_through_torch_s_own_layers(tasks: int, steps: int) -> None:
    params, query = drawn_params(1, tasks), shots(9, tasks, 6)
    support = [shots(k, tasks, 4) for k in range(steps)]
    found = gradient(meta_loss, params, support, query)
    for i in range(tasks):
        data = [one(batch, i) for batch in support], one(query, i)
        close_params(one(found, i), gradient(plain_meta_loss, one(params, i), *data), tol=1e-9)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_meta_gradient_equals_central_differences(steps: int) -> None:
    params, query = drawn_params(1, tasks=1), shots(9, 1, 6)
    support = [shots(k, 1, 4) for k in range(steps)]
    grad, at = ravel(gradient(meta_loss, params, support, query)), ravel(params)
    for seed in range(4):
        # short enough that no maximum and no ReLU changes sides
        step = 1e-6 * randn(seed, *at.shape)
        ends = [meta_loss(unravel(at + sign * step, params), support, query).sum() for sign in (1, -1)]
        close((ends[0] - ends[1]) / 2e-6, grad @ step / 1e-6, tol=1e-6)


def test_bits_are_those_of_one_thread() -> None:
    params = drawn_params(1, tasks=4)
    data = shots(1, 4, 4), shots(2, 4, 6)

    def chunk(params: Params, support: Shots, query: Shots) -> Params:
        return gradient(meta_loss, params, [support], query)

    alone, pooled = (map_chunks(chunk, Chunking(2, threads), params, *data) for threads in (1, 2))
    for a, b in zip(leaves(alone), leaves(pooled), strict=True):
        assert torch.equal(a, b)


def test_running_statistics_are_those_of_torch_s_own_layers() -> None:
    module = network()
    for momentum in (MOMENTUM, 0.3):
        theirs, ours = layers(momentum, running=True), module.fresh_statistics(drawn_params(0))
        for k in range(4):
            query, params = images(20 + k, 5), drawn_params(k)
            theirs.load_state_dict(of_layers(params), strict=False)
            close(module.predict(params, query, ours), theirs.eval()(query))
            theirs.train()(images(k, 3 + k))
            ours = observe(module, ours, params, images(k, 3 + k), momentum)
        for i in range(4):
            close(ours[f"mean.{i}"], theirs[i][1].running_mean)
            close(ours[f"var.{i}"], theirs[i][1].running_var)


def running(
    module: Conv4, path: list[Params], support: list[Tensor], momentum: float = MOMENTUM
) -> Statistics:
    """Statistics after the steps of one episode, which starts afresh."""
    statistics = module.fresh_statistics(path[0])
    for params, x in zip(path, support, strict=True):
        statistics = observe(module, statistics, params, x, momentum)
    return statistics


def test_the_statistics_of_an_episode_worked_by_hand() -> None:
    module, params, x = network(), drawn_params(1), [images(1, 3), images(2, 4)]
    first, second = (module.statistics(params, batch) for batch in x)
    found = running(module, [params, params], x, momentum=0.75)
    h = F.conv2d(x[0], params["conv.0"], padding=1).transpose(0, 1).flatten(1)
    close(first["mean.0"], h.mean(1))
    close(first["var.0"], h.var(1))  # unbiased
    close(found["mean.3"], 0.25 * 0.75 * first["mean.3"] + 0.75 * second["mean.3"])
    close(found["var.3"], 0.25 * (0.25 + 0.75 * first["var.3"]) + 0.75 * second["var.3"])


def test_only_the_normalisation_by_batch_sees_the_other_images() -> None:
    module, params, x = network(), drawn_params(1), images(1, 6)
    others = torch.cat([x[:1], images(2, 5)])
    statistics = running(module, [params], [images(3, 5)])
    close(module.predict(params, x, statistics)[0], module.predict(params, others, statistics)[0])
    close(module.predict(params, x, statistics)[:1], module.predict(params, x[:1], statistics))
    by_batch = functional(module)
    assert not torch.allclose(by_batch(params, x)[0], by_batch(params, others)[0], atol=1e-2)


def test_predictions_differ_with_the_statistics_of_another_support_set() -> None:
    module, params, x = network(), drawn_params(1), images(1, 6)
    found = [module.predict(params, x, module.statistics(params, images(seed, 5))) for seed in (2, 3)]
    assert not torch.allclose(*found, atol=1e-2)


def test_episodes_of_all_tasks_together_equal_each_alone() -> None:
    module, query = network(), images(9, 2, 5)
    trajectory, support = [drawn_params(k, tasks=2) for k in range(3)], [images(k, 2, 4) for k in range(3)]

    def episode(trajectory: list[Params], support: list[Tensor], query: Tensor) -> Tensor:
        statistics = running(module, trajectory[:2], support[:2])
        return module.predict(trajectory[2], query, statistics)

    together = vmap(episode)(trajectory, support, query)
    for i in range(2):
        close(together[i], episode(one(trajectory, i), one(support, i), query[i]))


def test_queries_alone_each_have_a_batch_with_the_support_images() -> None:
    apply, params = functional(network()), drawn_params(1, tasks=2)
    support, query = images(1, 2, 3), images(2, 2, 17)
    found = vmap(lambda *each: predict_alone(apply, *each))(params, support, query)
    for i in range(2):
        for j in (0, 16):
            batch = torch.cat([support[i], query[i, j : j + 1]])
            close(found[i, j], plain(one(params, i), batch)[3])


def test_who_has_statistics() -> None:
    assert isinstance(network(), Normalised)
    assert not isinstance(MLP(2, (4,), 3), Normalised)
