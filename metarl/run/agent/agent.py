"""The parts that a configuration stands for: family, network and the functions of an algorithm."""

import dataclasses
import fnmatch
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import nn

from metarl.core.critic import PREFIX, critic_params, values, with_critic
from metarl.core.errors import RequestError
from metarl.core.models import Apply, functional, initial_params, of_tasks, policy
from metarl.core.objectives import Objective, clipped, objectives
from metarl.core.params import Meta, Params, to_device
from metarl.core.rules import Rule, only, rules
from metarl.learn.adapt import Adaptation, adapt
from metarl.learn.chunks import Chunking
from metarl.learn.learners import learners
from metarl.learn.optimizers import MetaOptimizer, optimizers
from metarl.learn.problem import MetaLearner
from metarl.learn.trust_region import TrustRegion
from metarl.rollout import seeding
from metarl.rollout.acting import acting
from metarl.rollout.family import Family, SupervisedFamily, TaskFamily
from metarl.rollout.observed import observe_task
from metarl.run.agent.chunking import choose_chunking
from metarl.run.agent.data_kinds import EPISODES, EXAMPLES, DataKind, kind_of
from metarl.run.agent.networks import head, model_errors, network, value_network
from metarl.run.agent.scores import report
from metarl.run.config.devices import choose_device, choose_executor
from metarl.run.config.train_config import TrainConfig, as_dict
from metarl.run.log.measures import MEASURES
from metarl.run.store.tensors import check_finite


