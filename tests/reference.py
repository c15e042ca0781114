"""The slow twin: a meta-learner written from the definitions, float64, plain loops, no torch.func.

Every fast part is held against it. A batch is anything with the attributes of one task's ``Episodes``; a task
is ``(support batches, query batch)``; ``tasks`` is a list of those. Distributions are tuples,
``(mean, log_std)`` or ``(logits,)``; two choices at once are one choice among all pairs. Nothing here imports
metarl.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Params = dict[str, Tensor]
Task = tuple[Sequence[Any], Any]

# Networks of so many outputs in all make two choices, the first of so many and the second of so many.
CHOICES = (2, 3)


def policy(params: Params, obs: Tensor) -> tuple[Tensor, ...]:
    """A tanh MLP, its layers in order of insertion; Gaussian where there is a ``log_std``."""
    x, weights = obs, [name for name in params if name.endswith("weight")]
    for name in weights:
        x = x @ params[name].T + params[name.replace("weight", "bias")]
        x = x if name == weights[-1] else torch.tanh(x)
    log_std = [value for name, value in params.items() if name.endswith("log_std")]
    if not log_std and x.shape[-1] == sum(CHOICES):
        first, second = x[..., : CHOICES[0], None], x[..., None, CHOICES[0] :]
        return ((first + second).flatten(-2),)
    return (x, log_std[0].expand_as(x)) if log_std else (x,)


def log_prob(dist: tuple[Tensor, ...], action: Tensor) -> Tensor:
    if len(dist) == 1:
        if action.ndim == dist[0].ndim:
            action = action[..., 0] * CHOICES[1] + action[..., 1]
        return torch.log_softmax(dist[0], -1).gather(-1, action.long()[..., None])[..., 0]
    mean, log_std = dist
    z = (action - mean) / torch.exp(log_std)
    return (-0.5 * z**2 - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)


def kl(p: tuple[Tensor, ...], q: tuple[Tensor, ...]) -> Tensor:
    """KL(p || q), summed over action dimensions."""
    if len(p) == 1:
        log_p, log_q = torch.log_softmax(p[0], -1), torch.log_softmax(q[0], -1)
        return (log_p.exp() * (log_p - log_q)).sum(-1)
    (m0, s0), (m1, s1) = p, q
    return (s1 - s0 + (torch.exp(2 * s0) + (m0 - m1) ** 2) / (2 * torch.exp(2 * s1)) - 0.5).sum(-1)


def entropy(dist: tuple[Tensor, ...]) -> Tensor:
    if len(dist) == 1:
        logp = torch.log_softmax(dist[0], -1)
        return -(logp.exp() * logp).sum(-1)
    return (dist[1] + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)


def discounted_returns(reward: Tensor, mask: Tensor, gamma: float) -> Tensor:
    out = torch.zeros_like(reward)
    for e, row in enumerate(reward):
        steps = int(mask[e].sum())
        for t in range(steps):
            out[e, t] = sum(gamma ** (k - t) * float(row[k]) for k in range(t, steps))
    return out


def gae(
    reward: Tensor, value: Tensor, final: Tensor, terminated: Tensor, mask: Tensor, gamma: float, lam: float
) -> Tensor:
    """A_t = sum_l (gamma lam)^l delta_{t+l}; after the last step comes nothing (terminated) or ``final``."""
    out = torch.zeros_like(reward)
    for e in range(len(reward)):
        steps, delta = int(mask[e].sum()), []
        for t in range(steps):
            after = float(value[e, t + 1]) if t + 1 < steps else float(final[e])
            after = 0.0 if bool(terminated[e, t]) else after
            delta.append(float(reward[e, t]) + gamma * after - float(value[e, t]))
        for t in range(steps):
            out[e, t] = sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, steps))
    return out


def features(obs: Tensor, t: int) -> Tensor:
    """One step's features: observation clipped to +-10, its square, t/100 with its square and cube, 1."""
    o, s = obs.clamp(-10.0, 10.0), t / 100.0
    return torch.cat([o, o**2, torch.tensor([s, s**2, s**3, 1.0], dtype=obs.dtype)])


