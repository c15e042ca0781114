"""From defaults to a configuration: who wins, what is filled in, what is refused and in which words."""

import itertools
from typing import Any, ClassVar

import pytest

from metarl.core.errors import RequestError
from metarl.run.config.algorithms import ALGORITHMS, Algorithm
from metarl.run.config.devices import usable_cores
from metarl.run.config.train_config import TrainConfig
from metarl.run.config.train_fields import DEFAULTS
from metarl_envs.plane.point_goal import PointGoal
from tiny_runs import configured

TOY = f"{__name__}:Toy"
TYPO, BARE = f"{__name__}:Typo", f"{__name__}:Bare"


class Toy(PointGoal):
    """A family with defaults of its own; ``Toy`` names it."""

    defaults: ClassVar[dict[str, Any]] = {"inner_lr": 0.3}


class Typo(Toy):
    defaults: ClassVar[dict[str, Any]] = {"inner_rl": 0.3}


class Bare(Toy):
    defaults: ClassVar[dict[str, Any]] = {}


LAYERS = ("algorithm", "family", "yaml", "command_line")


@pytest.mark.parametrize("said", [s for n in range(5) for s in itertools.combinations(LAYERS, n)])
def test_the_last_layer_that_says_something_wins(
    said: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    value = dict(zip(LAYERS, (0.2, 0.3, 0.4, 0.5), strict=True))
    monkeypatch.setitem(ALGORITHMS, "maml", Algorithm("", {"inner_lr": 0.2} if "algorithm" in said else {}))
    file, words = ({"inner_lr": value[layer]} if layer in said else {} for layer in ("yaml", "command_line"))
    family = TOY if "family" in said else BARE
    config = TrainConfig.of({"algorithm": "maml", "family": family} | file | words)
    assert config.inner_lr == (value[said[-1]] if said else 0.1)  # the rule's own
    assert config.tasks == DEFAULTS["tasks"]


def test_none_is_unset_in_every_layer() -> None:
    file = {"algorithm": "maml", "family": TOY, "tasks": 7, "inner_lr": None}
    config = TrainConfig.of(file)
    assert (config.tasks, config.inner_lr) == (7, 0.3)
    assert configured(family=TOY, inner_lr=None).inner_lr == 0.3


def test_the_command_line_wins_over_the_file() -> None:
    file = {"algorithm": "fomaml", "family": BARE, "chunk": 4, "threads": 3}
    assert TrainConfig.of(file).algorithm == "fomaml"
    assert TrainConfig.of(file | {"algorithm": "maml"}).algorithm == "maml"
    assert TrainConfig.of(file | {"family": TOY}).inner_lr == 0.3
    config = TrainConfig.of(file | {"chunk": "auto", "threads": "auto"})
    assert (config.chunk, config.threads) == (None, usable_cores())


def test_words_mean_what_values_mean() -> None:
    mine = configured(family=TOY, iterations=100, seed=1)
    theirs = TrainConfig.of({"algorithm": "maml", "family": TOY, "iterations": "100", "seed": "1"})
    assert mine == theirs
    assert (theirs.iterations, theirs.spec, theirs.hidden) == (100, "finn2017", (64, 64))


NEEDS_ONE = [
    "tasks",
    "episodes",
    "cg_iterations",
    "curvature_stride",
    "max_backtracks",
    "chunk",
    "threads",
    "workers",
]
NEEDS_ONE += ["checkpoint_every", "keep_checkpoints", "validation_tasks"]
POSITIVE = ["init_std", "inner_lr", "meta_lr", "max_kl", "backtrack_ratio", "worker_timeout"]
NUMBERS = [*POSITIVE, "cg_damping", "gamma", "gae_lambda"]
BAD = [
    *[(name, value) for name in NEEDS_ONE for value in (0, -1, 1.5, "ten", True)],
    *[(name, value) for name in ("seed", "iterations", "inner_steps") for value in (-1, 0.5, "one", False)],
    *[(name, value) for name in POSITIVE for value in (0.0, -0.1)],
    *[(name, value) for name in NUMBERS for value in (float("nan"), float("inf"), "nan", "much", True)],
    *[(name, value) for name in ("gamma", "gae_lambda") for value in (-0.01, 1.01)],
    ("cg_damping", -1e-9),
    ("backtrack_ratio", 1.0),
    ("hidden", (64, 0)),
    ("hidden", "wide"),
    ("activation", "gelu"),
    ("observe_task", "maybe"),
    ("observe_task", 1),
    ("device", "tpu"),
    ("wandb_mode", False),
    ("wandb_project", ""),
    ("family_arg", "horizon"),
    ("family_arg", {"not a name": 1}),
    ("init_from", 3),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_an_impossible_value_is_told_by_field_value_and_what_is_allowed(name: str, value: Any) -> None:
    with pytest.raises(RequestError) as refusal:
        configured(family=TOY, **{name: value})
    line = str(refusal.value)
    assert line.startswith(f"{name} must be ")
    assert line.endswith(f", got {value!r}")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("layers", "line"),
    [
        ({}, "algorithm is not set; allowed: maml, fomaml"),
        (
            {"algorithm": "magic"},
            "algorithm must be one of maml, fomaml, reptile, lstm, meta-sgd, anil, promp, e-maml, "
            "got 'magic'",
        ),
        ({"algorithm": "maml"}, "family is not set; allowed: "),
        ({"algorithm": "maml", "family": "nowhere"}, "unknown family 'nowhere'; allowed: "),
        ({"family": TOY, "spec": "three"}, "point-goal: unknown spec 'three'; allowed: finn2017, promp"),
        (
            {"family": TOY, "family_arg": {"length": 3}},
            "point-goal: unknown argument 'length'; allowed: horizon",
        ),
        ({"family": TOY, "objective": "luck"}, "unknown objective 'luck'; allowed: "),
        ({"family": TOY, "model": "resnet"}, "unknown model 'resnet'; allowed: cnn, conv4, mlp"),
        (
            {"family": TOY, "model": "no module:f"},
            "model 'no module:f' cannot be imported: ModuleNotFoundError",
        ),
        ({"family": TOY, "model": "package:"}, "model 'package:' cannot be imported: ModuleNotFoundError"),
        ({"family": TOY, "executor": "ray"}, "unknown executor 'ray'; allowed: inline, processes"),
        ({"family": TOY, "meta_optimizer": "lbfgs"}, "unknown meta-optimizer 'lbfgs'; allowed: adam, ppo"),
        ({"family": TOY, "logger": ["wandb", "paper"]}, "unknown logger 'paper'; allowed: "),
        ({"family": TOY, "task": 3}, "unknown option 'task' in the configuration; did you mean tasks"),
        (
            {"family": TYPO},
            f"unknown option 'inner_rl' in the defaults of family {TYPO!r}; did you mean inner_lr",
        ),
    ],
)
def test_an_unknown_name_is_told_with_those_that_are_known(layers: dict[str, Any], line: str) -> None:
    asked = layers if not layers or "family" not in layers else {"algorithm": "maml", **layers}
    with pytest.raises(RequestError) as refusal:
        TrainConfig.of(asked)
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("values"),
    [
        {"inner_steps": 0, "iterations": 0, "seed": 0, "cg_damping": 0, "gamma": 0, "gae_lambda": 1},
        {"hidden": [], "tasks": 1, "episodes": 1},
        {"meta_lr": "1e-3", "observe_task": "true", "logger": "wandb"},
    ],
)
def test_the_edges_of_what_is_allowed_are_allowed(values: dict[str, Any]) -> None:
    configured("maml", TOY, **values)


def test_workers_are_as_many_as_cores_unless_asked_for() -> None:
    assert configured("maml", TOY).workers == usable_cores()
    assert configured("maml", TOY, workers=3).workers == 3
    assert configured("maml", TOY).executor == "auto"


@pytest.mark.parametrize(
    ("asked", "stride"),
    [
        ({"inner_lr": 0.1}, 4),
        ({"inner_lr": 0.11}, 1),
        ({"inner_lr": 0.5}, 1),
        ({"inner_lr": 0.5, "support_stride": 2}, 2),
        ({"rule": "meta-sgd", "inner_lr": 0.01}, 1),  # which may learn larger ones
        ({"rule": "lstm"}, 1),
    ],
)
def test_the_adaptation_s_curvature_is_thinned_with_small_inner_steps_alone(
    asked: dict[str, Any], stride: int
) -> None:
    assert configured(family=BARE, **asked).support_stride == stride
