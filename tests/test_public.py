"""The Python contract, as users write it, at a tiny size."""

import ast
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import metarl
import tiny_families
from metarl.core.registry import Registry
from metarl.learn.maml import maml
from tiny_runs import TINY, same, tiny


def test_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few: dict[str, Any] = TINY | {"iterations": 2, "seed": 1}
    run = metarl.train(metarl.TrainConfig(**few), out="runs/nav")
    assert run.learn(1).iteration == 3
    print(run.evaluate(tasks=4, steps=3, episodes=2))
    shown = capsys.readouterr().out
    assert shown.startswith("return on 4 test tasks of point-goal (finn2017)")
    assert shown.count("\n") == 3

    again = metarl.load("runs/nav", checkpoint="last")
    assert same(again.meta, run.meta)
    policy = again.adapt(task={"goal": [0.3, -0.2]}, steps=1, episodes=20)
    action, _ = policy.predict(np.zeros(2), deterministic=True)
    assert action.shape == (2,)
    assert not same(policy.params, run.policy.params)
    assert same(run.policy.params, run.meta.model)
    assert metarl.resume("runs/nav", 4).iteration == 4
    assert (tmp_path / "runs" / "nav" / "config.yaml").is_file()

    family = metarl.make("point-goal", spec="promp")
    assert (family.name, family.spec, family.num_tasks) == ("point-goal", "promp", 4)


def test_every_public_name_is_there_and_listed() -> None:
    for name in metarl.__all__:
        assert getattr(metarl, name) is not None
    assert set(metarl.__all__) <= set(dir(metarl))
    assert metarl.__version__
    with pytest.raises(AttributeError, match="module 'metarl' has no attribute 'lern'"):
        metarl.lern  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(metarl.__file__).read_text())
    seen = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("metarl.")
        for alias in node.names
    }
    assert seen == metarl._HOMES


def test_the_functional_example_needs_one_front_door() -> None:
    example = Path(__file__).parents[1] / "docs" / "examples" / "functional.py"
    places = {
        node.module for node in ast.walk(ast.parse(example.read_text())) if isinstance(node, ast.ImportFrom)
    }
    assert places == {"collections.abc", "metarl"}


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(AttributeError):
        metarl.TrainConfig(algorithm="maml", family="point-goal").seed = 3  # type: ignore[misc]


def test_errors_are_python_s_own_kinds() -> None:
    with pytest.raises(ValueError, match="algorithm must be one of") as caught:
        metarl.train(tiny(algorithm="mamll"))
    assert isinstance(caught.value, metarl.RequestError)
    assert issubclass(metarl.RunFailed, RuntimeError)


# New parts by name -------------------------------------------------------------------------------


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Callable[[Registry[Any, Any]], Registry[Any, Any]]:
    """A registry that forgets afterwards what the test registers."""

    def use(registry: Registry[Any, Any]) -> Registry[Any, Any]:
        monkeypatch.setattr(registry, "_parts", dict(registry._parts))
        return registry

    return use


def test_a_family_of_ones_own(temporary: Any, tmp_path: Path) -> None:
    temporary(metarl.families).register("meadow")(tiny_families.Field)
    assert "meadow" in metarl.families
    assert metarl.make("meadow", horizon=4).horizon == 4
    run = metarl.train(tiny(family="meadow", iterations=1), tmp_path / "run")
    assert run.agent.family.name == "field"
    with pytest.raises(metarl.RequestError, match=r"unknown family 'medow'; allowed: .*meadow"):
        metarl.make("medow")


def test_an_objective_of_ones_own(temporary: Any, tmp_path: Path) -> None:
    vpg = metarl.objectives["vpg"]

    @temporary(metarl.objectives).register("doubled")
    def doubled(apply: Any, params: Any, batch: Any) -> Tensor:
        """Twice the loss, hence twice the step."""
        return 2 * vpg(apply, params, batch)

    twice = metarl.train(tiny(objective="doubled", inner_lr=0.1, iterations=0), tmp_path / "a")
    plain = metarl.train(tiny(inner_lr=0.2, iterations=0), tmp_path / "b")
    found = [run.adapt(task={"goal": [0.1, 0.1]}, episodes=3).params for run in (twice, plain)]
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name])
    trained = metarl.train(tiny(objective="doubled", iterations=1), tmp_path / "c")
    assert trained.config.objective == "doubled"


def test_a_rule_and_a_learner_of_ones_own(temporary: Any, tmp_path: Path) -> None:
    used = []

    @temporary(metarl.rules).register("still")
    def still(lr: float) -> Any:
        """Stays where it is."""
        rule = metarl.rules["sgd"](lr)
        return dataclasses.replace(rule, step=lambda rule_params, carry, params, *_: (params, carry))

    @temporary(metarl.learners).register("watched")
    def watched(*arguments: Any, **options: Any) -> Any:
        used.append(arguments)
        return maml(*arguments, **options)

    mine = {"rule": "still", "learner": "watched", "iterations": 1}
    run = metarl.train(tiny(inner_lr=0.1, **mine), tmp_path / "run")
    assert len(used) == 1
    assert same(run.adapt(task={"goal": [0.1, 0.1]}, episodes=3).params, run.policy.params)
    with pytest.raises(metarl.RequestError, match="inner_lr is not set, and rule 'still' has no step size"):
        metarl.train(tiny(**mine), tmp_path / "other")
    with pytest.raises(metarl.RequestError, match=r"unknown rule 'stil'; allowed: .*still"):
        metarl.train(tiny(rule="stil"), tmp_path / "other")


def test_a_name_is_given_once(temporary: Any) -> None:
    for registry, name in ((metarl.rules, "sgd"), (metarl.objectives, "vpg"), (metarl.learners, "maml")):
        with pytest.raises(metarl.RequestError, match=f"{name!r} is already registered"):
            temporary(registry).register(name)(object())
    with pytest.raises(metarl.RequestError, match="'point-goal' is already installed"):
        temporary(metarl.families).register("point-goal")(tiny_families.Field)
