"""What a configuration stands for: the family, the network and the functions that make up an algorithm."""

import dataclasses
import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from metarl.core.critic import PREFIX, critic_params, values, with_critic
from metarl.core.errors import RequestError
from metarl.core.models import Apply, functional, initial_params, of_tasks, policy
from metarl.core.objectives import Objective, clipped, objectives
from metarl.core.params import Meta, Params, leaves, to_device
from metarl.core.rules import Rule, only, rules
from metarl.learn.adapt import Adaptation, adapt
from metarl.learn.chunks import Chunking
from metarl.learn.learners import learners
from metarl.learn.optimizers import MetaOptimizer, optimizers
from metarl.learn.problem import MetaLearner
from metarl.learn.trust_region import TrustRegion
from metarl.rollout import seeding
from metarl.rollout.acting import acting
from metarl.rollout.family import Family, SupervisedFamily, TaskFamily, is_supervised
from metarl.rollout.observed import observe_task
from metarl.rollout.registry import make
from metarl.run.chunking import choose_chunking
from metarl.run.config import TrainConfig
from metarl.run.devices import choose_device, choose_executor
from metarl.run.measures import OF_EPISODES
from metarl.run.networks import blamed, check_finite, head, network, starting_params, value_network
from metarl.run.scores import report


@dataclass(frozen=True)
class Agent:
    """The parts of a run. ``apply`` serves one task, ``apply_tasks`` all tasks of a batch at once.

    ``adapting`` names the parameters that adapt; ``critic`` is the value network, if there is one; ``where``
    tells in words what computes and what collects, and why.
    """

    config: TrainConfig
    family: Family
    module: nn.Module
    apply: Apply
    apply_tasks: Apply
    objective: Objective
    adapting: tuple[str, ...]
    critic: nn.Module | None
    device: torch.device
    where: str
    chunking: Chunking

    @property
    def episodic(self) -> TaskFamily:
        """The family, if it gives episodes."""
        if is_supervised(self.family):
            raise RequestError(
                f"family {self.family.name!r} gives labelled examples, not episodes; adapt to shots=(x, y)"
            )
        return cast(TaskFamily, self.family)

    @property
    def supervised(self) -> SupervisedFamily:
        """The family, if it gives labelled examples."""
        if not is_supervised(self.family):
            raise RequestError(f"family {self.family.name!r} gives episodes, not labelled examples")
        return cast(SupervisedFamily, self.family)

    @property
    def metric(self) -> str:
        """What is reported of a task: what the family says, else ``return``."""
        return self.metrics[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """All that is measured of a task: the metric, and then what decides where tasks are equal in it."""
        metric = getattr(self.family, "metric", "return")
        return (metric, "return") if metric == "success" else (metric,)

    def rule(self, inner_lr: float | None) -> Rule:
        """The update rule with a step size of ``inner_lr``, for the parameters that adapt."""
        rule = rules[self.config.rule](**({} if inner_lr is None else {"lr": inner_lr}))
        return rule if self.config.adapts == "all" else only(rule, self.adapting)

    @property
    def learns_steps(self) -> bool:
        """Whether the rule has parameters of its own, so that no step size can be chosen afterwards."""
        return bool(leaves(self.initial_meta().rule))

    def adaptation(self, inner_lr: float | None) -> Adaptation:
        """The algorithm's inner loop with a step size of ``inner_lr``."""
        return adapt(self.apply, self.objective, self.rule(inner_lr), self.config.order)

    def adaptations(self, inner_lr: Sequence[float | None], steps: int) -> list[Adaptation]:
        """One for each inner step; the last step size given serves all later steps."""
        return [self.adaptation(inner_lr[min(k, len(inner_lr) - 1)]) for k in range(steps)]

    def initial_meta(self) -> Meta:
        """The meta-parameters that the seed draws, on the device."""
        params = self._drawn()
        generator = torch.Generator().manual_seed(_init_seed(self.config.seed, 1))
        rule = self.rule(self.config.inner_lr).init(params, generator)
        return to_device(Meta(params, rule), self.device)

    def starting_meta(self) -> Meta:
        """The meta-parameters before training: with the weights of ``init_from`` if it is set."""
        meta = self.initial_meta()
        if self.config.init_from is None:
            return meta
        params = starting_params(self.config, self.family, self.module, self._drawn())
        return meta._replace(model=to_device(params, self.device))

    def _drawn(self) -> Params:
        """The weights of the policy and, if there is one, of its value network."""
        return _together(self.module, self.critic)

    def learner(self) -> MetaLearner:
        """The meta-learner: over the inner objective's loss on the query where examples have labels, over the
        importance-weighted return of the adapted policies where episodes have rewards (for ppo it is
        clipped).
        """
        c, make_learner = self.config, learners[self.config.learner]
        adaptation = self.adaptation(c.inner_lr)
        if is_supervised(self.family):
            along = report(self.metric, self.apply_tasks)
            return make_learner(self.apply, adaptation, self.objective, self.chunking, report=along)
        trust_region = TrustRegion(self.apply, c.curvature_stride or 1, c.support_stride or 1)
        outer = clipped(c.clip) if c.meta_optimizer == "ppo" else objectives["surrogate"]
        outer = _with_values(outer, self.critic, c.value_weight)
        return make_learner(self.apply, adaptation, outer, self.chunking, trust_region=trust_region)

    def optimizer(self) -> MetaOptimizer:
        """The meta-optimizer with its options."""
        c = self.config
        if c.meta_optimizer == "trpo":
            return optimizers["trpo"](
                c.max_kl, c.cg_iterations, c.cg_damping, c.backtrack_ratio, c.max_backtracks
            )
        max_norm = c.max_grad_norm or math.inf
        if c.meta_optimizer == "ppo":
            return optimizers["ppo"](c.meta_lr, c.meta_epochs, c.kl_coefficient, c.kl_target, max_norm)
        return optimizers[c.meta_optimizer](c.meta_lr, max_norm=max_norm)


def build_agent(config: TrainConfig) -> Agent:
    """The parts a resolved configuration names; its device and chunk size are chosen here if they are open.

    The returned agent's ``config`` holds what was chosen, so that a resumed run chooses nothing anew.
    """
    family = make(config.family, config.spec, **config.family_arg)
    if config.observe_task:
        family = observe_task(family)
    _check_metric(family)
    device, reason = choose_device(config.device)
    with torch.random.fork_rng(devices=[]), blamed(config, "be made"):
        torch.manual_seed(_init_seed(config.seed, 0))
        module = network(config, family)
        critic = value_network(config, family) if config.baseline == "value" else None
    # Refuses what no parameters describe and nothing can be learned from, before the network is tried.
    check_finite(_together(module, critic), f"model {config.model!r}")
    chunking = choose_chunking(config, device, family, module, critic)
    executor, executor_reason = choose_executor(config.executor, config.workers or 1, family)
    config = dataclasses.replace(config, device=device.type, chunk=chunking.size, executor=executor)
    supervised = is_supervised(family)
    agent = Agent(
        config=config,
        family=family,
        module=module,
        apply=functional(module) if supervised else policy(module),
        apply_tasks=of_tasks(module) if supervised else acting(module),
        objective=_with_values(objectives[config.objective], critic, config.value_weight),
        adapting=_adapting(config.adapts, module, critic),
        critic=critic,
        device=device,
        where=_where(config, chunking, reason, executor_reason),
        chunking=chunking,
    )
    if config.learner == "reptile" and agent.learns_steps:
        raise RequestError(f"learner 'reptile' cannot train rule {config.rule!r}; allowed: sgd, adam")
    return agent


def _check_metric(family: Family) -> None:
    metric = getattr(family, "metric", "return")
    if not is_supervised(family) and metric not in OF_EPISODES:
        raise RequestError(
            f"family {family.name!r} has the metric {metric!r}; allowed: {', '.join(OF_EPISODES)}"
        )


def _where(config: TrainConfig, chunking: Chunking, device_reason: str, executor_reason: str) -> str:
    computing = f"device {config.device} ({device_reason}), {chunking.threads} threads"
    workers = f" with {config.workers} workers" if config.executor == "processes" else ""
    collecting = f"executor {config.executor}{workers} ({executor_reason})"
    return f"{computing}, chunks of {chunking.size} tasks, {collecting}"


def _together(module: nn.Module, critic: nn.Module | None) -> Params:
    own = initial_params(module)
    if critic is None:
        return own
    if taken := [name for name in own if name.startswith(PREFIX)]:
        raise RequestError(
            f"the network's parameter {taken[0]} has a name that the value network's have; "
            f"call it something other than {PREFIX.rstrip('.')}, or use baseline linear"
        )
    return own | critic_params(critic)


def _with_values(objective: Objective, critic: nn.Module | None, weight: float) -> Objective:
    return objective if critic is None else with_critic(objective, values(critic), weight)


def _adapting(adapts: str, module: nn.Module, critic: nn.Module | None) -> tuple[str, ...]:
    names = [name for name, _ in module.named_parameters()]
    heads = head(module) if adapts == "head" else []
    if critic is not None:
        names += list(critic_params(critic))
        heads += [PREFIX + name for name in head(critic)] if adapts == "head" else []
    if adapts == "all":
        return tuple(names)
    found = heads if adapts == "head" else fnmatch.filter(names, adapts)
    if not found:
        raise RequestError(f"adapts {adapts!r} matches no parameter; allowed: all, head, {', '.join(names)}")
    return tuple(found)


def _init_seed(seed: int, part: int) -> int:
    return int(seeding.seeds(seed, "init", part, n=1)[0] >> 1)  # torch takes signed 64-bit seeds
