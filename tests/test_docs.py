"""What the documentation says is so: its examples run, its commands parse, its links lead somewhere."""

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metarl.cli import main
from metarl.cli.options import COMMANDS
from metarl.cli.parser import parse
from metarl.core.objectives import objectives
from metarl.core.params import leaves
from metarl.rollout.registry import families
from metarl.run.config.fields import accept
from metarl.run.store import zoo

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
SIZES = {"iterations": 2, "tasks": 2, "episodes": 2}
QUOTE = "# from "  # first line of a block that stands word for word in an example

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
TEST = re.compile(r"(test_\w+\.py)::(\w+)")
PLACE = re.compile(r"(?:docs|envs|experiments|metarl|tests)/[\w/.-]+\.\w+")


def blocks(text: str, language: str) -> list[str]:
    return [body for name, body in FENCE.findall(text) if name == language]


def prose(text: str) -> str:
    return FENCE.sub("", text)


def spans(text: str) -> list[str]:
    """What stands between single backticks, on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text))]


def command_lines(text: str) -> list[list[str]]:
    """The words after ``metarl`` of every command line, in blocks and between backticks."""
    lines = [line for block in blocks(text, "bash") for line in block.replace("\\\n", " ").splitlines()]
    found = [shlex.split(line, comments=True) for line in lines] + [span.split() for span in spans(text)]
    return [
        words[1:] for words in found if len(words) > 1 and words[0].removeprefix(".venv/bin/") == "metarl"
    ]


def anchors(text: str) -> set[str]:
    """The names of a page's headings, as in links to them."""
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose(text))]
    return {heading.replace(" ", "-") for heading in plain}


def broken_links(page: Path) -> Iterator[str]:
    for link in LINK.findall(prose(page.read_text())):
        if link.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        found = target.is_relative_to(ROOT) and target.exists()
        if not found or (anchor and anchor not in anchors(target.read_text())):
            yield link


def misunderstood(words: list[str]) -> str | None:
    """Why a command line would be refused before anything happens; None if it would not be."""
    if len(words) == 1 and words[0] in COMMANDS:
        return None  # a command's name, not a line to be typed
    try:
        asked = parse(words)
        if isinstance(asked, str):  # the help
            return None
        command, values = asked
        fields = {field.name: field for field in command.fields}
        for name, value in values.items():
            accept(fields[name], value)
        if ":" not in values.get("family", ":"):
            made = families[values["family"]]
            if made.name.startswith("metaworld-") and not find_spec("metaworld"):  # in its own environment
                return None if values.get("spec", "v3") in made.specs else "unknown spec"
            made(values.get("spec"))
    except ValueError as error:
        return str(error)
    config = values.get("config")
    there = not config or config in zoo.agents() or (ROOT / config).is_file()
    return None if there else f"{config} does not exist"


def tiny(code: str) -> str:
    """The same with two of everything."""
    code = re.sub(r"\b(iterations|tasks|episodes|steps)=\d+", r"\1=2", code)
    return re.sub(r"\.learn\(\d+\)", ".learn(1)", code)


