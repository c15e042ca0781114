"""What a configuration stands for: the family, the network and the functions that make up an algorithm."""

import dataclasses
import importlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple, cast

import gymnasium
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from metarl.core.errors import RequestError
from metarl.core.models import MLP, Apply, GaussianMLP, initial_params, policy, policy_of_tasks
from metarl.core.objectives import Objective, objectives
from metarl.core.params import Meta, Params, to_device
from metarl.core.rules import rules
from metarl.learn.adapt import Adaptation, adapt
from metarl.learn.chunks import Chunking
from metarl.learn.maml import MetaLearner, learners
from metarl.learn.optimisers import MetaOptimiser, optimisers
from metarl.rollout import seeding
from metarl.rollout.family import TaskFamily, observe_task
from metarl.rollout.registry import make
from metarl.run.config import TrainConfig
from metarl.run.resolve import choose_device

# Steps of experience in one chunk on a CPU: large enough that overhead does not show, small enough for the
# caches (2×64 policy, two cores: 20,000 was fastest of 4,000 to 80,000).
CPU_CHUNK_STEPS = 20_000


class Composition(NamedTuple):
    """An algorithm by its parts: rule and meta-learner by name, and the order of the inner derivative."""

    rule: str
    learner: str
    order: int


COMPOSITIONS = {
    "maml": Composition("sgd", "maml", 2),
    "fomaml": Composition("sgd", "maml", 1),
}


@dataclass(frozen=True)
class Agent:
    """The parts of a run. ``apply`` serves one task, ``act`` a batch of tasks in a rollout."""

    config: TrainConfig
    family: TaskFamily
    module: nn.Module
    apply: Apply
    act: Apply
    objective: Objective
    device: torch.device
    device_reason: str
    chunking: Chunking

    def adaptation(self, inner_lr: float) -> Adaptation:
        """The algorithm's inner loop with a step size of ``inner_lr``."""
        parts = COMPOSITIONS[self.config.algorithm]
        return adapt(self.apply, self.objective, rules[parts.rule](inner_lr), parts.order)

    def adaptations(self, inner_lr: Sequence[float], steps: int) -> list[Adaptation]:
        """One for each inner step; the last step size given serves all later steps."""
        return [self.adaptation(inner_lr[min(k, len(inner_lr) - 1)]) for k in range(steps)]

    def initial_meta(self) -> Meta:
        """The meta-parameters that the seed draws, on the device."""
        params = initial_params(self.module)
        rule = rules[COMPOSITIONS[self.config.algorithm].rule](self.config.inner_lr)
        generator = torch.Generator().manual_seed(_init_seed(self.config.seed, 1))
        return to_device(Meta(params, rule.init(params, generator)), self.device)

    def starting_meta(self) -> Meta:
        """The meta-parameters before training: with the weights of ``init_from`` if it is set."""
        meta = self.initial_meta()
        if self.config.init_from is None:
            return meta
        params = _read_params(Path(self.config.init_from), initial_params(self.module))
        return meta._replace(model=to_device(params, self.device))

    def learner(self) -> MetaLearner:
        """The meta-learner, over the importance-weighted return of the adapted policies."""
        return learners[COMPOSITIONS[self.config.algorithm].learner](
            self.apply,
            self.adaptation(self.config.inner_lr),
            objectives["surrogate"],
            self.chunking,
            self.config.curvature_stride,
        )

    def optimiser(self) -> MetaOptimiser:
        """The meta-optimiser with its options."""
        c = self.config
        if c.meta_optimizer != "trpo":
            return optimisers[c.meta_optimizer](c.meta_lr)
        return optimisers["trpo"](
            c.max_kl, c.cg_iterations, c.cg_damping, c.backtrack_ratio, c.max_backtracks
        )


