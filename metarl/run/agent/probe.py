"""A trial of a network before anything is written."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, vmap

from metarl.core.batch import Episodes
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
    """Try the network and the family as training will use them.

    Raises:
        RequestError: one of them fails; one line.
    """
    (_probe_network if agent.kind is EXAMPLES else _probe_policy)(agent, meta)


def _probe_policy(agent: Agent, meta: Meta) -> None:
    """Act once for two tasks and adapt once to a batch of zeros, as training will.

    Raises:
        RequestError: the network fails at either, or its actions are not those of the family; one line.
    """
    name, space = agent.config.model, agent.family.action_space
    observation = agent.family.observation_space
    dtype = torch.from_numpy(readable(np.zeros(1, observation.dtype))).dtype
    each, obs = expand(meta, 2), torch.zeros(2, 1, 2, *(observation.shape or ()), dtype=dtype)
    with model_errors(agent.config):
        with torch.no_grad():
            cpu = to_device(each.model, "cpu")
            policy = agent.apply_tasks(cpu, obs[:, :, 0])
            actions: Tensor = policy.mode()
        given = f"{actions.dtype} of shape {list(actions.shape[2:])}"
        fits = actions.shape == (2, 1, *(space.shape or ())) and actions.is_floating_point() != chooses(space)
        if fits and chooses(space):
            numbers = [logits.shape[-1] for logits in leaves(policy)]
            given, fits = f"choices of {' and '.join(map(str, numbers))}", numbers == possibilities(space)
        if not fits:
            raise RequestError(f"model {name!r} acts by {given}, family {agent.family.name!r} takes {space}")
        _compare(agent, cpu, obs[:, :, 0])
        if agent.config.order == 2:
            _check_curvature(agent, each, obs)
        _adapt(agent, each, _zeros(obs, actions))


def _probe_network(agent: Agent, meta: Meta) -> None:
    """Predict for the shots of two training tasks and adapt to them once, as training will.

    Raises:
        RequestError: the family's examples are not what its spaces promise, the network fails, or its outputs
            are not the family's labels; one line.
    """
    family = agent.supervised
    rng = seeding.generator(agent.config.seed, "shots")
    try:
        family.sample_tasks(1, rng, "validation")
        support, query = sample_shots(family, family.sample_tasks(2, rng, "train"), rng)
    except RequestError:
        raise
    except Exception as error:  # whatever a family of the user's raises
        line = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise RequestError(f"family {family.name!r} gives no examples: {line}") from error
    for shots, part in ((support, "support"), (query, "query")):
        check_shots(family, shots, part)
    each = expand(meta, len(support.x))
    classes = getattr(family.action_space, "n", None)
    fitting = "mse" if classes is None else "accuracy"
    if family.metric in ("mse", "accuracy") and family.metric != fitting:
        given = f"the metric {family.metric!r} for labels in {family.action_space}"
        raise RequestError(f"family {family.name!r} has {given}; allowed: {fitting}")
    with model_errors(agent.config):
        with torch.no_grad():
            cpu = to_device(each.model, "cpu")
            outputs: Tensor = agent.apply_tasks(cpu, support.x)
        wanted = support.y.shape if classes is None else (*support.y.shape, int(classes))
        if outputs.shape != wanted:
            given, labels = f"numbers of shape {list(outputs.shape[2:])} for each shot", family.action_space
            raise RequestError(
                f"model {agent.config.model!r} gives {given}, family {family.name!r} wants {labels}"
            )
        _compare(agent, cpu, support.x)
        if agent.config.order == 2:
            _check_curvature(agent, each, support.x)
        _adapt(agent, each, support)


def _adapt(agent: Agent, each: Meta, batch: Any) -> None:
    unroll(agent.adaptation, each, [to_device(batch, agent.device)])


def _compare(agent: Agent, params: Params, inputs: Tensor) -> None:
    """The batched network is the network: a ``forward_tasks`` inherited beside a new ``forward`` is not."""
    apart = tree_map(lambda x: torch.stack([0.9 * x[0] + 0.1, *x[1:]]), params)
    if inputs.is_floating_point() or inputs.dtype == torch.uint8:  # of a counted number, 0 is always one
        inputs = inputs + (0.5 if inputs.is_floating_point() else 127)
    pairs = zip(
        leaves(agent.apply_tasks(apart, inputs)), leaves(vmap(agent.apply)(apart, inputs)), strict=True
    )
    if not all(torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4) for ours, theirs in pairs):
        raise RequestError(f"model {agent.config.model!r} has a forward_tasks that differs from its forward")


def _check_curvature(agent: Agent, each: Meta, inputs: Tensor) -> None:
    """Second derivatives through ``vmap`` are those without it.

    Where each task has parameters of its own, some of torch's kernels lose a part of theirs and say nothing:
    LayerNorm, BatchNorm and InstanceNorm with a learned scale (functorch issue 534).
    """
    generator = torch.Generator().manual_seed(0)

    def drawn(x: Tensor) -> Tensor:  # in float64, where no maximum falls the other way by rounding
        if x.dtype == torch.uint8:
            return torch.randint(256, x.shape, generator=generator, dtype=torch.uint8).to(x.device)
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device)
        return noise if x.is_floating_point() else x

    inputs = drawn(inputs).to(agent.device)
    params = tree_map(lambda x: x + 0.1 * drawn(x), each.model)
    along = tree_map(drawn, params)

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


def _zeros(obs: Tensor, actions: Tensor) -> Episodes:
    """Episodes of two steps for each of two tasks, with the observations given and nothing gained."""
    zero, no = torch.zeros(2, 1, 2), torch.zeros(2, 1, 2, dtype=torch.bool)
    return Episodes(
        obs=obs,
        action=torch.stack([actions, actions], 2),
        reward=zero,
        terminated=no,
        truncated=no,
        mask=torch.ones_like(zero),
        log_prob=zero,
        final_obs=obs[:, :, 0],
        advantage=zero,
        target=zero,
    )
