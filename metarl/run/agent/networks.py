"""Networks by name, and the one that a configuration names."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import gymnasium
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from torch import nn

from metarl.core.cnn import CNN
from metarl.core.conv import Conv4
from metarl.core.errors import RequestError
from metarl.core.models import MLP, Choices, Gaussian
from metarl.core.registry import Registry
from metarl.rollout.collector import possibilities
from metarl.rollout.family import Family
from metarl.run.agent.data_kinds import EXAMPLES, kind_of
from metarl.run.config.train_config import TrainConfig

IMAGE = 3  # axes of one: (channels, height, width)


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a network: what it reads and gives; the defaults suit an unknown one.

    Attributes:
        axes: of the observations that it reads, in a Box; None for one that refuses what it cannot read.
        plain: it gives one number for each amount, or for each of the choices, that an action or a label
            has. A run makes a policy of them; any other network gives what policies draw from by itself.
        one_choice: as a policy it gives the logits of one choice, and of nothing else.
    """

    axes: int | None = None
    plain: bool = False
    one_choice: bool = False


# (observation_space, action_space, further options of a configuration by keyword) -> a module
models: Registry[Callable[..., nn.Module], ModelFacts] = Registry(
    "model", "metarl.models", no_facts=ModelFacts()
)


@models.register("mlp", ModelFacts(axes=1, plain=True))
def mlp(observation_space: Any, action_space: Any, *, hidden: Sequence[int], activation: str = "tanh") -> MLP:
    """Layers of ``hidden`` units, for vectors."""
    return MLP(observation_space.shape[0], hidden, outputs_of(action_space), activation)


@models.register("cnn", ModelFacts(axes=IMAGE, plain=True))
def cnn(observation_space: Any, action_space: Any, *, hidden: Sequence[int]) -> CNN:
    """Convolutions and layers of ``hidden`` units, for images."""
    return CNN(observation_space.shape, outputs_of(action_space), hidden)


@models.register("conv4", ModelFacts(axes=IMAGE, plain=True, one_choice=True))
def conv4(observation_space: Any, action_space: Any, *, filters: int = 32) -> Conv4:
    """Four blocks of convolution and batch normalisation, for classes of images."""
    return Conv4(observation_space.shape, outputs_of(action_space), filters)


def network(config: TrainConfig, family: Family) -> nn.Module:
    """Return the module for a family's spaces, with weights drawn from torch's generator.

    Its factory is called with the two spaces; keyword-only arguments that are named as an option of the
    configuration are given that option.

    Raises:
        RequestError: the network does not read what the family gives, or cannot be made.
    """
    factory, facts = models[config.model], models.facts(config.model)
    if facts.plain:
        _check_outputs(family)
    if facts.axes is not None and len(_shape(family)) != facts.axes:
        raise _misfit(config, family, facts.axes)
    policy = kind_of(family) is not EXAMPLES
    if policy and facts.one_choice and not isinstance(family.action_space, Discrete):
        raise RequestError(
            f"model {config.model!r} gives logits of one choice, family {family.name!r} takes "
            f"{family.action_space}; use cnn"
        )
    module = factory(family.observation_space, family.action_space, **_options(factory, config))
    if not isinstance(module, nn.Module):
        raise RequestError(
            f"model {config.model!r} returned {type(module).__name__}; allowed: a torch.nn.Module"
        )
    return _policy(module, config, family.action_space) if policy and facts.plain else module


def _options(factory: Callable[..., nn.Module], config: TrainConfig) -> dict[str, Any]:
    parameters = inspect.signature(factory).parameters.values()
    named = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and hasattr(config, p.name)]
    return {name: getattr(config, name) for name in named}


def _policy(module: nn.Module, config: TrainConfig, space: gymnasium.Space[Any]) -> nn.Module:
    """Return a network whose outputs are what the family's actions are drawn from."""
    if isinstance(space, Box):
        return Gaussian(module, outputs_of(space), config.init_std)
    return Choices(module, possibilities(space)) if isinstance(space, MultiDiscrete) else module


def value_network(config: TrainConfig, family: Family) -> nn.Module:
    """Return the module that estimates the value of a state: ``mlp`` for vectors and ``cnn`` for images,
    whatever the policy's network is.

    Its last layer starts at zero. Drawn like the others it would begin with values of tenths of the largest
    possible return, which time-limited episodes go on from: the first advantages would be noise.

    Raises:
        RequestError: for observations that neither reads.
    """
    shape = _shape(family)
    if len(shape) not in (1, IMAGE):
        raise RequestError(
            f"baseline 'value' reads a one-dimensional Box or an image, family {config.family!r} observes "
            f"{family.observation_space}; use baseline linear"
        )
    if len(shape) == IMAGE:
        module: MLP | CNN = CNN(shape, 1, config.hidden)
    else:
        module = MLP(shape[0], config.hidden, 1, config.activation)
    last = (module if isinstance(module, MLP) else module.dense)[-1]
    nn.init.zeros_(cast(nn.Linear, last).weight)
    return module


def _shape(family: Family) -> tuple[int, ...]:
    """Return the shape of an observation in a Box; () for any other space."""
    space = family.observation_space
    return space.shape if isinstance(space, Box) else ()


def outputs_of(space: gymnasium.Space[Any]) -> int:
    """Return how many numbers a network gives for an action or a label: of amounts one each, of choices one
    for each possibility.
    """
    return int(space.shape[0]) if isinstance(space, Box) else sum(possibilities(space))


def _check_outputs(family: Family) -> None:
    """Refuse arrays of amounts or of choices "n m": whoever has some knows how to lay them out."""
    space, labels = family.action_space, kind_of(family) is EXAMPLES
    flat = isinstance(space, Box | MultiDiscrete) and len(space.shape) == 1
    if isinstance(space, Discrete) or (flat and not (labels and isinstance(space, MultiDiscrete))):
        return
    data, also = ("labels", "") if labels else ("actions", " or MultiDiscrete")
    raise RequestError(
        f"family {family.name!r} has {data} in {space}; allowed: Discrete, a one-dimensional Box{also}"
    )


def _misfit(config: TrainConfig, family: Family, axes: int) -> RequestError:
    reads = {1: "a one-dimensional Box", IMAGE: "an image, a Box of shape (channels, height, width)"}
    instead = {1: "use mlp", IMAGE: "use cnn"}.get(
        len(_shape(family)), "give a network of your own by --model module:factory"
    )
    return RequestError(
        f"model {config.model!r} reads {reads.get(axes, f'a Box with {axes} axes')}, "
        f"family {config.family!r} observes {family.observation_space}; {instead}"
    )


@contextmanager
def model_errors(config: TrainConfig, cannot: str | None = None) -> Iterator[None]:
    """Turn whatever the network or the objective raises into one line that names both.

    Args:
        cannot: what the network cannot, where the objective has no part in it.
    """
    try:
        yield
    except RequestError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        cannot = cannot or f"be adapted by {config.objective!r}"
        raise RequestError(f"model {config.model!r} cannot {cannot}: {reason}") from error


def head(module: nn.Module) -> list[str]:
    """Return the names of the last layer's parameters: of the owner of a network's last weight matrix."""
    owners = [name.rpartition(".")[0] for name, p in module.named_parameters() if p.ndim > 1]
    if not owners:
        raise RequestError(f"{type(module).__name__} has no layer with weights; adapts must not be 'head'")
    prefix = f"{owners[-1]}." if owners[-1] else ""
    return [name for name, _ in module.named_parameters() if name.startswith(prefix)]
