"""The network that a configuration names, and the weights that it starts from."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, cast

import safetensors.torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from safetensors import SafetensorError
from torch import nn

from metarl.core.cnn import CNN
from metarl.core.conv import Conv4
from metarl.core.critic import PREFIX
from metarl.core.errors import RequestError
from metarl.core.models import MLP, Choices, Gaussian
from metarl.core.params import Params, all_finite
from metarl.rollout.collector import possibilities
from metarl.rollout.family import Family, is_supervised
from metarl.run.config import TrainConfig
from metarl.run.files import is_file, warn
from metarl.run.sb3.archive import architecture, is_archive, read_archive
from metarl.run.sb3.names import check_expressible, names_of
from metarl.run.zoo import is_zoo


def network(config: TrainConfig, family: Family) -> nn.Module:
    """The module for a family's spaces, with weights drawn from torch's generator.

    Raises:
        RequestError: the named network does not read what the family gives, or cannot be made.
    """
    if ":" in config.model:
        return _own_module(config.model, family.observation_space, family.action_space)
    shape = _shape(family)
    outputs = sum(_outputs(family))
    if config.model != "mlp" and len(shape) != 3:
        raise _misfit(config, family, "an image, a Box of shape (channels, height, width)")
    if config.model == "conv4":
        if not is_supervised(family) and not isinstance(family.action_space, Discrete):
            raise RequestError(
                f"model 'conv4' gives logits of one choice, family {family.name!r} takes "
                f"{family.action_space}; use cnn"
            )
        return Conv4(shape, outputs, config.filters)
    if config.model == "mlp" and len(shape) != 1:
        raise _misfit(config, family, "a one-dimensional Box")
    net = _net(shape, outputs, config)
    return net if is_supervised(family) else _policy(net, config, family)


def _policy(net: nn.Module, config: TrainConfig, family: Family) -> nn.Module:
    """A network's outputs as what the family's actions are drawn from."""
    if isinstance(family.action_space, Box):
        return Gaussian(net, sum(_outputs(family)), config.init_std)
    return Choices(net, _outputs(family)) if isinstance(family.action_space, MultiDiscrete) else net


def value_network(config: TrainConfig, family: Family) -> nn.Module:
    """The module that says what a state is worth: ``mlp`` for vectors and ``cnn`` for images, whatever the
    policy's network is.

    Its last layer starts at zero. Drawn like the others it would begin with values of tenths of the largest
    possible return, which time-limited episodes go on from: the first advantages would be noise.

    Raises:
        RequestError: for observations that neither reads.
    """
    shape = _shape(family)
    if len(shape) not in (1, 3):
        raise RequestError(
            f"baseline 'value' reads a one-dimensional Box or an image, family {config.family!r} observes "
            f"{family.observation_space}; use baseline linear"
        )
    network = _net(shape, 1, config)
    last = (network if isinstance(network, MLP) else network.dense)[-1]
    nn.init.zeros_(cast(nn.Linear, last).weight)
    return network


def _shape(family: Family) -> tuple[int, ...]:
    """That of an observation in a Box; () for any other space."""
    space = family.observation_space
    return space.shape if isinstance(space, Box) else ()


def _net(shape: tuple[int, ...], outputs: int, config: TrainConfig) -> MLP | CNN:
    """The network that reads vectors, or the one that reads images."""
    if len(shape) == 1:
        return MLP(shape[0], config.hidden, outputs, config.activation)
    return CNN(shape, outputs, config.hidden)


def _outputs(family: Family) -> list[int]:
    """How many numbers a network gives for the labels or actions; for each component of a MultiDiscrete.

    Arrays of choices "n m" are refused as arrays of amounts are: whoever has some knows how to lay them out.
    """
    space, supervised = family.action_space, is_supervised(family)
    if isinstance(space, Box) and len(space.shape) == 1:
        return [int(space.shape[0])]
    several = isinstance(space, MultiDiscrete) and len(space.shape) == 1 and not supervised
    if isinstance(space, Discrete) or several:
        return possibilities(space)
    kind, also = ("labels", "") if supervised else ("actions", " or MultiDiscrete")
    raise RequestError(
        f"family {family.name!r} has {kind} in {space}; allowed: Discrete, a one-dimensional Box{also}"
    )


def _misfit(config: TrainConfig, family: Family, reads: str) -> RequestError:
    instead = {1: "use mlp", 3: "use cnn"}.get(
        len(_shape(family)), "give a network of your own by --model module:factory"
    )
    return RequestError(
        f"model {config.model!r} reads {reads}, family {config.family!r} observes "
        f"{family.observation_space}; {instead}"
    )


def _own_module(name: str, observation_space: Any, action_space: Any) -> nn.Module:
    """The network of ``module:factory``, which may stand in the working directory."""
    module, _, path = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        factory = reduce(getattr, path.split("."), cast(Any, importlib.import_module(module)))
        made = factory(observation_space, action_space)
    except Exception as error:  # whatever the user's code raises
        line = next(iter(str(error).strip().splitlines()), "")
        raise RequestError(f"model {name!r} cannot be made: {type(error).__name__}: {line}") from error
    if not isinstance(made, nn.Module):
        raise RequestError(f"model {name!r} returned {type(made).__name__}; allowed: a torch.nn.Module")
    return made


@contextmanager
def blamed(config: TrainConfig, cannot: str | None = None) -> Iterator[None]:
    """Whatever the network or the objective raises becomes one line that names both, or what cannot be."""
    try:
        yield
    except RequestError:
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        cannot = cannot or f"be adapted by {config.objective!r}"
        raise RequestError(f"model {config.model!r} cannot {cannot}: {told}") from error


def head(module: nn.Module) -> list[str]:
    """The parameters of the last layer: of the module that owns a network's last weight matrix."""
    owners = [name.rpartition(".")[0] for name, p in module.named_parameters() if p.ndim > 1]
    if not owners:
        raise RequestError(f"{type(module).__name__} has no layer with weights; adapts must not be 'head'")
    prefix = f"{owners[-1]}." if owners[-1] else ""
    return [name for name, _ in module.named_parameters() if name.startswith(prefix)]


