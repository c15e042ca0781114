"""Whatever a configuration says, it is trained for an iteration or refused in one line with status 2.

What is drawn is read off the declarations of the fields, so that a new field is drawn without a word here;
``OWN`` has what a declaration does not tell, such as names of families. ``METARL_EXAMPLES`` sets how many
configurations are tried.
"""

import contextlib
import dataclasses
import datetime
import inspect
import io
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from metarl.cli import main
from metarl.core.objectives import objectives
from metarl.core.params import all_finite
from metarl.core.rules import rules
from metarl.learn.learners import learners
from metarl.rollout.executors import executors
from metarl.rollout.family import is_supervised
from metarl.rollout.registry import families
from metarl.run.config.fields import Kind
from metarl.run.config.parts import registry_of
from metarl.run.config.train_config import TrainConfig
from metarl.run.log.mirrors import loggers
from metarl.run.store import checkpoint as store
from tiny_runs import rows

EXAMPLES = int(os.environ.get("METARL_EXAMPLES", "100"))
FIELDS = {field.name: field for field in dataclasses.fields(TrainConfig)}
FAMILIES = (
    *(
        "point-goal",
        "bandit",
        "chain",
        "tabular-mdp",
        "maze",
        "cartpole-params",
        "pendulum-params",
        "sinusoid",
    ),
    *("python_stepped:Stroll", "tiny_families:Corridor", "tiny_families:Crane", "tiny_families:Bells"),
    *("tiny_families:Spot", "tiny_families:Blobs", "tiny_families:Patches"),
)
# What is not drawn is small.
SMALL: dict[str, Any] = {
    "tasks": 2,
    "episodes": 2,
    "inner_steps": 1,
    "validation_tasks": 2,
    "hidden": [4],
    "filters": 2,
    "threads": 1,
    "workers": 2,
    "cg_iterations": 2,
    "max_backtracks": 2,
    "meta_epochs": 2,
}
NUMBERS = (0.0, 1e-30, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.9, 0.99, 1.0, 1.5, 10.0, 1e8, 1e300)
# As text and as what YAML makes of other values.
WEIRD: tuple[Any, ...] = (
    *("", " ", "x", "nan", "-inf", "1e400", "-1", "1.5", "0x10", "null", "true", "[1, 2]", "é\u202e", "a\nb"),
    *("-x", "--tasks", "/", "..", "x:y", "os:system", "a=b", "=", "%s", "{}", 0, -1, 2.5, True, [], [[]]),
    *({}, {"a": 1}, math.nan, math.inf, -math.inf, datetime.date(2026, 1, 1), b"x", "9" * 400),
)
CLASSES: dict[str, Any] = {name: families[name] for name in (*FAMILIES, "cheetah-vel")}
ON_PURPOSE = ("trouble", "once", "processes", "told")  # arguments by which families of the tests misbehave
TEXTS = ("x", "metarl", "é", "a b", "net.*", "*.bias", "missing.safetensors", ".", "empty")
OWN: dict[str, st.SearchStrategy[Any]] = {
    "family": st.sampled_from([*CLASSES, "nothing"]),
    "iterations": st.just(1),
    "rule": st.sampled_from(rules.names()),
    "objective": st.sampled_from(objectives.names()),
    "learner": st.sampled_from(learners.names()),
    "meta_optimizer": st.sampled_from(registry_of("optimizers").names()),
    "model": st.sampled_from(["auto", *registry_of("models").names()]),
    "executor": st.sampled_from(["auto", *registry_of("executors").names()]),
    "logger": st.lists(st.sampled_from(["wandb", "wandb", "nothing"]), max_size=2),
    "device": st.sampled_from(["auto", "cpu"]),  # the same everywhere
}


def plausible(kind: Kind) -> st.SearchStrategy[Any]:
    """Values that a declaration makes likely: most of them allowed, all of them small."""
    shown = kind.metavar
    if kind.nargs == "*":
        one = shown.partition(" ")[0]
        return st.lists(plausible(dataclasses.replace(kind, metavar=one, nargs=1)), max_size=3)
    if shown == "INT":
        return st.integers(1, 4)
    if shown == "FLOAT":
        return st.sampled_from(NUMBERS)
    if shown == "[{true,false}]":
        return st.booleans()
    if shown.startswith("{"):
        return st.sampled_from(shown.strip("{}").split(","))
    first, _, rest = shown.partition("|")
    if first.islower():
        return st.just(first) | plausible(dataclasses.replace(kind, metavar=rest)) if rest else st.just(first)
    return st.sampled_from(TEXTS)