def build_agent(config: TrainConfig) -> Agent:
    """The parts a resolved configuration names; its device and chunk size are chosen here if they are open.

    The returned agent's ``config`` holds what was chosen, so that a resumed run chooses nothing anew.
    """
    family = make(config.family, config.spec, **config.family_arg)
    if config.observe_task:
        family = observe_task(family)
    device, reason = choose_device(config.device)
    chunk = config.chunk or _chunk_size(config, device, family.horizon)
    config = dataclasses.replace(config, device=device.type, chunk=chunk, executor="inline")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_init_seed(config.seed, 0))
        module = _module(config, family.observation_space, family.action_space)
    threads = 1 if device.type == "cuda" else (config.threads or 1)
    return Agent(
        config=config,
        family=family,
        module=module,
        apply=policy(module),
        act=policy_of_tasks(module),
        objective=objectives[config.objective],
        device=device,
        device_reason=reason,
        chunking=Chunking(chunk, threads),
    )


def _init_seed(seed: int, part: int) -> int:
    return int(seeding.seeds(seed, "init", part, n=1)[0] >> 1)  # torch takes signed 64-bit seeds


def _chunk_size(config: TrainConfig, device: torch.device, horizon: int) -> int:
    """All tasks on a GPU; on a CPU, chunks of about ``CPU_CHUNK_STEPS`` that keep every thread busy."""
    if device.type == "cuda":
        return config.tasks
    threads = config.threads or 1
    rounds = math.ceil(config.tasks * config.episodes * horizon / (threads * CPU_CHUNK_STEPS))
    # Chunks of one task take other kernels, hence other bits, than chunks of several.
    return max(min(2, config.tasks), math.ceil(config.tasks / (threads * rounds)))


def _module(
    config: TrainConfig, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]
) -> nn.Module:
    if config.model != "mlp":
        return _own_module(config.model, observation_space, action_space)
    shape = observation_space.shape
    if not isinstance(observation_space, gymnasium.spaces.Box) or shape is None or len(shape) != 1:
        raise RequestError(
            f"model 'mlp' reads a one-dimensional Box, family {config.family!r} observes "
            f"{observation_space}; give a network of your own by --model module:factory"
        )
    if isinstance(action_space, gymnasium.spaces.Box) and action_space.shape and len(action_space.shape) == 1:
        actions = action_space.shape[0]
        return GaussianMLP(shape[0], actions, config.hidden, config.activation, config.init_std)
    if isinstance(action_space, gymnasium.spaces.Discrete):
        return MLP(shape[0], config.hidden, int(action_space.n), config.activation)
    raise RequestError(
        f"family {config.family!r} has actions in {action_space}; allowed: a one-dimensional Box, Discrete"
    )


def _own_module(
    name: str, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]
) -> nn.Module:
    """The network of ``module:factory``, which may stand in the working directory."""
    module, _, path = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        factory = reduce(getattr, path.split("."), cast(Any, importlib.import_module(module)))
        network = factory(observation_space, action_space)
    except Exception as error:  # whatever the user's code raises
        line = next(iter(str(error).strip().splitlines()), "")
        raise RequestError(f"model {name!r} cannot be made: {type(error).__name__}: {line}") from error
    if not isinstance(network, nn.Module):
        raise RequestError(f"model {name!r} returned {type(network).__name__}; allowed: a torch.nn.Module")
    return network


def _read_params(path: Path, like: Params) -> Params:
    """Weights from a safetensors file that fit the network.

    Raises:
        RequestError: no such file, no safetensors, or weights of another network; both sides are named.
    """
    if not path.is_file():
        raise RequestError(f"init-from file {path} does not exist")
    try:
        found = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise RequestError(f"init-from file {path} is not a safetensors file: {error}") from error
    for name in sorted(found.keys() | like.keys()):
        given = list(found[name].shape) if name in found else "nothing"
        wanted = list(like[name].shape) if name in like else "nothing"
        if given != wanted:
            raise RequestError(f"init-from file {path} has {given} for {name}, the network has {wanted}")
    return {name: found[name].to(like[name].dtype) for name in like}