def starting_params(config: TrainConfig, family: Family, module: nn.Module, like: Params) -> Params:
    """The weights of the file ``init_from``, ours or Stable-Baselines3's, once they fit those drawn.

    Raises:
        RequestError: no such file, one that is not trusted, or another network's; both sides are named.
    """
    path = Path(str(config.init_from))
    if not is_file(path):
        if is_zoo(path) or is_file(path / "config.yaml"):
            save = f"metarl.load({str(path)!r}).policy.save('start.safetensors')"
            told = f"init-from must be a file of weights, got {path}; of a run, in Python: {save}"
            raise RequestError(told)
        raise RequestError(f"init-from file {path} does not exist")
    if not is_archive(path):
        return read_params(path, like)
    state, theirs = read_archive(path, config.trust)
    check_expressible(config, family)
    weights = [p for p in module.parameters() if p.ndim > 1]
    ours = architecture(weights, config.activation, family.action_space)
    if str(theirs) != str(ours):
        raise RequestError(f"init-from file {path} has {theirs}, the network has {ours}")
    if theirs.bounds != ours.bounds:
        warn(f"init-from file {path} acts in {theirs.bounds}, the family in {ours.bounds}; it is cut there")
    valued = any(name.startswith(PREFIX) for name in like)
    return fitting(names_of(config, family, module, valued).from_sb3(state), like, path)


def read_params(path: Path, like: Params) -> Params:
    """Weights from a safetensors file that fit the network.

    Raises:
        RequestError: no safetensors, or weights of another network; both sides are named.
    """
    try:
        found = safetensors.torch.load_file(path)
    except (SafetensorError, OSError, TypeError, RuntimeError) as error:
        raise RequestError(f"init-from file {path} is not a safetensors file: {error}") from error
    return fitting(found, like, path)


def fitting(found: Params, like: Params, path: Path) -> Params:
    """Weights that were found in a file, once they fit the network. A value network's are taken if both have
    them; what one of the two lacks is told, and stays as it is drawn.

    Raises:
        RequestError: weights of another network; both sides are named.
    """
    has, wants = (any(name.startswith(PREFIX) for name in tree) for tree in (found, like))
    if has and not wants:
        warn(f"init-from file {path} has a value network, which is left out")
        found = {name: x for name, x in found.items() if not name.startswith(PREFIX)}
    if wants and not has:
        warn(f"init-from file {path} has no value network; it starts anew")
        found |= {name: x for name, x in like.items() if name.startswith(PREFIX)}
    for name in sorted(found.keys() | like.keys()):
        given = list(found[name].shape) if name in found else "nothing"
        wanted = list(like[name].shape) if name in like else "nothing"
        if given != wanted:
            raise RequestError(f"init-from file {path} has {given} for {name}, the network has {wanted}")
    check_finite(found, f"init-from file {path}")
    return {name: found[name].to(like[name].dtype) for name in like}


def check_finite(params: Params, origin: str) -> None:
    """Refuses weights to start from of which some are no numbers: no step from them would be finite."""
    for name, tensor in params.items():
        if not all_finite(tensor):
            raise RequestError(f"{origin} has values that are not finite in {name}")
