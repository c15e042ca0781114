"""A trial of a network before anything is written."""

import gymnasium
import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from metarl.core.batch import Episodes
from metarl.core.errors import RequestError
from metarl.core.params import Meta, Params, expand, leaves, to_device, tree_map
from metarl.learn.adapt import unroll
from metarl.rollout.collector import readable
from metarl.run.agent import Agent


def probe(agent: Agent, meta: Meta) -> None:
    """Acts once for two tasks and adapts once to a batch of zeros, as training will.

    Raises:
        RequestError: the network fails at either, or its actions are not those of the family; one line.
    """
    name, space = agent.config.model, agent.family.action_space
    discrete = isinstance(space, gymnasium.spaces.Discrete)
    observation = agent.family.observation_space
    dtype = torch.from_numpy(readable(np.zeros(1, observation.dtype))).dtype
    each, obs = expand(meta, 2), torch.zeros(2, 1, 2, *(observation.shape or ()), dtype=dtype)
    try:
        with torch.no_grad():
            cpu = {key: value.cpu() for key, value in each.model.items()}
            actions: Tensor = agent.act(cpu, obs[:, :, 0]).mode()
        wanted = (2, 1, *(() if discrete else space.shape or ()))
        if actions.shape != wanted or actions.is_floating_point() == discrete:
            given = f"{actions.dtype} of shape {list(actions.shape[2:])}"
            raise RequestError(f"model {name!r} acts by {given}, family {agent.family.name!r} takes {space}")
        _compare(agent, cpu, obs[:, :, 0])
        adaptation = agent.adaptation(agent.config.inner_lr)
        unroll(adaptation, each, [_zeros(obs, actions, agent.device)])
    except RequestError:
        raise
    except Exception as error:  # whatever the network raises
        line = " ".join(str(error).split())[:200]
        raise RequestError(f"model {name!r} cannot be adapted: {type(error).__name__}: {line}") from error


def _compare(agent: Agent, params: Params, obs: Tensor) -> None:
    """The batched policy is the policy: a ``forward_tasks`` inherited beside a new ``forward`` is not."""
    apart = tree_map(lambda x: torch.stack([0.9 * x[0] + 0.1, x[1]]), params)
    obs = obs + 0.5 if obs.is_floating_point() else obs
    pairs = zip(leaves(agent.act(apart, obs)), leaves(vmap(agent.apply)(apart, obs)), strict=True)
    if not all(torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4) for ours, theirs in pairs):
        raise RequestError(f"model {agent.config.model!r} has a forward_tasks that differs from its forward")


def _zeros(obs: Tensor, actions: Tensor, device: torch.device) -> Episodes:
    """Episodes of two steps for each of two tasks, with the observations given and nothing gained."""
    zero, no = torch.zeros(2, 1, 2), torch.zeros(2, 1, 2, dtype=torch.bool)
    batch = Episodes(
        obs=obs,
        action=torch.stack([actions, actions], 2),
        reward=zero,
        terminated=no,
        truncated=no,
        mask=torch.ones_like(zero),
        log_prob=zero,
        final_obs=obs[:, :, 0],
        advantage=zero,
    )
    return to_device(batch, device)
