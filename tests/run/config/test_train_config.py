"""The configuration: what its fields state about themselves, and that a value is what training uses."""

import dataclasses
from typing import Any, ClassVar

import pytest

from metarl.core.errors import RequestError
from metarl.run.config.algorithms import ALGORITHMS
from metarl.run.config.fields import accept
from metarl.run.config.train_config import TrainConfig, as_dict
from metarl.run.config.train_fields import DEFAULTS, FIELDS
from metarl_envs.plane.point_goal import PointGoal
from tiny_runs import configured

MADE: list["Counted"] = []


class Counted(PointGoal):
    """A family that says how often it was constructed; ``Counted`` names it."""

    defaults: ClassVar[dict[str, Any]] = {"inner_lr": 0.3}

    def __init__(self, spec: str | None = None, **args: Any) -> None:
        super().__init__(spec, **args)
        MADE.append(self)


def counted(**asked: Any) -> TrainConfig:
    return configured(family=f"{__name__}:Counted", **asked)


def test_every_default_is_allowed_and_in_canonical_form() -> None:
    for name, default in DEFAULTS.items():
        if default is not None:
            kept = accept(FIELDS[name], default)
            assert (kept, type(kept)) == (default, type(default))
    for algorithm in ALGORITHMS.values():
        assert {name: accept(FIELDS[name], value) for name, value in algorithm.defaults.items()} == (
            algorithm.defaults
        )


def test_every_value_is_the_one_that_training_uses() -> None:
    config = counted(family_arg={"horizon": 3}, spec="promp", tasks=None)
    unset = {name for name, value in as_dict(config).items() if value is None}
    may_be_unset = {"init_from", "inner_batch", "max_grad_norm", "chunk"}
    assert unset == may_be_unset | {"wandb_entity", "wandb_group", "wandb_mode"}
    assert (config.gamma, config.inner_lr, config.tasks, config.curvature_stride) == (0.99, 0.3, 20, 1)
    assert TrainConfig(**as_dict(config)) == dataclasses.replace(config) == config


def test_a_configuration_constructs_its_family_once() -> None:
    MADE.clear()
    config = counted()
    assert [config.task_family] == MADE
    changed = config.replace(tasks=3, objective="lvc")
    assert (changed.tasks, changed.objective, changed.inner_lr) == (3, "lvc", 0.3)
    assert repr(changed) == (
        f"TrainConfig(algorithm='maml', family='{__name__}:Counted', tasks=3, objective='lvc')"
    )
    assert [changed.task_family] == MADE
    other = changed.replace(family_arg={"horizon": 7})
    assert [family.horizon for family in MADE] == [100, 7]
    assert other.task_family is MADE[1] and other.replace(spec="promp").task_family.spec == "promp"
    assert config.family_arg == {}


def test_a_changed_configuration_is_checked_as_a_new_one() -> None:
    for change, line in (
        ({"tasks": 0}, "^tasks must be a whole number of at least 1, got 0$"),
        ({"objective": "mse"}, "objective 'mse' is of labelled examples"),
    ):
        with pytest.raises(RequestError, match=line):
            counted().replace(**change)
        with pytest.raises(RequestError, match=line):
            dataclasses.replace(counted(), **change)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="unknown option 'taks' in the configuration; did you mean tasks"):
        counted().replace(taks=3)
    assert counted(tasks=3).replace(tasks=None) == counted()


def test_a_configuration_prints_as_one_writes_it() -> None:
    for config in (configured("lstm", "sinusoid"), configured(spec="promp", objective="a2c", seed=4)):
        assert eval(repr(config)) == config
    assert repr(configured("lstm", "sinusoid")) == "TrainConfig(algorithm='lstm', family='sinusoid')"