def fit_linear(obs: Tensor, mask: Tensor, target: Tensor, ridge: float = 1e-5) -> Tensor:
    """min_w sum (w . x - y)^2 + ridge |w|^2 over one task's valid steps: one lstsq, the ridge as rows."""
    rows = [(e, t) for e in range(mask.shape[0]) for t in range(mask.shape[1]) if mask[e, t] > 0]
    x = torch.stack([features(obs[e, t], t) for e, t in rows])
    y = torch.stack([target[e, t] for e, t in rows])
    extra = math.sqrt(ridge) * torch.eye(x.shape[1], dtype=x.dtype)
    full = torch.cat([y, torch.zeros(x.shape[1], dtype=x.dtype)])
    return torch.linalg.lstsq(torch.cat([x, extra]), full[:, None], driver="gelsd").solution[:, 0]


def over_steps(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over all valid steps of one task, each step alike."""
    return torch.where(mask > 0, values, torch.zeros_like(values)).sum() / mask.sum()


def vpg(params: Params, batch: Any) -> Tensor:
    return -over_steps(log_prob(policy(params, batch.obs), batch.action) * batch.advantage, batch.mask)


def surrogate(params: Params, batch: Any) -> Tensor:
    ratio = torch.exp(log_prob(policy(params, batch.obs), batch.action) - batch.log_prob)
    return -over_steps(ratio * batch.advantage, batch.mask)


def dice(params: Params, batch: Any) -> Tensor:
    """Each step's advantage under the importance weight up to it less that before it, episode by episode."""
    log_ratio = log_prob(policy(params, batch.obs), batch.action) - batch.log_prob
    total = torch.zeros((), dtype=torch.float64)
    for e in range(len(batch.mask)):
        before = torch.ones((), dtype=torch.float64)
        for t in range(int(batch.mask[e].sum())):
            weight = before * torch.exp(log_ratio[e, t])
            total = total + (weight - before) * batch.advantage[e, t]
            before = weight
    return -total / batch.mask.sum()


def clipped(params: Params, batch: Any, clip: float) -> Tensor:
    """PPO's objective, step by step and case by case."""
    ratio = torch.exp(log_prob(policy(params, batch.obs), batch.action) - batch.log_prob)
    total = torch.zeros((), dtype=torch.float64)
    for e in range(len(batch.mask)):
        for t in range(int(batch.mask[e].sum())):
            r, a = ratio[e, t], batch.advantage[e, t]
            bound = 1 + clip if float(a) > 0 else 1 - clip
            at = float(r.detach())
            beyond = at > bound if float(a) > 0 else at < bound
            total = total + (bound if beyond else r) * a
    return -total / batch.mask.sum()


def inner_steps(params: Params, support: Sequence[Any], lr: float, order: int) -> Params:
    """One SGD step on the VPG loss a support batch; order 1 takes each gradient as a constant."""
    for batch in support:
        grads = torch.autograd.grad(vpg(params, batch), list(params.values()), create_graph=True)
        grads = grads if order == 2 else tuple(g.detach() for g in grads)
        params = {name: p - lr * g for (name, p), g in zip(params.items(), grads, strict=True)}
    return params


def leaves(params: Params) -> Params:
    return {name: p.detach().clone().requires_grad_(True) for name, p in params.items()}


def maml_loss(params: Params, tasks: Sequence[Task], lr: float, order: int = 2) -> Tensor:
    """Mean over tasks of the surrogate loss after adaptation."""
    losses = [surrogate(inner_steps(params, support, lr, order), query) for support, query in tasks]
    return torch.stack(losses).mean()


def maml_grad(params: Params, tasks: Sequence[Task], lr: float, order: int = 2) -> Params:
    theta = leaves(params)
    grads = torch.autograd.grad(maml_loss(theta, tasks, lr, order), list(theta.values()))
    return dict(zip(theta, grads, strict=True))


def maml_kl(params: Params, old: Params, tasks: Sequence[Task], lr: float, order: int = 2) -> Tensor:
    """Mean over tasks of the mean over query steps of KL(adapted from ``old`` || adapted from ``params``)."""
    total = []
    for support, query in tasks:
        before = policy(inner_steps(leaves(old), support, lr, order), query.obs)
        after = policy(inner_steps(params, support, lr, order), query.obs)
        total.append(over_steps(kl(tuple(x.detach() for x in before), after), query.mask))
    return torch.stack(total).mean()


def flat(params: Params) -> Tensor:
    return torch.cat([p.reshape(-1) for p in params.values()])


def unflat(vector: Tensor, like: Params) -> Params:
    parts = vector.split([p.numel() for p in like.values()])
    return {name: part.reshape(p.shape) for (name, p), part in zip(like.items(), parts, strict=True)}


def kl_hvp(params: Params, tasks: Sequence[Task], lr: float, order: int = 2) -> Callable[[Tensor], Tensor]:
    """v -> H v with H the Hessian of ``maml_kl`` at ``params``, by double backward."""
    theta = leaves(params)
    grads = torch.autograd.grad(
        maml_kl(theta, params, tasks, lr, order), list(theta.values()), create_graph=True
    )
    first = torch.cat([g.reshape(-1) for g in grads])

    def product(v: Tensor) -> Tensor:
        again = torch.autograd.grad(first @ v, list(theta.values()), retain_graph=True)
        return torch.cat([g.reshape(-1) for g in again])

    return product


def conjugate_gradients(product: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    x, r, p = torch.zeros_like(b), b.clone(), b.clone()
    for _ in range(iterations):
        if float(r @ r) < 1e-10:
            break
        hp = product(p)
        alpha = (r @ r) / (p @ hp)
        x, after = x + alpha * p, r - alpha * hp
        p, r = after + (after @ after) / (r @ r) * p, after
    return x


def trpo_step(
    params: Params,
    tasks: Sequence[Task],
    lr: float,
    order: int = 2,
    delta: float = 0.01,
    cg: int = 10,
    damping: float = 1e-5,
    shrink: float = 0.8,
    backtracks: int = 15,
) -> tuple[Params, int | None]:
    """The new parameters and how often the step was shrunk; unchanged and None where no step was accepted."""
    hessian, g = kl_hvp(params, tasks, lr, order), flat(maml_grad(params, tasks, lr, order))
    s = conjugate_gradients(lambda v: hessian(v) + damping * v, g, cg)
    step = torch.sqrt(2 * delta / (s @ (hessian(s) + damping * s))) * s
    before = maml_loss(leaves(params), tasks, lr, order).detach()
    for k in range(backtracks + 1):
        new = unflat(flat(params) - shrink**k * step, params)
        better = maml_loss(leaves(new), tasks, lr, order).detach() < before
        if better and maml_kl(leaves(new), params, tasks, lr, order).detach() <= delta:
            return new, k
    return params, None


def sgd_steps(x: Tensor, grads: Sequence[Tensor], lr: float) -> Tensor:
    for g in grads:
        x = x - lr * g
    return x


def adam_steps(
    x: Tensor, grads: Sequence[Tensor], lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> Tensor:
    m = v = torch.zeros_like(x)
    for t, g in enumerate(grads, start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        x = x - lr * (m / (1 - b1**t)) / (torch.sqrt(v / (1 - b2**t)) + eps)
    return x


def squashed(x: float) -> tuple[float, float]:
    """The LSTM meta-learner's preprocessing of one number, p = 10."""
    if abs(x) > math.exp(-10):
        return math.log(abs(x)) / 10, math.copysign(1, x)
    return -1.0, math.exp(10) * x


def lstm_steps(theta: float, grads: Sequence[float], losses: Sequence[float], w: Params) -> list[float]:
    """theta after each step of the LSTM meta-learner for one coordinate, number by number."""

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    def dot(row: Tensor, xs: Sequence[float]) -> float:
        return sum(float(a) * b for a, b in zip(row, xs, strict=True))

    n, f, i, out = len(w["W_F"]) - 2, 0.0, 0.0, []
    h, c = [0.0] * n, [0.0] * n
    for g, loss in zip(grads, losses, strict=True):
        x, before = [*squashed(loss), *squashed(g)], list(h)
        pre = [
            dot(w["lstm.weight_ih"][r], x) + dot(w["lstm.weight_hh"][r], before) + float(w["lstm.bias"][r])
            for r in range(4 * n)
        ]
        for k in range(n):
            write, keep, new, show = (pre[k + n * part] for part in range(4))
            c[k] = sigmoid(keep) * c[k] + sigmoid(write) * math.tanh(new)
            h[k] = sigmoid(show) * math.tanh(c[k])
        f = dot(w["W_F"], [*h, theta, f]) + float(w["b_F"])
        i = dot(w["W_I"], [*h, theta, i]) + float(w["b_I"])
        theta = sigmoid(f) * theta - sigmoid(i) * g
        out.append(theta)
    return out