@dataclass(frozen=True)
class Agent:
    """The parts of a run; those that its fields determine are made on first use, once.

    Attributes:
        family: of ``config``, with its task in sight for an oracle.
        kind: the kind of data that it learns from.
        apply: the network for one task; ``apply_tasks`` for all tasks of a batch at once.
        adapting: the names of the parameters that adapt.
        critic: the value network, if there is one.
        where: device and executor, and why these, in words.
    """

    config: TrainConfig
    family: Family
    kind: DataKind
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
        if self.kind is EXAMPLES:
            raise RequestError(
                f"family {self.family.name!r} gives labelled examples, not episodes; adapt to shots=(x, y)"
            )
        return cast(TaskFamily, self.family)

    @property
    def supervised(self) -> SupervisedFamily:
        """The family, if it gives labelled examples."""
        if self.kind is EPISODES:
            raise RequestError(f"family {self.family.name!r} gives episodes, not labelled examples")
        return cast(SupervisedFamily, self.family)

    @property
    def metric(self) -> str:
        """The metric that is reported of a task: the family's, else ``return``."""
        return self.metrics[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics of a task: the family's, then the return, which decides between equals."""
        metric = getattr(self.family, "metric", "return")
        return (metric,) if self.kind is EXAMPLES or metric == "return" else (metric, "return")

    @property
    def inner_epochs(self) -> int:
        """Updates on each batch of the support."""
        return self.config.inner_epochs or 1

    @cached_property
    def rule(self) -> Rule:
        """The update rule of training."""
        return self._rule(self.config.inner_lr)

    @cached_property
    def adaptation(self) -> Adaptation:
        """The inner loop of training."""
        return adapt(self.apply, self.objective, self.rule, self.config.order)

    def adaptations(self, rates: Sequence[float | None], steps: int) -> list[Adaptation]:
        """Return one inner loop for each step size of ``steps``; the last of ``rates`` serves the rest."""
        of_rate = {
            rate: adapt(self.apply, self.objective, self._rule(rate), self.config.order) for rate in {*rates}
        }
        return [of_rate[rates[min(k, len(rates) - 1)]] for k in range(steps)]

    @cached_property
    def learner(self) -> MetaLearner:
        """The meta-learner: over the inner objective's loss on the query where examples have labels, over the
        importance-weighted return of the adapted policies where episodes have rewards (for ppo it is
        clipped).
        """
        c, make_learner = self.config, learners[self.config.learner]
        if self.kind is EXAMPLES:
            along = report(self.metric, self.apply_tasks)
            return make_learner(self.apply, self.adaptation, self.objective, self.chunking, report=along)
        trust_region = TrustRegion(self.apply, c.curvature_stride or 1, c.support_stride or 1)
        several_steps = optimizers.facts(c.meta_optimizer).leaves_policy
        outer = clipped(c.clip) if several_steps else objectives["surrogate"]
        outer = _with_values(outer, self.critic, c.value_weight)
        return make_learner(self.apply, self.adaptation, outer, self.chunking, trust_region=trust_region)

    @cached_property
    def optimizer(self) -> MetaOptimizer:
        """The meta-optimizer of training."""
        return self.optimizer_with({})

    def optimizer_with(self, changes: Mapping[str, Any]) -> MetaOptimizer:
        """Return the meta-optimizer with changed arguments; each other one that its signature names is the
        configuration's option of that name.
        """
        c, make_optimizer = self.config, optimizers[self.config.meta_optimizer]
        max_norm = math.inf if c.max_grad_norm is None else c.max_grad_norm
        options = as_dict(c) | {"lr": c.meta_lr, "epochs": c.meta_epochs, "max_norm": max_norm}
        named = [name for name in inspect.signature(make_optimizer).parameters if name in options]
        return make_optimizer(**{name: options[name] for name in named} | dict(changes))

    @property
    def param_names(self) -> list[str]:
        """The names of the weights of the policy and of its value network, in order."""
        return list(_all_params(self.module, self.critic))

    def initial_meta(self) -> Meta:
        """Return the meta-parameters that the seed draws, on the device."""
        params = _all_params(self.module, self.critic)
        generator = torch.Generator().manual_seed(_init_seed(self.config.seed, 1))
        return to_device(Meta(params, self.rule.init(params, generator)), self.device)

    def _rule(self, inner_lr: float | None) -> Rule:
        rule = rule_of(self.config, inner_lr)
        return rule if self.config.adapts == "all" else only(rule, self.adapting)


def rule_of(config: TrainConfig, inner_lr: float | None) -> Rule:
    """Return the update rule that a configuration names, with a step size."""
    return rules[config.rule](**({} if inner_lr is None else {"lr": inner_lr}))


def build_agent(config: TrainConfig) -> Agent:
    """Return the parts that a configuration names; device and chunk size are chosen here if they are open.

    The returned agent's ``config`` holds what was chosen, so that a resumed run chooses nothing anew.
    """
    family = family_of(config)
    kind = kind_of(family)
    metric = getattr(family, "metric", "return")
    allowed = [name for name, measure in MEASURES.items() if measure.of in (kind.of, None)]
    if metric not in allowed:
        raise RequestError(f"family {family.name!r} has the metric {metric!r}; allowed: {', '.join(allowed)}")
    device, reason = choose_device(config.device)
    with torch.random.fork_rng(devices=[]), model_errors(config, "be made"):
        torch.manual_seed(_init_seed(config.seed, 0))
        module = network(config, family)
        critic = value_network(config, family) if config.baseline == "value" else None
    params = _all_params(module, critic)
    check_finite(params, f"model {config.model!r}")
    chunking = choose_chunking(config, device, family, module, critic)
    executor, executor_reason = choose_executor(config.executor, config.workers or 1, family)
    config = config.replace(device=device.type, chunk=chunking.size, executor=executor)
    agent = Agent(
        config=config,
        family=family,
        kind=kind,
        module=module,
        apply=functional(module) if kind is EXAMPLES else policy(module),
        apply_tasks=of_tasks(module) if kind is EXAMPLES else acting(module),
        objective=_with_values(objectives[config.objective], critic, config.value_weight),
        adapting=_adapting(config.adapts, list(params), module, critic),
        critic=critic,
        device=device,
        where=_where(config, chunking, reason, executor_reason),
        chunking=chunking,
    )
    if agent.rule.learns and not learners.facts(config.learner).takes_learned_rules:
        raise RequestError(
            f"learner {config.learner!r} cannot train rule {config.rule!r}; allowed: rules that learn "
            "nothing, such as sgd and adam"
        )
    return agent


def family_of(config: TrainConfig) -> Family:
    """Return the configuration's family, with its task in sight for an oracle."""
    return observe_task(config.task_family) if config.observe_task else config.task_family


def with_family_arg(agent: Agent, family_arg: Mapping[str, Any]) -> Agent:
    """Return the agent with its family made by further arguments, which must leave the spaces as they are.

    Raises:
        RequestError: they are impossible, or change a space.
    """
    if not family_arg:
        return agent
    config = agent.config.replace(family_arg={**agent.config.family_arg, **family_arg})
    family = family_of(config)
    for name in ("observation_space", "action_space"):
        before, after = getattr(agent.family, name), getattr(family, name)
        if before != after:
            raise RequestError(
                f"family_arg {dict(family_arg)} makes the {name} {after}, the run's is {before}"
            )
    return dataclasses.replace(agent, config=config, family=family)


def _where(config: TrainConfig, chunking: Chunking, device_reason: str, executor_reason: str) -> str:
    computing = f"device {config.device} ({device_reason}), {chunking.threads} threads"
    workers = f" with {config.workers} workers" if config.executor == "processes" else ""
    collecting = f"executor {config.executor}{workers} ({executor_reason})"
    return f"{computing}, chunks of {chunking.size} tasks, {collecting}"


def _all_params(module: nn.Module, critic: nn.Module | None) -> Params:
    params = initial_params(module)
    if critic is None:
        return params
    if taken := [name for name in params if name.startswith(PREFIX)]:
        raise RequestError(
            f"the network's parameter {taken[0]} has a name that the value network's have; "
            f"call it something other than {PREFIX.rstrip('.')}, or use baseline linear"
        )
    return params | critic_params(critic)


def _with_values(objective: Objective, critic: nn.Module | None, weight: float) -> Objective:
    return objective if critic is None else with_critic(objective, values(critic), weight)


def _adapting(adapts: str, names: list[str], module: nn.Module, critic: nn.Module | None) -> tuple[str, ...]:
    if adapts == "all":
        return tuple(names)
    if adapts == "head":
        return (*head(module), *(PREFIX + name for name in (head(critic) if critic is not None else ())))
    if matching := fnmatch.filter(names, adapts):
        return tuple(matching)
    raise RequestError(f"adapts {adapts!r} matches no parameter; allowed: all, head, {', '.join(names)}")


def _init_seed(seed: int, part: int) -> int:
    return int(seeding.seeds(seed, "init", part, n=1)[0] >> 1)  # torch takes signed 64-bit seeds