def likely(like: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Now and then something else."""
    return st.integers(0, 29).flatmap(lambda n: st.sampled_from(WEIRD) if n == 29 else like)


def arguments(family: str) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of a family, each like its default; only ours promise to refuse the others."""
    taken: dict[str, st.SearchStrategy[Any]] = {}
    for name, default in defaults(family).items():
        like: st.SearchStrategy[Any] = st.integers(1, 6)
        like = st.sampled_from(NUMBERS) if isinstance(default, float) else like
        like = st.booleans() if isinstance(default, bool) else like
        like = st.just(default) if isinstance(default, str) else like
        taken[name] = likely(like) if ":" not in family or name == "horizon" else like
    return st.fixed_dictionaries({}, optional=taken)


@st.composite
def drawn(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values from the command line, and values from a file, by name."""
    values: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=9, unique=True)):
        like = OWN[name] if name in OWN else plausible(FIELDS[name].metadata["kind"])
        values[name] = draw(likely(like))
    if values.get("iterations", 1) not in (0, 1, -1, None):
        values.pop("iterations")  # whatever large number that may be read as
    values.setdefault("algorithm", draw(plausible(FIELDS["algorithm"].metadata["kind"])))
    values.setdefault("family", draw(st.sampled_from(FAMILIES)))
    if isinstance(values["family"], str):
        values["family_arg"] = draw(arguments(values["family"]))
        if "horizon" not in values["family_arg"] and "horizon" in defaults(values["family"]):
            values["family_arg"]["horizon"] = 5
    if isinstance(values.get("spec"), str) and values["family"] in CLASSES:
        values["spec"] = draw(st.sampled_from([*CLASSES[values["family"]].specs, values["spec"]]))
    in_file = draw(st.sets(st.sampled_from(sorted(values))))
    given_examples = values["family"] in CLASSES and is_supervised(CLASSES[values["family"]])
    other = "episodes" if given_examples else "examples"
    unfit = {*values, *(name for name, field in FIELDS.items() if field.metadata["of"] == other)}
    small = {name: value for name, value in SMALL.items() if name not in unfit}
    return (
        {name: value for name, value in values.items() if name not in in_file},
        {"iterations": 1} | small | {name: values[name] for name in sorted(in_file)},
    )


def defaults(family: str) -> dict[str, Any]:
    """Those of a family's arguments."""
    taken = inspect.signature(CLASSES[family]).parameters.values() if family in CLASSES else ()
    return {p.name: p.default for p in taken if p.kind is p.KEYWORD_ONLY and p.name not in ON_PURPOSE}


def words(values: dict[str, Any]) -> list[str]:
    """The values as one writes them on a command line."""
    said: list[str] = []
    for name, value in values.items():
        if name != "algorithm":
            said.append(f"--{name.replace('_', '-')}")
        if isinstance(value, dict):
            said += [f"{key}={text(entry)}" for key, entry in value.items()]
        else:
            said += map(text, value if isinstance(value, list) else [value])
    return said


def text(value: Any) -> str:
    return value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True).split("\n")[0]


class Silent:
    """A mirror that shows nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither processes nor services, which take seconds and have tests of their own."""

    monkeypatch.setitem(loggers._parts, "wandb", Silent)
    monkeypatch.setitem(executors._parts, "processes", executors["inline"])


@contextlib.contextmanager
def nowhere() -> Iterator[Path]:
    """A new folder, in which one is while it lasts."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, contextlib.chdir(folder):
        Path("empty").touch()
        yield Path("run")


# Of several thousand the first one that is not as it must be is told as it was drawn: looking for a simpler
# one takes minutes.
@settings(max_examples=EXAMPLES, phases=[Phase.generate, *([Phase.shrink] if EXAMPLES <= 500 else [])])
@given(drawn())
def test_every_configuration_is_trained_or_refused(values: tuple[dict[str, Any], dict[str, Any]]) -> None:
    asked, in_file = values
    told, printed = io.StringIO(), io.StringIO()
    with nowhere() as run, contextlib.redirect_stderr(told), contextlib.redirect_stdout(printed):
        Path("config.yaml").write_text(yaml.safe_dump(in_file))
        said = ["train", *words(asked), "--config", "config.yaml", "--out", str(run)]
        note(f"metarl {' '.join(map(repr, said))}\n{yaml.safe_dump(in_file, default_flow_style=True)}")
        status = main(said)
        lines = [line for line in told.getvalue().splitlines() if not line.startswith("metarl: warning: ")]
        note("\n".join(lines))
        if status == 2:
            assert len(lines) == 1, lines
            assert lines[0].startswith("metarl: ")
            assert not run.exists()
            return
        too_large = "steps in a row were not finite" in lines[-1]
        assert status == (1 if too_large else 0), lines[-1]
        config = json.loads(json.dumps(yaml.safe_load((run / "config.yaml").read_text())))
        assert [row["iteration"] for row in rows(run)] == list(range(1, config["iterations"] + 1))
        assert all_finite(store.load(store.find(run / "checkpoints")).tensors)
