"""Networks, and the one way to call them: ``apply(params, x)`` with the parameters as an argument."""

import copy
import itertools
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, vmap

from metarl.core.distributions import Categorical, DiagGaussian, Distribution, MultiCategorical
from metarl.core.errors import RequestError
from metarl.core.params import Params

Apply = Callable[[Params, Tensor], Any]


class InTasks(Protocol):
    """A network that computes many tasks at once without ``vmap``."""

    def forward_tasks(self, params: Params, x: Tensor, prefix: str = "") -> Tensor:
        """Return ``forward`` of each task's own parameters, which stand under ``prefix``."""


ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


class MLP(nn.Sequential):
    """A fully connected network; weights Xavier-uniform and biases zero, as in Finn et al. 2017.

    Args:
        inputs: numbers it reads.
        hidden: units of each layer between.
        outputs: numbers it gives.
        activation: "tanh" or "relu", after each layer but the last.

    Example:
        >>> import torch
        >>> from metarl.core.models import MLP
        >>> network = MLP(inputs=2, hidden=(64, 64), outputs=3)
        >>> network(torch.zeros(5, 2)).shape
        torch.Size([5, 3])
    """

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
        """Return ``forward`` of each task's own parameters, which stand under ``prefix``.

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


class Gaussian(nn.Module):
    """Observation → (mean, log_std), which ``policy`` reads as a normal distribution of actions.

    Args:
        net: observation → mean; it brings ``forward_tasks``.
        action_dim: numbers of an action.
        init_std: what the standard deviation starts at, which is learned and the same in all states.

    Example:
        >>> import torch
        >>> from metarl.core.models import MLP, Gaussian
        >>> mean, log_std = Gaussian(MLP(2, (64, 64), 1), action_dim=1, init_std=1.0)(torch.zeros(5, 2))
        >>> mean.shape, log_std.unique()
        (torch.Size([5, 1]), tensor([0.], grad_fn=<Unique2Backward0>))
    """

    # Of rllab's Gaussian policy, which the published runs use: keeps the log-likelihood finite.
    min_std = 1e-6

    def __init__(self, net: nn.Module, action_dim: int, init_std: float = 1.0) -> None:
        super().__init__()
        self.net = net
        self.log_std = nn.Parameter(torch.full((action_dim,), math.log(init_std)))

    def forward(
        self, obs: Shaped[Tensor, "..."]
    ) -> tuple[Float[Tensor, "*b action"], Float[Tensor, "*b action"]]:
        mean = self.net(obs)
        return mean, self.log_std.clamp(min=math.log(self.min_std)).expand_as(mean)

    def forward_tasks(
        self, params: Params, obs: Shaped[Tensor, "task row ..."]
    ) -> tuple[Float[Tensor, "task row action"], Float[Tensor, "task row action"]]:
        """Return ``forward`` of each task's own parameters."""
        mean = cast(InTasks, self.net).forward_tasks(params, obs, "net.")
        log_std = params["log_std"].clamp(min=math.log(self.min_std))
        return mean, log_std.unsqueeze(1).expand_as(mean).contiguous()  # exp of an expanded view is slow


class GaussianMLP(Gaussian):
    """``Gaussian`` of an ``MLP``."""

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden: Sequence[int] = (64, 64),
        activation: str = "tanh",
        init_std: float = 1.0,
    ) -> None:
        super().__init__(MLP(obs_dim, hidden, action_dim, activation), action_dim, init_std)


class Choices(nn.Module):
    """Observation → ``MultiCategorical``: the outputs of ``net``, which brings ``forward_tasks``, are the
    logits of the first component, then those of the second, and so on; ``numbers`` says how many each has.
    """

    def __init__(self, net: nn.Module, numbers: Sequence[int]) -> None:
        super().__init__()
        self.net, self.numbers = net, list(numbers)

    def forward(self, obs: Shaped[Tensor, "..."]) -> MultiCategorical:
        return MultiCategorical(self.net(obs).split(self.numbers, -1))

    def forward_tasks(self, params: Params, obs: Shaped[Tensor, "task row ..."]) -> MultiCategorical:
        """Return ``forward`` of each task's own parameters."""
        logits = cast(InTasks, self.net).forward_tasks(params, obs, "net.")
        return MultiCategorical(logits.split(self.numbers, -1))


