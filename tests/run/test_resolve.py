"""From defaults to a configuration: who wins, what is filled in, what is refused and in which words."""

import dataclasses
import itertools
from typing import Any, ClassVar

import pytest
import torch

from metarl.core.errors import RequestError
from metarl.run.algorithms import ALGORITHMS, Algorithm
from metarl.run.config import DEFAULTS, TrainConfig, as_dict
from metarl.run.resolve import choose_device, choose_executor, resolve, resolved, usable_cores, validate
from metarl_envs.few_shot.sinusoid import Sinusoid
from metarl_envs.plane.point_goal import PointGoal
from python_stepped import Stroll

TOY = "test_resolve:Toy"
TYPO = "test_resolve:Typo"


class Toy(PointGoal):
    """A family with defaults of its own; ``test_resolve:Toy`` names it."""

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
    own = {"inner_lr": 0.2} if "algorithm" in said else {}
    monkeypatch.setitem(ALGORITHMS, "maml", Algorithm("", own))
    layers = {layer: {"inner_lr": value[layer]} for layer in ("yaml", "command_line") if layer in said}
    config = resolve("maml", TOY if "family" in said else "test_resolve:Bare", **layers)
    assert config.inner_lr == (value[said[-1]] if said else 0.1)  # the rule's own
    assert config.tasks == DEFAULTS["tasks"]


def test_none_is_unset_in_every_layer() -> None:
    config = resolve("maml", TOY, yaml={"tasks": 7, "inner_lr": None}, command_line={"tasks": None})
    assert (config.tasks, config.inner_lr) == (7, 0.3)


def test_the_command_line_names_algorithm_and_family_over_the_file() -> None:
    file = {"algorithm": "fomaml", "family": "test_resolve:Bare"}
    assert resolve(yaml=file).algorithm == "fomaml"
    assert resolve(yaml=file, command_line={"algorithm": "maml"}).algorithm == "maml"
    assert resolve(yaml=file, command_line={"family": TOY}).inner_lr == 0.3
    assert resolve("maml", TOY, file).family == TOY


def test_auto_on_the_command_line_wins_over_a_number_in_the_file() -> None:
    config = resolve(
        "maml", TOY, yaml={"chunk": 4, "threads": 3}, command_line={"chunk": "auto", "threads": "auto"}
    )
    assert config.chunk is None
    assert config.threads == usable_cores()


def test_a_config_made_in_python_is_resolved_like_the_command_line() -> None:
    mine = TrainConfig(algorithm="maml", family=TOY, iterations=100, seed=1)
    theirs = resolve(command_line={"algorithm": "maml", "family": TOY, "iterations": "100", "seed": "1"})
    assert resolved(mine) == theirs
    assert (theirs.iterations, theirs.spec, theirs.hidden) == (100, "finn2017", (64, 64))


def test_resolving_fills_every_field_that_has_a_default_and_changes_nothing_twice() -> None:
    config = resolve("maml", TOY, command_line={"family_arg": {"horizon": 3}, "spec": "promp"})
    unset = {name for name, value in as_dict(config).items() if value is None}
    may_be_unset = {"init_from", "inner_batch", "max_grad_norm", "chunk"}
    assert unset == may_be_unset | {"wandb_entity", "wandb_group", "wandb_mode"}
    assert resolved(config) == validate(config) == config


def test_defaults_are_not_shared_between_configs() -> None:
    resolve("maml", TOY).family_arg["horizon"] = 3  # type: ignore[index]
    assert resolve("maml", TOY).family_arg == {}


def test_a_changed_config_is_checked_again() -> None:
    config = resolve("maml", TOY)
    assert validate(dataclasses.replace(config, tasks=3)).tasks == 3
    with pytest.raises(RequestError, match=r"^tasks must be a whole number of at least 1, got 0$"):
        validate(dataclasses.replace(config, tasks=0))
    with pytest.raises(RequestError, match=r"^family_arg is not set; resolve"):
        validate(TrainConfig(algorithm="maml", family=TOY))


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
    ("meta_optimizer", "lbfgs"),
    ("model", "resnet"),
    ("model", "my module:factory"),
    ("model", "package:"),
    ("observe_task", "maybe"),
    ("observe_task", 1),
    ("device", "tpu"),
    ("executor", "ray"),
    ("wandb_mode", False),
    ("wandb_project", ""),
    ("family_arg", "horizon"),
    ("family_arg", {"not a name": 1}),
    ("init_from", 3),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_an_impossible_value_is_told_by_field_value_and_what_is_allowed(name: str, value: Any) -> None:
    for layer in ("yaml", "command_line"):
        with pytest.raises(RequestError) as refusal:
            resolve("maml", TOY, **{layer: {name: value}})
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
        resolve(command_line=asked)
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("values"),
    [
        {"inner_steps": 0, "iterations": 0, "seed": 0, "cg_damping": 0, "gamma": 0, "gae_lambda": 1},
        {"hidden": [], "tasks": 1, "episodes": 1, "model": "my_package.nets:policy"},
        {"meta_lr": "1e-3", "observe_task": "true", "logger": "wandb"},
    ],
)
def test_the_edges_of_what_is_allowed_are_allowed(values: dict[str, Any]) -> None:
    resolve("maml", TOY, yaml=values)


def test_cpu_is_cpu() -> None:
    assert choose_device("cpu") == (torch.device("cpu"), "asked for")


def test_auto_takes_processes_for_environments_stepped_in_python_alone() -> None:
    python, native, labelled = Stroll(), PointGoal(), Sinusoid()
    assert choose_executor("auto", 4, python) == ("processes", "auto: environments stepped in Python")
    assert choose_executor("auto", 1, python) == ("inline", "auto: one core")
    assert choose_executor("auto", 4, native) == ("inline", "auto: all rows step together")
    assert choose_executor("auto", 4, labelled) == ("inline", "auto: labelled examples")
    for name in ("inline", "processes"):
        assert choose_executor(name, 1, native) == (name, "asked for")


def test_workers_are_as_many_as_cores_unless_asked_for() -> None:
    assert resolve("maml", TOY).workers == usable_cores()
    assert resolve("maml", TOY, command_line={"workers": 3}).workers == 3
    assert resolve("maml", TOY).executor == "auto"


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == (torch.device("cpu"), "auto: no CUDA device")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a fast one")
    assert choose_device("auto") == (torch.device("cuda"), "auto: a fast one")
    assert choose_device("cuda") == (torch.device("cuda"), "asked for: a fast one")


def test_cuda_asked_for_and_absent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        RequestError, match=r"^device 'cuda' is not available \(.*\); allowed here: auto, cpu$"
    ):
        choose_device("cuda")


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
    assert resolve("maml", "test_resolve:Bare", command_line=asked).support_stride == stride
