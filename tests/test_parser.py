"""The command line's grammar: words to values, unknown ones refused in a line, defaults in the help."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from metarl.cli import options
from metarl.cli.options import COMMANDS, Evaluate, Report, Resume
from metarl.cli.parser import checked, parse
from metarl.core.errors import RequestError
from metarl.run.config.train_config import TrainConfig
from metarl.run.evaluate.evaluate import evaluate, evaluate_run
from metarl.run.evaluate.several_runs import evaluate_runs
from metarl.run.report.comparison_page import compare
from metarl.run.report.page import write_report
from metarl.run.use.clip import render_run
from metarl.run.use.export import export_run
from metarl.run.use.runs import resume


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("train", {}),
        ("train maml --tasks 3", {"algorithm": "maml", "tasks": "3"}),
        ("train --tasks 3 maml", {"algorithm": "maml", "tasks": "3"}),
        ("train --inner-lr -1e-3", {"inner_lr": "-1e-3"}),
        ("train --inner-lr=-inf --inner_steps 2", {"inner_lr": "-inf", "inner_steps": "2"}),
        ("train --tasks 3 --tasks 4", {"tasks": "4"}),
        ("train --hidden 64 32 --hidden 16", {"hidden": ("16",)}),
        ("train --hidden", {"hidden": ()}),
        ("train --observe-task", {"observe_task": True}),
        ("train --observe-task false", {"observe_task": "false"}),
        ("train --logger wandb --logger mine:Log", {"logger": ("wandb", "mine:Log")}),
        ("train --logger", {"logger": ()}),
        ("train --family-arg a=1 b=[2,3] --family-arg c=x=y", {"family_arg": ("a=1", "b=[2,3]", "c=x=y")}),
        ("train --config a.yaml --out b", {"config": "a.yaml", "out": "b"}),
        ("baseline oracle --family f", {"kind": "oracle", "family": "f"}),
        ("resume runs/a --iterations 9", {"run_dir": "runs/a", "iterations": "9"}),
        (
            "evaluate a b --baselines random oracle",
            {"run_dirs": ("a", "b"), "baselines": ("random", "oracle")},
        ),
        (
            "evaluate a --deterministic --inner-lr 0.5 0.25",
            {"run_dirs": ("a",), "deterministic": True, "inner_lr": ("0.5", "0.25")},
        ),
        ("report a b --out c.html", {"run_dirs": ("a", "b"), "out": "c.html"}),
        ("evaluate a --tasks 3 b", {"run_dirs": ("a", "b"), "tasks": "3"}),
        ("list families", {"what": "families"}),
    ],
)
def test_words_become_values(line: str, values: dict[str, Any]) -> None:
    asked = parse(line.split())
    assert not isinstance(asked, str)
    assert (asked[0].name, asked[1]) == (line.split()[0], values)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "no command given; allowed: train, resume, evaluate, report, compare, render, export"),
        ("trian maml", "unknown command 'trian'; did you mean train?"),
        ("train maml --task 3", "unknown option --task of metarl train; did you mean --tasks"),
        ("train maml --zzz", "unknown option --zzz of metarl train; allowed: --family, --spec"),
        ("train maml --nope=3", "unknown option --nope of metarl train; "),
        ("train maml fomaml", "unexpected 'fomaml' after metarl train; see metarl train --help"),
        ("train maml --tasks", "option --tasks of metarl train needs INT"),
        ("train maml --tasks --seed 1", "option --tasks of metarl train needs INT"),
        ("train maml --wandb_mode", "option --wandb-mode of metarl train needs {online,offline,disabled}"),
        ("resume", "resume needs RUN_DIR: run to go on with"),
        ("resume a b", "unexpected 'b' after metarl resume"),
        ("evaluate --tasks 3", "evaluate needs RUN_DIR ...: "),
        ("baseline --family f", "baseline needs {pretrained,oracle,random}: "),
        ("list", "list needs {algorithms,families,objectives,rules,"),
        ("evaluate a --model f", "unknown option --model of metarl evaluate; "),
    ],
)
def test_a_line_that_is_not_understood_is_told_in_one_line(line: str, told: str, capsys: Any) -> None:
    with pytest.raises(RequestError) as refusal:
        parse(line.split())
    assert str(refusal.value).startswith(told)
    assert len(str(refusal.value).splitlines()) == 1
    assert capsys.readouterr() == ("", "")


def test_missing_values_are_filled_in_and_given_ones_checked() -> None:
    values = {"run_dirs": ("a",), "tasks": "7", "inner_lr": ("0.5", "0.25"), "deterministic": True}
    asked = checked(Evaluate, values)
    assert asked.keys() == Evaluate.__dataclass_fields__.keys()
    assert {name: asked[name] for name in values} == values | {"tasks": 7, "inner_lr": (0.5, 0.25)}
    assert (asked["checkpoint"], asked["steps"], asked["baselines"], asked["seed"]) == ("best", None, (), 1)


@pytest.mark.parametrize(
    ("group", "values"),
    [
        (Evaluate, {"tasks": "0"}),
        (Evaluate, {"steps": "-1"}),
        (Evaluate, {"checkpoint": "worst"}),
        (Evaluate, {"checkpoint": "-1"}),
        (Evaluate, {"split": "train"}),
        (Evaluate, {"inner_lr": ("0.5", "nan")}),
        (Resume, {"iterations": "many"}),
        (Report, {"out": ""}),
    ],
)
def test_impossible_values_of_a_command_are_refused(group: type, values: dict[str, Any]) -> None:
    ((name, value),) = values.items()
    with pytest.raises(RequestError) as refusal:
        checked(group, values)
    assert str(refusal.value).startswith(f"{name} must be ")
    assert str(refusal.value).endswith(f", got {value!r}")


@pytest.mark.parametrize(
    ("group", "functions", "apart"),
    [
        (Evaluate, [evaluate_runs, evaluate_run, evaluate], {"run_dirs"}),
        (options.Render, [render_run], {"run_dir"}),
        (options.Export, [export_run], {"run_dir", "to"}),
        (Resume, [resume], {"run_dir"}),
        (Report, [write_report], {"run_dirs"}),
        (options.Compare, [compare], {"run_dirs", "out"}),
    ],
)
def test_a_function_takes_a_command_s_options_with_the_same_defaults(
    group: type, functions: list[Callable[..., Any]], apart: set[str]
) -> None:
    """An option is written twice, at its field and in the signature of what it is for; they agree."""
    taken: dict[str, Any] = {}
    for function in functions:
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is not parameter.VAR_KEYWORD:
                taken.setdefault(name, parameter.default)
    for name, field in group.__dataclass_fields__.items():  # type: ignore[attr-defined]
        if name not in apart:
            assert taken[name] == field.metadata["default"], name


def written(default: Any) -> str:
    """A default as one would type it."""
    if isinstance(default, tuple | dict):
        return " ".join(map(str, default)) or "none"
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_option_with_its_default(name: str) -> None:
    command, text = COMMANDS[name], parse([name, "--help"])
    assert isinstance(text, str)
    flat = " ".join(text.split())
    for field in command.fields:
        assert " ".join(field.metadata["text"].split()) in flat, field.name
        if field.name != command.positional:
            default = command.default(field)
            end = field.metadata["unset"] if default is None else written(default)
            assert f" --{field.name.replace('_', '-')} " in flat
            assert f"(default: {end})" in flat, field.name
    assert max(map(len, text.splitlines())) <= 110
    for heading in command.sections.values():
        assert f"\n{heading}:\n" in text


def test_sections_begin_at_options() -> None:
    names = {*TrainConfig.__dataclass_fields__, *options.Files.__dataclass_fields__}
    assert names.issuperset(options.SECTIONS)


def test_help_names_every_command() -> None:
    text = parse(["--help"])
    assert isinstance(text, str)
    for name, command in COMMANDS.items():
        assert f"\n  {name} " in text and command.text.partition("\n")[0] in " ".join(text.split())
