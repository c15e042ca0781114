"""A trial of a network before anything is written."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, vmap

from metarl.core.batch import Episodes, Shots
from metarl.core.errors import RequestError
from metarl.core.params import Meta, Params, expand, leaves, ravel, to_device, tree_map
from metarl.learn.adapt import unroll
from metarl.rollout import seeding
from metarl.rollout.collector import chooses, possibilities, readable
from metarl.rollout.shots import check_shots, sample_shots
from metarl.run.agent.agent import Agent
from metarl.run.agent.data_kinds import EXAMPLES
from metarl.run.agent.networks import model_errors


def probe(agent: Agent, meta: Meta) -> None:
    """Try the network and the family as training will use them: apply once for two tasks and adapt once, to
    a batch of zeros or to the shots of two training tasks.

    Raises:
        RequestError: the family's examples are not what its spaces promise, the network fails, or its outputs
            are not the family's actions or labels; one line.
    """
    shots = _sample(agent) if agent.kind is EXAMPLES else None
    inputs = _zeros(agent) if shots is None else shots.x
    meta = expand(meta, len(inputs))
    with model_errors(agent.config):
        with torch.no_grad():
            params = to_device(meta.model, "cpu")
            outputs = agent.apply_tasks(params, inputs)
        if shots is None:
            batch: Any = _episodes(inputs, _checked_actions(agent, outputs))
        else:
            batch = shots
            _check_labels(agent, outputs, shots)
        _compare(agent, params, inputs)
        if agent.config.order == 2:
            _check_curvature(agent, meta.model, inputs)
        unroll(agent.adaptation, meta, [to_device(batch, agent.device)])


def _zeros(agent: Agent) -> Tensor:
    """Return two observations of zeros for each of two tasks."""
    space = agent.family.observation_space
    dtype = torch.from_numpy(readable(np.zeros(1, space.dtype))).dtype
    return torch.zeros(2, 2, *(space.shape or ()), dtype=dtype)


def _checked_actions(agent: Agent, policy: Any) -> Tensor:
    """Return a policy's most likely actions, once they are those of the family."""
    space, actions = agent.family.action_space, policy.mode()
    kind = f"{actions.dtype} of shape {list(actions.shape[2:])}"
    fits = actions.shape == (2, 2, *(space.shape or ())) and actions.is_floating_point() != chooses(space)
    if fits and chooses(space):
        numbers = [logits.shape[-1] for logits in leaves(policy)]
        kind, fits = f"choices of {' and '.join(map(str, numbers))}", numbers == possibilities(space)
    if not fits:
        model, family = agent.config.model, agent.family.name
        raise RequestError(f"model {model!r} acts by {kind}, family {family!r} takes {space}")
    return torch.as_tensor(actions)


def _episodes(inputs: Tensor, actions: Tensor) -> Episodes:
    """Return two episodes of one step for each task, in which nothing is gained."""
    zero = torch.zeros(2, 2, 1)
    return Episodes(
        obs=inputs.unsqueeze(2),
        action=actions.unsqueeze(2),
        reward=zero,
        terminated=zero.bool(),
        truncated=zero.bool(),
        mask=torch.ones_like(zero),
        log_prob=zero,
        final_obs=inputs,
        advantage=zero,
        target=zero,
    )


def _sample(agent: Agent) -> Shots:
    """Return the support of two training tasks, once the family gives what it promises."""
    family, rng = agent.supervised, seeding.generator(agent.config.seed, "shots")
    try:
        family.sample_tasks(1, rng, "validation")
        support, query = sample_shots(family, family.sample_tasks(2, rng, "train"), rng)
    except RequestError:
        raise
    except Exception as error:  # whatever a family of the user's raises
        line = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise RequestError(f"family {family.name!r} gives no examples: {line}") from error
    check_shots(family, support, "support")
    check_shots(family, query, "query")
    fitting = "accuracy" if hasattr(family.action_space, "n") else "mse"
    if family.metric in ("mse", "accuracy") and family.metric != fitting:
        metric = f"the metric {family.metric!r} for labels in {family.action_space}"
        raise RequestError(f"family {family.name!r} has {metric}; allowed: {fitting}")
    return support


def _check_labels(agent: Agent, outputs: Tensor, support: Shots) -> None:
    space = agent.family.action_space
    if outputs.shape != (*support.y.shape, *([int(space.n)] if hasattr(space, "n") else [])):
        numbers = f"numbers of shape {list(outputs.shape[2:])} for each shot"
        model, family = agent.config.model, agent.family.name
        raise RequestError(f"model {model!r} gives {numbers}, family {family!r} wants {space}")


def _compare(agent: Agent, params: Params, inputs: Tensor) -> None:
    """Refuse a ``forward_tasks``, perhaps inherited with a new ``forward``, that is another network."""
    apart = tree_map(lambda x: torch.stack([0.9 * x[0] + 0.1, *x[1:]]), params)
    if inputs.is_floating_point() or inputs.dtype == torch.uint8:  # of a counted number, 0 is always one
        inputs = inputs + (0.5 if inputs.is_floating_point() else 127)
    pairs = zip(
        leaves(agent.apply_tasks(apart, inputs)), leaves(vmap(agent.apply)(apart, inputs)), strict=True
    )
    if not all(torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4) for ours, theirs in pairs):
        raise RequestError(f"model {agent.config.model!r} has a forward_tasks that differs from its forward")


def _check_curvature(agent: Agent, params: Params, inputs: Tensor) -> None:
    """Refuse a network whose second derivatives through ``vmap`` are not those without it.

    Where each task has parameters of its own, some of torch's kernels lose a part of theirs and say nothing:
    LayerNorm, BatchNorm and InstanceNorm with a learned scale (functorch issue 534).
    """
    generator = torch.Generator().manual_seed(0)

    def draw(x: Tensor) -> Tensor:  # in float64, where no maximum falls the other way by rounding
        if x.dtype == torch.uint8:
            return torch.randint(256, x.shape, generator=generator, dtype=torch.uint8).to(x.device)
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device)
        return noise if x.is_floating_point() else x

    inputs = draw(inputs).to(agent.device)
    params = tree_map(lambda x: x + 0.1 * draw(x), params)
    along = tree_map(draw, params)

    def loss(params: Params, x: Tensor) -> Tensor:
        return torch.stack([out.sin().square().sum() for out in leaves(agent.apply(params, x))]).sum()

    def products(gradient: Callable[[Params], Params]) -> list[Tensor]:
        at = tree_map(lambda x: x.clone().requires_grad_(), params)
        slope = ravel(gradient(at)) @ ravel(along)
        return list(torch.autograd.grad(slope, leaves(at), materialize_grads=True))

    def one_by_one(at: Params) -> Params:
        tasks = [grad(loss)({name: p[i] for name, p in at.items()}, x) for i, x in enumerate(inputs)]
        return {name: torch.stack([task[name] for task in tasks]) for name in at}

    try:
        pairs = zip(products(lambda at: vmap(grad(loss))(at, inputs)), products(one_by_one), strict=True)
    except RuntimeError:  # a network that float64 does not pass through cannot be judged
        return
    wrong = [name for name, (a, b) in zip(params, pairs, strict=True) if (a - b).norm() > 1e-3 * b.norm()]
    if wrong:
        raise RequestError(
            f"model {agent.config.model!r} has wrong second derivatives of {wrong[0]} under torch.func.vmap, "
            "as LayerNorm and BatchNorm with a learned scale have; "
            "use RMSNorm, GroupNorm or algorithm 'fomaml'"
        )
