"""The fields of a configuration: the command line's options and the keys of ``config.yaml``.

A field is written once, with its default, what it may be, its unit and where the default comes from; the
command line's help, the check of every value and ``DEFAULTS`` are read off it.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from metarl.run.config.algorithms import ALGORITHMS
from metarl.run.config.fields import (
    auto,
    defaults,
    flag,
    many,
    number,
    one_of,
    option,
    pairs,
    part,
    text,
    trusting,
    whole,
)

episodic = partial(option, of="episodes")
labelled = partial(option, of="examples")


@dataclass(frozen=True, kw_only=True)
class TrainFields:
    """The options of ``metarl train``, which are the fields of ``TrainConfig``."""

    algorithm: str = option(None, one_of(*ALGORITHMS), "meta-learner", "none, must be given")
    family: str = option(
        None,
        part("families"),
        "task family, see metarl list families; or module:Class for one of your own",
        "none, must be given",
    )
    spec: str = option(
        None, text("NAME"), "which of the family's published definitions", "the family's first"
    )
    family_arg: Mapping[str, Any] = option(
        {}, pairs(), "further arguments of the family; the values are read as YAML"
    )

    model: str = option(
        None,
        auto(part("models")),
        "network, see metarl list models; or module:factory for one of your own",
        "auto, cnn for policies that observe images, else mlp",
    )
    hidden: tuple[int, ...] = option(
        None,
        many(whole(1)),
        "units of each hidden layer of mlp, or of each after the convolutions of cnn",
        "64 64 (ProMP, Rothfuss et al. 2019); for cnn 512 (Mnih et al. 2015), under 36×36 pixels 64",
    )
    activation: str = option("tanh", one_of("tanh", "relu"), "between the layers of mlp (ProMP)")
    filters: int = labelled(32, whole(1), "filters of each block of conv4 (Finn et al. 2017 on miniImageNet)")
    statistics: str = labelled(
        "batch",
        one_of("batch", "running", "alone"),
        "what conv4 normalises by at evaluation: the whole query set (transductive, Finn et al. 2017), "
        "running statistics of the support set (Ravi & Larochelle 2017), or the support set and one query "
        "alone (Nichol et al. 2018)",
    )
    init_std: float = episodic(
        1.0,
        number(above=0),
        "initial standard deviation of a Gaussian policy, in units of the action space as the policy acts, "
        "not as the environment scales it (Finn et al. 2017)",
    )
    init_from: str | None = option(
        None, text("FILE"), "initial weights: safetensors, or a zip of SB3", "drawn from the seed"
    )
    trust: bool = trusting()

    seed: int = option(1, whole(0), "root of every random draw of the run")
    iterations: int = option(
        200, whole(0), "meta-iterations in all (our choice; at most 500 in Finn et al. 2017)"
    )
    tasks: int = option(20, whole(1), "tasks in a meta-batch (navigation in Finn et al. 2017)")
    episodes: int = episodic(
        20, whole(1), "episodes of each task before and after each inner step (Finn et al. 2017)"
    )
    inner_steps: int = option(1, whole(0), "gradient steps of adaptation (Finn et al. 2017)")
    inner_lr: float | None = option(
        None,
        number(above=0),
        "step size of adaptation, in parameter units per gradient; where the rule learns them, their start",
        "the rule's own: 0.1 for sgd and meta-sgd (Finn et al. 2017), 0.001 for adam; lstm has none",
    )
    inner_batch: int | None = labelled(
        None, auto(whole(1)), "examples of the support set that an inner step uses", "auto, all of them"
    )
    inner_epochs: int | None = episodic(
        None,
        auto(whole(1)),
        "updates on the episodes that one inner step collects",
        "auto, 3 for objective ppo, else 1",
    )
    objective: str = option(
        "vpg",
        part("objectives"),
        "loss of an inner step, see metarl list objectives (Finn et al. 2017)",
        examples="mse",
    )
    baseline: str | None = episodic(
        None,
        one_of("linear", "value"),
        "what advantages are measured against: linear features fitted to each batch (Finn et al. 2017), or a "
        "value network that adapts with the policy and bootstraps where time cuts an episode short",
        "value for objective a2c, else linear",
    )
    value_weight: float = episodic(
        0.5, number(above=0), "weight of the value network's squared error in the loss (Mnih et al. 2016)"
    )
    rule: str = option("sgd", part("rules"), "update rule of an inner step, see metarl list rules")
    adapts: str = option(
        "all",
        text("all|head|GLOB"),
        "parameters that adapt: all, those of the last layer, or those whose names match a pattern",
    )
    learner: str = option("maml", part("learners"), "gradient of adapted tasks, see metarl list learners")
    order: int = option(
        2, whole(1, at_most=2), "derivatives: 2 goes through the inner gradients, 1 takes them as constants"
    )

    meta_optimizer: str = option(
        "trpo",
        part("optimizers"),
        "optimizer of the meta-parameters, see metarl list optimizers (Finn et al. 2017)",
        examples="adam",
        critic="adam",
    )
    meta_lr: float = option(1e-3, number(above=0), "step size of adam, sgd and ppo, unused by trpo (ProMP)")
    max_grad_norm: float | None = option(
        None, number(above=0), "norm to which adam, sgd and ppo clip the meta-gradient", "it is not clipped"
    )
    meta_epochs: int = episodic(5, whole(1), "steps of ppo on one meta-batch (ProMP)")
    clip: float = episodic(
        0.3,
        number(above=0, below=1),
        "range of the probability ratio on either side of 1 in a ppo step; the objective ppo has 0.2 (ProMP)",
    )
    kl_coefficient: float = episodic(
        5e-4,
        number(at_least=0),
        "first weight of ppo's penalty on the KL, in nats, from the policies that collected (ProMP)",
    )
    kl_target: float = episodic(
        0.01, number(above=0), "KL at which ppo keeps the weight of its penalty, in nats (ProMP's code)"
    )
    max_kl: float = episodic(
        0.01, number(above=0), "bound of a trpo step on the mean KL, in nats (Finn et al. 2017)"
    )
    cg_iterations: int = episodic(
        10, whole(1), "conjugate-gradient iterations of a trpo step (Finn et al. 2017)"
    )
    cg_damping: float = episodic(
        1e-5, number(at_least=0), "added to the curvature's diagonal by trpo (Finn et al. 2017)"
    )
    curvature_stride: int | None = episodic(
        None,
        auto(whole(1)),
        "time steps between those that trpo's curvature averages over; 1 uses all (our choice)",
        "auto, 4, or less where fewer than ten steps of the horizon would be left",
    )
    support_stride: int | None = episodic(
        None,
        auto(whole(1)),
        "time steps between those that the curvature's adaptation uses; 1 uses all (our choice)",
        "auto, the curvature's with inner steps of at most 0.1, where it does no harm, else 1",
    )
    backtrack_ratio: float = episodic(
        0.8, number(above=0, below=1), "factor between trial steps of trpo's line search (Finn et al. 2017)"
    )
    max_backtracks: int = episodic(
        15, whole(1), "times that trpo's line search may shorten a step (Finn et al. 2017)"
    )

    gamma: float = episodic(
        0.99, number(at_least=0, at_most=1), "discount of reward, per time step (Finn et al. 2017)"
    )
    gae_lambda: float = episodic(
        1.0,
        number(at_least=0, at_most=1),
        "decay of generalised advantage estimation, per time step (Finn et al. 2017)",
    )
    observe_task: bool = option(False, flag(), "show the policy the task's features: the oracle")

    device: str = option(
        "auto", one_of("auto", "cpu", "cuda"), "where the networks run; auto takes the GPU if there is one"
    )
    chunk: int | None = option(
        None, auto(whole(1)), "tasks computed at a time, bounds memory", "auto, chosen for the device"
    )
    threads: int = option(
        None, auto(whole(1)), "CPU threads that work on chunks", "auto, the number of usable cores"
    )
    executor: str = option(
        "auto",
        part("executors"),
        "where environments step, see metarl list executors; auto takes processes for environments that are "
        "stepped in Python, where there are cores for them, else inline",
    )
    workers: int = option(
        None, auto(whole(1)), "worker processes; no effect on inline", "auto, the number of usable cores"
    )
    worker_timeout: float = option(
        120.0,
        number(above=0),
        "seconds without a step of any environment after which a worker process counts as stuck and is "
        "replaced (our choice); no effect on inline",
    )

    grace: float = option(
        20.0,
        number(above=0, at_most=1e9),
        "seconds that an iteration under way has to finish after a signal to stop; then it is given up and "
        "the one before it is saved (our choice; schedulers wait for 30 or more)",
    )

    logger: tuple[str, ...] = option(
        (), many(part("loggers"), repeats=True), "mirror of metrics.jsonl: wandb; may be repeated"
    )
    wandb_project: str = option("metarl", text("NAME"), "Weights & Biases project")
    wandb_entity: str | None = option(None, text("NAME"), "Weights & Biases user or team", "account's own")
    wandb_group: str | None = option(None, text("NAME"), "Weights & Biases group of runs")
    wandb_mode: str | None = option(
        None,
        one_of("online", "offline", "disabled"),
        "how Weights & Biases keeps the run",
        "WANDB_MODE, else online",
    )
    max_skipped: int = option(
        5, whole(1), "iterations in a row without a finite step, not applied, before a stop (our choice)"
    )
    checkpoint_every: int = option(
        10, whole(1), "meta-iterations between checkpoints, each with a validation"
    )
    keep_checkpoints: int = option(3, whole(1), "latest checkpoints to keep, besides the best one")
    validation_tasks: int = option(
        20, whole(1), "held-out tasks that choose the best checkpoint (our choice)"
    )


FIELDS = {field.name: field for field in dataclasses.fields(TrainFields)}
DEFAULTS: dict[str, Any] = defaults(TrainFields)
