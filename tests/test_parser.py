"""The command line's grammar: words to values, unknown ones told in a line, defaults in the help."""

import dataclasses
import re
from typing import Any

import pytest

from metarl.cli.options import COMMANDS, Evaluate, Report, Resume
from metarl.cli.parser import filled, parse
from metarl.core.errors import RequestError


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
        ("train --logger wandb --logger tensorboard", {"logger": ("wandb", "tensorboard")}),
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
        ("list families", {"what": "families"}),
    ],
)
def test_words_become_values(line: str, values: dict[str, Any]) -> None:
    command, given = parse(line.split())
    assert (command.name, given) == (line.split()[0], values)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "",
            "no command given; allowed: train, resume, evaluate, report, compare, render, export",
        ),
        (
            "trian maml",
            "unknown command 'trian'; allowed: train, resume, evaluate, report, compare, render, export",
        ),
        ("train maml --task 3", "unknown option --task of metarl train; did you mean --tasks"),
        ("train maml --zzz", "unknown option --zzz of metarl train; allowed: --family --spec"),
        ("train maml --nope=3", "unknown option --nope of metarl train; "),
        ("train maml fomaml", "unexpected 'fomaml' after metarl train; see metarl train --help"),
        ("train maml --tasks", "option --tasks of metarl train needs INT"),
        ("train maml --tasks --seed 1", "option --tasks of metarl train needs INT"),
        ("train maml --wandb_mode", "option --wandb-mode of metarl train needs {online,offline,disabled}"),
        ("resume", "resume needs RUN_DIR: run to go on with"),
        ("resume a b", "unexpected 'b' after metarl resume"),
        ("evaluate --tasks 3", "evaluate needs RUN_DIR [RUN_DIR ...]: "),
        ("baseline --family f", "baseline needs {pretrained,oracle,random}: "),
        ("list", "list needs {families,algorithms,objectives,rules,zoo}: "),
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
    asked = filled(
        Evaluate, {"run_dirs": ("a",), "tasks": "7", "inner_lr": ("0.5", "0.25"), "deterministic": True}
    )
    assert asked == Evaluate(
        run_dirs=("a",),
        checkpoint="best",
        split="test",
        tasks=7,
        steps=None,
        episodes=None,
        inner_lr=(0.5, 0.25),
        family_arg=None,
        baselines=(),
        deterministic=True,
        seed=1,
        trust=False,
        out=None,
    )


@pytest.mark.parametrize(
    ("group", "values"),
    [
        (Evaluate, {"tasks": "0"}),
        (Evaluate, {"steps": "-1"}),
        (Evaluate, {"checkpoint": "worst"}),
        (Evaluate, {"checkpoint": "-1"}),
        (Evaluate, {"split": "train"}),
        (Evaluate, {"inner_lr": ("0.5", "nan")}),
        (Evaluate, {"baselines": ("random", "lucky")}),
        (Resume, {"iterations": "many"}),
        (Report, {"out": ""}),
    ],
)
def test_impossible_values_of_a_command_are_refused(group: type, values: dict[str, Any]) -> None:
    ((name, value),) = values.items()
    with pytest.raises(RequestError) as refusal:
        filled(group, values)
    assert str(refusal.value).startswith(f"{name} must be ")
    assert str(refusal.value).endswith(f", got {value!r}")


def flat(text: str) -> str:
    """Help without its box and line breaks."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


def written(default: Any) -> str:
    """A default as one would type it."""
    if isinstance(default, tuple | dict):
        return " ".join(map(str, default)) or "none"
    return str(default).lower() if isinstance(default, bool) else str(default)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_option_with_its_default(name: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as end:
        parse([name, "--help"])
    assert end.value.code == 0
    told = flat(capsys.readouterr().out)
    for field in COMMANDS[name].fields:
        assert flat(field.metadata["text"]) in told, field.name
        if field.name == COMMANDS[name].positional:
            continue
        lead = f" --{field.name.replace('_', '-')} {field.metadata['kind'].metavar} "
        lead = re.escape(lead).replace(",", ",\\s?")  # where a long list of names breaks
        shown = re.search(rf"{lead}.*?\(default: ((?:[^()]|\([^()]*\))*)\)", told)
        assert shown, field.name
        default = COMMANDS[name].default(field)
        if default is None:
            assert shown[1] == field.metadata["unset"]
        elif isinstance(default, float):
            assert float(shown[1]) == default
        else:
            assert shown[1] == written(default)


def test_the_first_help_names_every_command_and_exit_status(capsys: Any) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["--help"])
    assert end.value.code == 0
    told = flat(capsys.readouterr().out)
    for command in COMMANDS.values():
        assert f"{command.name} {flat(command.text)}" in told
    assert "0 done; 1 the run failed and can be resumed; 2 the request cannot be met" in told


def test_no_option_stands_twice_in_a_command() -> None:
    for command in COMMANDS.values():
        names = [field.name for group in command.groups for field in dataclasses.fields(group)]
        assert sorted(set(names)) == sorted(names)
        assert command.fields[0].name == command.positional