def functional(module: nn.Module) -> Apply:
    """Make a module a function of its parameters.

    ``functional_call`` puts the parameters into the live module for the length of the call, so threads must
    not share one: each thread calls a copy of its own.

    Args:
        module: a network without buffers.

    Returns:
        ``apply(params, x)``, the forward pass with ``params`` in place of the module's own. Parameters of
        other modules, such as a value network's, may be among them.

    Example:
        >>> import torch
        >>> from metarl.core.models import functional, initial_params
        >>> module = torch.nn.Linear(2, 1)
        >>> apply, params = functional(module), initial_params(module)
        >>> apply({name: torch.ones_like(p) for name, p in params.items()}, torch.tensor([[1.0, 2.0]])).item()
        4.0
    """
    local = threading.local()
    names = [name for name, _ in module.named_parameters()]

    def apply(params: Params, x: Tensor) -> Any:
        if not hasattr(local, "module"):
            local.module = copy.deepcopy(module)
        return functional_call(local.module, {name: params[name] for name in names}, (x,))

    return apply


def policy(module: nn.Module) -> Callable[[Params, Tensor], Distribution]:
    """Make a module a function of its parameters that gives distributions of actions.

    Args:
        module: a network without buffers, which returns ``(mean, log_std)``, read as a diagonal Gaussian; or
            logits, read as a categorical distribution; or a distribution of ``core.distributions``, taken as
            it is (several choices at once are a ``MultiCategorical``).

    Returns:
        ``apply(params, obs)``.

    Raises:
        RequestError: (the function) the module returns something else.

    Example:
        >>> import torch
        >>> from metarl.core.models import MLP, initial_params, policy
        >>> network = MLP(inputs=2, hidden=(), outputs=4)
        >>> apply = policy(network)
        >>> apply({name: 0 * p for name, p in initial_params(network).items()}, torch.zeros(1, 2)).entropy()
        tensor([1.3863])
    """
    call = functional(module)
    return lambda params, obs: _distribution(call(params, obs), module)


def of_tasks(module: nn.Module) -> Apply:
    """Return ``functional`` of many tasks: parameters and inputs have the task axis first.

    A module may bring ``forward_tasks(params, x)``, which is then called in place of ``vmap``.
    """
    return getattr(module, "forward_tasks", None) or vmap(functional(module))


def policy_of_tasks(module: nn.Module) -> Callable[[Params, Tensor], Distribution]:
    """Return ``policy`` of many tasks: parameters and observations have the task axis first."""
    call = of_tasks(module)
    return lambda params, obs: _distribution(call(params, obs), module)


def _distribution(out: Any, module: nn.Module) -> Distribution:
    if isinstance(out, Distribution):
        return out
    if isinstance(out, tuple) and len(out) == 2:
        return DiagGaussian(*out)
    if isinstance(out, Tensor):
        return Categorical(out)
    raise RequestError(
        f"a policy network returns (mean, log_std), logits or a MultiCategorical, "
        f"{type(module).__name__} returned {type(out).__name__}"
    )


def initial_params(module: nn.Module) -> Params:
    """Return the module's current parameters as values; a network with buffers is refused by name."""
    buffers = [name for name, _ in module.named_buffers()]
    if buffers:
        raise RequestError(
            f"{type(module).__name__} keeps state outside its parameters ({', '.join(buffers)}); "
            "use layers without buffers (for batch normalisation see metarl.core.conv)"
        )
    return {name: p.detach().clone() for name, p in module.named_parameters()}
