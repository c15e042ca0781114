"""Networks, and the one way to call them: ``apply(params, x)`` with the parameters as an argument."""

import copy
import itertools
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from metarl.core.distributions import Categorical, DiagGaussian, Distribution
from metarl.core.errors import RequestError
from metarl.core.params import Params

Apply = Callable[[Params, Tensor], Any]

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


class MLP(nn.Sequential):
    """Fully connected network; weights Xavier-uniform and biases zero, as in Finn et al. 2017."""

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, activation: str = "tanh") -> None:
        widths = [inputs, *hidden, outputs]
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(widths):
            linear = nn.Linear(fan_in, fan_out)
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
            layers += [linear, ACTIVATIONS[activation]()]
        super().__init__(*layers[:-1])

    def forward_tasks(
        self, params: Params, x: Float[Tensor, "task row inputs"], prefix: str = ""
    ) -> Float[Tensor, "task row outputs"]:
        """``forward`` of each task's own parameters, which stand under ``prefix``.

        The same numbers as ``vmap`` of a functional call. Rollouts call networks on a few hundred rows at a
        time, where the overhead of the transforms is three quarters of the time; here there is none.
        """
        for i, layer in enumerate(self):
            if isinstance(layer, nn.Linear):
                bias, weight = params[f"{prefix}{i}.bias"], params[f"{prefix}{i}.weight"]
                x = torch.baddbmm(bias.unsqueeze(1), x, weight.mT)
            else:
                x = layer(x)
        return x


class GaussianMLP(nn.Module):
    """Observation → (mean, log_std); the standard deviation is learned and the same in all states."""

    # Of rllab's Gaussian policy, which the published runs use: keeps the log-likelihood finite.
    min_std = 1e-6

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden: Sequence[int] = (64, 64),
        activation: str = "tanh",
        init_std: float = 1.0,
    ) -> None:
        super().__init__()
        self.net = MLP(obs_dim, hidden, action_dim, activation)
        self.log_std = nn.Parameter(torch.full((action_dim,), math.log(init_std)))

    def forward(
        self, obs: Float[Tensor, "*b obs"]
    ) -> tuple[Float[Tensor, "*b action"], Float[Tensor, "*b action"]]:
        mean = self.net(obs)
        return mean, self.log_std.clamp(min=math.log(self.min_std)).expand_as(mean)

    def forward_tasks(
        self, params: Params, obs: Float[Tensor, "task row obs"]
    ) -> tuple[Float[Tensor, "task row action"], Float[Tensor, "task row action"]]:
        """``forward`` of each task's own parameters."""
        mean = self.net.forward_tasks(params, obs, "net.")
        log_std = params["log_std"].clamp(min=math.log(self.min_std))
        return mean, log_std.unsqueeze(1).expand_as(mean).contiguous()  # exp of an expanded view is slow


def functional(module: nn.Module) -> Apply:
    """``apply(params, x)``: the module's forward pass with ``params`` in place of its own parameters.

    ``functional_call`` puts the parameters into the live module for the length of the call, so threads must
    not share one: each thread calls a copy of its own. Parameters of other modules, such as a value
    network's, may be among ``params``.
    """
    local = threading.local()
    names = [name for name, _ in module.named_parameters()]

    def apply(params: Params, x: Tensor) -> Any:
        if not hasattr(local, "module"):
            local.module = copy.deepcopy(module)
        return functional_call(local.module, {name: params[name] for name in names}, (x,))

    return apply


def policy(module: nn.Module) -> Callable[[Params, Tensor], Distribution]:
    """``apply(params, obs)`` that returns a distribution over actions.

    The module returns ``(mean, log_std)``, which is read as a diagonal Gaussian, or logits, which are read as
    a categorical distribution.
    """
    call = functional(module)
    return lambda params, obs: _distribution(call(params, obs), module)


def of_tasks(module: nn.Module) -> Apply:
    """``vmap(functional(module))``: parameters and inputs have the task axis first.

    A module may bring ``forward_tasks(params, x)``, which is then called in place of ``vmap``.
    """
    return getattr(module, "forward_tasks", None) or vmap(functional(module))


def policy_of_tasks(module: nn.Module) -> Callable[[Params, Tensor], Distribution]:
    """``vmap(policy(module))``: parameters and observations have the task axis first."""
    call = of_tasks(module)
    return lambda params, obs: _distribution(call(params, obs), module)


def _distribution(out: Any, module: nn.Module) -> Distribution:
    if isinstance(out, tuple) and len(out) == 2:
        return DiagGaussian(*out)
    if isinstance(out, Tensor):
        return Categorical(out)
    raise RequestError(
        f"a policy network returns (mean, log_std) or logits, "
        f"{type(module).__name__} returned {type(out).__name__}"
    )


def initial_params(module: nn.Module) -> Params:
    """The module's current parameters as values; a network with buffers is refused by name."""
    buffers = [name for name, _ in module.named_buffers()]
    if buffers:
        raise RequestError(
            f"{type(module).__name__} keeps state outside its parameters ({', '.join(buffers)}); "
            "use layers without buffers (for batch normalisation see metarl.core.conv)"
        )
    return {name: p.detach().clone() for name, p in module.named_parameters()}
