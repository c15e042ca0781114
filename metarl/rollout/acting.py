"""Networks as rollouts call them: on the CPU, a few hundred rows at a time, with nothing to differentiate."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from metarl.core.models import Apply, functional, policy_of_tasks
from metarl.core.params import Params, leaves, replace_leaves

FEWEST = 4  # rows of a task; products of 2 or 3 are rounded as their place in memory has it (MKL)


def acting(module: nn.Module) -> Apply:
    """The policies of all tasks of a batch as collections call them: ``act(params, obs "task row …")``.

    What a task's policy gives is the same, bit for bit, whichever other tasks are beside it, if any are.
    """
    call = policy_of_tasks(for_rollouts(module))

    def act(params: Params, obs: Tensor) -> Any:
        rows = obs.shape[1]
        if not 1 < rows < FEWEST:
            return call(params, obs)
        more = obs[:, :1].expand(-1, FEWEST - rows, *obs.shape[2:])
        found = call(params, torch.cat([obs, more], 1))
        return replace_leaves(found, [leaf[:, :rows] for leaf in leaves(found)])

    return act


def convolves(module: nn.Module) -> bool:
    """Return whether a network has convolutions, or other weights of more than two axes."""
    return any(p.ndim > 2 for p in module.parameters())


class _Tanh(nn.Tanh):
    """tanh by NumPy: as exact as torch's, which took ten times as long where it was measured."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.tanh(x.numpy()))


class _OneByOne(nn.Module):
    """A network called for each task by itself.

    ``vmap`` makes one grouped convolution of those of all tasks, whose kernel depends on how many there are.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._call = functional(module)

    def forward_tasks(self, params: Params, x: Tensor) -> Any:
        """``forward`` of each task's own parameters, the task axis first."""
        pieces = [self._call({k: p[i] for k, p in params.items()}, part) for i, part in enumerate(x)]
        columns = zip(*(leaves(piece) for piece in pieces), strict=True)
        return replace_leaves(pieces[0], [torch.stack(column) for column in columns])


def for_rollouts(module: nn.Module) -> nn.Module:
    """A copy of a network that brings ``forward_tasks``, with activations that are quick on a CPU.

    Any other network that convolves is called for one task after another. What is left is called through
    ``vmap``, which has to see torch's own activations, and stays as it is.
    """
    if not hasattr(module, "forward_tasks"):
        return _OneByOne(module) if convolves(module) else module
    made = copy.deepcopy(module)
    for part in list(made.modules()):
        for name, child in part.named_children():
            if type(child) is nn.Tanh:
                setattr(part, name, _Tanh())
    return made