def test_checks_see_what_they_forbid(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A *b*-c\n[x](nowhere.md) [y](#a-b-c) [z](#d) `a\nb` \n```bash\nmetarl list x # y\n```\n"
    )
    text = page.read_text()
    assert (command_lines(text), spans(text), anchors(text)) == ([["list", "x"]], ["a b"], {"a-b-c"})
    assert list(broken_links(page)) == ["nowhere.md", "#a-b-c", "#d"]  # tmp_path is not in the repository
    lines = {
        "trian maml": "unknown command 'trian'",
        "train maml --famly x": "unknown option --famly",
        "train maml --tasks 0": "tasks must be",
        "train maml --family nowhere": "unknown family 'nowhere'",
        "train maml --family point-goal --spec new": "unknown spec 'new'",
        "train --config no.yaml": "no.yaml does not exist",
        "train maml --family point-goal --spec promp": "None",
    }
    for line, why in lines.items():
        assert why in str(misunderstood(line.split()))
    assert tiny("f(tasks=40, inner_steps=3); run.learn(100)") == "f(tasks=2, inner_steps=3); run.learn(1)"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    assert not list(broken_links(page))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_are_named_exist(page: Path) -> None:
    named = {span for span in spans(page.read_text()) if PLACE.fullmatch(span)}
    assert not {name for name in named if not (ROOT / name).is_file()}


def test_tests_that_are_named_exist() -> None:
    """A module by its name, and a test in one of that name."""
    named = {span for page in PAGES for span in spans(page.read_text()) if "::" in span}
    tests: dict[str, str] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        tests[path.name] = tests.get(path.name, "") + path.read_text()
    missing = {
        span
        for span in named
        if not (found := TEST.fullmatch(span)) or f"\ndef {found[2]}(" not in tests.get(found[1], "")
    }
    assert len(named) > 30 and not missing


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_would_be_understood(page: Path) -> None:
    told = {" ".join(words): misunderstood(words) for words in command_lines(page.read_text())}
    assert not {line: why for line, why in told.items() if why}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_options_that_are_named_exist(page: Path) -> None:
    fields = {field.name for command in COMMANDS.values() for field in command.fields}
    known = {f"--{name.replace('_', '-')}" for name in fields} | {"--help", "--version"}
    assert not {option for span in spans(page.read_text()) for option in OPTION.findall(span)} - known


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_of_the_pages_is_quoted_or_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "_parts", dict(objectives._parts))  # a page may register one
    names: dict[str, object] = {}
    for block in blocks(page.read_text(), "python"):
        first, _, rest = block.partition("\n")
        if first.startswith(QUOTE):
            assert rest in (ROOT / first.removeprefix(QUOTE)).read_text()
        else:
            exec(compile(tiny(block), str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_shell_scripts_of_the_pages_are_quoted(page: Path) -> None:
    for block in blocks(page.read_text(), "sh"):
        first, _, rest = block.partition("\n")
        assert first.startswith(QUOTE)
        assert rest in (ROOT / first.removeprefix(QUOTE)).read_text()


@pytest.mark.parametrize("name", ["functional", "own_rule", "own_learner"])
def test_examples_train(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    example = importlib.import_module(name)
    first, second = (leaves(example.main(**SIZES | {"iterations": n}, horizon=10)) for n in (0, 2))
    assert all(bool(torch.isfinite(x).all()) for x in second)
    assert any(changed(a, b) for a, b in zip(first, second, strict=True))
    again = leaves(example.main(**SIZES, horizon=10))
    assert not any(changed(a, b) for a, b in zip(second, again, strict=True))


def changed(a: Tensor, b: Tensor) -> bool:
    return not torch.equal(a, b)


def test_own_family_and_own_network_go_through_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    sizes = [word for name, n in SIZES.items() for word in (f"--{name}", str(n))]
    train = "train maml --family dial:Dial --model network:Policy --threads 1 --out own"
    evaluate = "evaluate own --tasks 2 --episodes 2 --steps 1 --baselines oracle --trust"
    assert main([*train.split(), *sizes]) == 0
    assert main(evaluate.split()) == 0
    assert main(["report", "own"]) == 0
    assert Path("own/report.html").is_file()
    assert "dial:Dial (v1)" in capsys.readouterr().out


def test_a_gymnasium_environment_goes_through_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a directory of the user's own, in which the file lies; nothing is said of where it is."""
    sizes = [word for name, n in SIZES.items() for word in (f"--{name}", str(n))]
    (tmp_path / "own.py").write_text((EXAMPLES / "pendulums.py").read_text())
    monkeypatch.chdir(tmp_path)
    horizon = ["--family-arg", "horizon=20"]
    train = ["train", "maml", "--family", "own:Pendulums", "--threads", "1", "--out", "runs/own"]
    try:
        assert main([*train, *sizes, *horizon]) == 0
        evaluate = "evaluate runs/own --tasks 2 --episodes 2 --steps 1 --split ood --baselines oracle --trust"
        assert main(evaluate.split()) == 0
        assert "own:Pendulums (Pendulum-v1)" in capsys.readouterr().out
        assert main([*train, "--family-arg", "horizon=0"]) == 2
        assert "horizon is 0; allowed: integers from 1" in capsys.readouterr().err
    finally:
        sys.path[:] = [path for path in sys.path if path != str(tmp_path)]


def test_own_regression_goes_through_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    train = "train maml --family lines:Lines --iterations 2 --tasks 2 --threads 1 --out lines"
    evaluate = "evaluate lines --tasks 3 --steps 1 --baselines oracle --trust"
    assert main(train.split()) == 0
    assert main(evaluate.split()) == 0
    assert "lines:Lines (v1)" in capsys.readouterr().out
    assert main(["evaluate", "lines", "--tasks", "3", "--episodes", "4", "--trust"]) == 2
    assert "episodes has no meaning for family 'lines'" in capsys.readouterr().err


def test_every_example_is_on_a_page() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert not [path.name for path in EXAMPLES.iterdir() if path.is_file() and path.name not in text]
