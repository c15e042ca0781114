"""Tiny learning problems in float64: 3 tasks × 2 episodes × 4 steps, hidden 4, ragged episodes.

Nothing in them is special: biases are not zero, behaviour log-probabilities are not the policy's, episodes
end early in both ways, and the padding holds values that would be noticed.
"""

from typing import Any

import torch
from torch import Tensor, nn

import reference
from metarl.core.batch import Episodes, Shots
from metarl.core.models import MLP, Apply, Choices, GaussianMLP, functional, initial_params, policy
from metarl.core.objectives import surrogate, vpg
from metarl.core.params import Meta, Params, tree_map
from metarl.core.rules import Rule, sgd
from metarl.learn.adapt import adapt
from metarl.learn.chunks import Chunking
from metarl.learn.maml import maml
from metarl.learn.problem import MetaLearner, TaskData
from metarl.learn.trust_region import TrustRegion

# Steps of each task's two episodes; the second number is how the episode ends: terminated or time.
LENGTHS = ((4, 2), (1, 4), (3, 3))
TERMINATED = ((False, True), (True, False), (False, True))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def network(kind: str = "gaussian") -> nn.Module:
    made: dict[str, nn.Module] = {
        "gaussian": GaussianMLP(2, 2, hidden=(4,)),
        "categorical": MLP(2, (4,), 3),
        "choices": Choices(MLP(2, (4,), 5), reference.CHOICES),
    }
    return made[kind].double()


def actions(seed: int, kind: str) -> Tensor:
    """Actions "3 2 4 …": each choice and each pair of choices is among them."""
    number = torch.arange(24).reshape(3, 2, 4)
    made = {
        "gaussian": randn(seed, 3, 2, 4, 2),
        "categorical": number % 3,
        "choices": torch.stack([number % 2, number % 3], -1),
    }
    return made[kind]


def model(kind: str = "gaussian", seed: int = 0) -> tuple[Apply, Params]:
    """A policy and its parameters, all drawn: no bias and no log_std is zero."""
    module = network(kind)
    shapes = initial_params(module)
    return policy(module), {
        n: 0.5 * randn(100 * seed + i, *p.shape) for i, (n, p) in enumerate(shapes.items())
    }


def masks() -> Tensor:
    return torch.tensor([[[1.0] * n + [0.0] * (4 - n) for n in row] for row in LENGTHS], dtype=torch.float64)


def episodes(seed: int, params: Params, kind: str = "gaussian") -> Episodes:
    """Drawn experience "3 2 4 ...", whose behaviour policy is near ``params``'s."""
    mask = masks()
    last = mask * (1 - torch.cat([mask[..., 1:], torch.zeros(3, 2, 1, dtype=torch.float64)], -1))
    terminated = (last > 0) & torch.tensor(TERMINATED)[..., None]
    obs = randn(seed, 3, 2, 4, 2)
    action = actions(seed + 1, kind)
    log_prob = reference.log_prob(reference.policy(params, obs), action) + 0.1 * randn(seed + 2, 3, 2, 4)
    return Episodes(
        obs=obs,
        action=action,
        reward=randn(seed + 3, 3, 2, 4),
        terminated=terminated,
        truncated=(last > 0) & ~terminated,
        mask=mask,
        log_prob=log_prob,
        final_obs=randn(seed + 4, 3, 2, 2),
        advantage=randn(seed + 5, 3, 2, 4),
        target=randn(seed + 6, 3, 2, 4),
    )


def data(steps: int, params: Params, kind: str = "gaussian", seed: int = 0) -> TaskData:
    """``steps`` support batches and a query batch, all different."""
    batches = [episodes(1000 * seed + 10 * (k + 1), params, kind) for k in range(steps + 1)]
    return TaskData(tuple(batches[:-1]), batches[-1])


def predictor() -> tuple[Apply, Params]:
    """A network from two numbers to three that are read as they are, and its parameters, all drawn."""
    shapes = initial_params(network("categorical"))
    return functional(network("categorical")), {
        n: 0.5 * randn(7 + i, *p.shape) for i, (n, p) in enumerate(shapes.items())
    }


def shots(seed: int, kind: str = "mse", n: int = 5) -> Shots:
    """Drawn examples "3 n ...": three values to regress, or one of three classes."""
    y = torch.randint(3, (3, n), generator=generator(seed + 1)) if kind == "cross-entropy" else None
    return Shots(randn(seed, 3, n, 2), randn(seed + 1, 3, n, 3) if y is None else y)


def lessons(steps: int, kind: str = "mse", seed: int = 0) -> TaskData:
    """``steps`` support sets and a query set, all different."""
    sets = [shots(1000 * seed + 10 * (k + 1), kind) for k in range(steps + 1)]
    return TaskData(tuple(sets[:-1]), sets[-1])


def momentum() -> Rule:
    """A rule with a memory and learned numbers: what must survive between steps and be differentiated."""

    def step(rule: Params, carry: Any, params: Params, grads: Params, loss: Tensor) -> tuple[Params, Any]:
        velocity, count, total = carry
        velocity = tree_map(lambda v, g: rule["beta"] * v + g, velocity, grads)
        new = tree_map(lambda p, v: p - rule["lr"] * (1 + 0.1 * count) * v, params, velocity)
        return new, (velocity, count + 1, total + loss)

    def begin(rule: Params, params: Params) -> Any:
        zero = torch.zeros((), dtype=torch.float64)
        return tree_map(torch.zeros_like, params), zero, zero

    return Rule("momentum", step=step, begin=begin)


def one(tree: Any, task: int) -> Any:
    """One task's part, without the task axis."""
    return tree_map(lambda x: x[task], tree)


def as_reference(tasks: TaskData) -> list[reference.Task]:
    return [
        ([one(b, i) for b in tasks.support], one(tasks.query, i)) for i in range(tasks.query.mask.shape[0])
    ]


def meta(params: Params) -> Meta:
    return Meta(params, {})


def close(a: Tensor, b: Tensor, tol: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=tol, atol=tol)


def close_params(a: Params, b: Params, tol: float = 1e-10) -> None:
    assert list(a) == list(b)
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], rtol=tol, atol=tol, msg=lambda m, n=name: f"{n}: {m}")


def learner_of(
    apply: Apply, rule: Rule | None = None, order: int = 2, chunk: int = 2, make: Any = maml, stride: int = 1
) -> MetaLearner:
    """MAML of a policy: inner steps by policy gradients, judged by the surrogate within a trust region."""
    adaptation = adapt(apply, vpg, rule or sgd(0.3), order)
    return make(apply, adaptation, surrogate, Chunking(chunk), trust_region=TrustRegion(apply, stride))
