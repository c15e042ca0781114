"""docs/first-day.md is played: its commands, in their order, print what the page says that they print."""

import json
from pathlib import Path

import pytest

from transcript import ROOT, play, rewritten, shape, steps

PAGE = ROOT / "docs" / "first-day.md"

SMALL = """
Words.

```console
$ echo one
one
$ for i in 1 2; do
>   echo $i
> done
1
2
```

```console
$ true
```
"""


def test_a_page_is_read_played_and_rewritten(tmp_path: Path) -> None:
    commands = ["echo one", "for i in 1 2; do\n  echo $i\ndone", "true"]
    assert [command for command, _ in steps(SMALL)] == commands
    assert [said for _, said in steps(SMALL)] == play(SMALL, tmp_path) == ["one\n", "1\n2\n", ""]
    assert rewritten(SMALL, ["one\n", "1\n2\n", ""]) == SMALL
    assert rewritten(SMALL, ["two\n", "", "3\n"]) == SMALL.replace("\none\n", "\ntwo\n").replace(
        "1\n2\n", ""
    ).replace("$ true\n", "$ true\n3\n")


@pytest.mark.parametrize("command", ["false", "echo a | grep b | cat", "echo $never_set", "no-such-command"])
def test_a_command_that_fails_is_told(tmp_path: Path, command: str) -> None:
    with pytest.raises(RuntimeError, match=r"^\$ "):
        play(f"```console\n$ {command}\n```\n", tmp_path)


HEAD = "agent       before   step 1   step sizes\n"
ROW = "meta   -41.24 [-45.27, -37.03]   -8.41 [-8.90, -7.96]   0.1 0.05 0.05\n"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (ROW, "meta   -9.1 [-9.27, -7.03]   1,008.4 [8.0, 7.96]   1\n", True),
        (ROW, ROW.replace("meta", "random"), False),
        (ROW, ROW.replace(" [-8.90, -7.96]", ""), False),
        (ROW, ROW + ROW, False),
        (HEAD, HEAD.replace("   ", " "), True),
        (HEAD, HEAD.replace("step 1", "step 2"), False),
        ("on 40 test tasks", "on 20 test tasks", False),
        ("iteration 10; protocol custom 4ca78f5d", "iteration 10; protocol custom 5ca78f5d", False),
        ("environment steps of a task   0   981", "environment steps of a task   0   1002", True),
        ("episodes of a task   0   10", "episodes of a task   0   20", False),
        ("maml less reptile   −29.6 [−90.9, 31.7]", "maml less reptile   29.6 [−90.9, 31.7]", True),
        ("run  mirrored (6a30afd97d59d6b7)", "run  mirrored (0000000000000000)", True),
        ("checkpoints\nconfig.yaml\n", "config.yaml\n", False),
    ],
)
def test_shapes_tell_words_lines_and_counts_apart_and_no_measured_numbers(
    one: str, other: str, same: bool
) -> None:
    assert (shape(one) == shape(other)) is same


def test_the_first_day_is_as_the_page_says(tmp_path: Path) -> None:
    page, folder = PAGE.read_text(), tmp_path / "day"
    folder.mkdir()
    printed = play(page, folder)
    for (command, said), found in zip(steps(page), printed, strict=True):
        assert shape(found) == shape(said), command
    for seed in (1, 2, 3):  # the numbers, as far as the page says anything about them
        agents = json.loads((folder / f"runs/maml-{seed}/evaluation.json").read_text())["agents"]
        means = {name: agent["mean"] for name, agent in agents.items()}
        assert means["meta"][1] - means["meta"][0] > 10
        assert means["meta"][1] > means["random"][1] + 10
    before, after = (float(line.split()[-1]) for line in printed[-3].splitlines())
    assert after > before
    assert {path.name for path in folder.iterdir()} == {
        *("adapted.zip", "compare.html", "fine-tuned.zip", "fine_tune.py", "report.html", "runs")
    }
    assert list((folder / "runs" / "zoo" / "point-goal-maml").iterdir())
