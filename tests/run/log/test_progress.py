"""What a terminal and a log file get to see of a run."""

import io
from typing import Any

import pytest
from rich.console import Console

from metarl.run.log.progress import Progress


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(total: int, start: int = 0, seconds: float = 0.5, terminal: bool = False) -> str:
    """The output of a run whose iterations take ``seconds`` and 1000 environment steps each."""
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=terminal, width=200, legacy_windows=False)
    with Progress(total, start, "maml on point-goal", console=console, clock=clock) as progress:
        for iteration in range(start + 1, total + 1):
            clock.now += seconds
            progress.update(iteration, row(iteration, seconds))
    return stream.getvalue()


def row(iteration: int, seconds: float) -> dict[str, Any]:
    steps = {"return/step_0": -40.0 - iteration, "return/step_1": -30.0, "return/step_2": -20.5}
    return {"iteration": iteration, "env_steps": 1000 * iteration, "seconds": seconds, **steps}


def lesson(iteration: int, **values: float) -> dict[str, Any]:
    return {"iteration": iteration, "examples": 500 * iteration, "seconds": 0.25, **values}


def line_of(row: dict[str, Any]) -> str:
    stream = io.StringIO()
    with Progress(1, 0, console=Console(file=stream, width=200)) as progress:
        progress.update(1, row)
    return stream.getvalue().rstrip()


def shown(text: str) -> list[int]:
    """Iterations that got a plain line."""
    return [int(line.split("iteration ")[1].split("/")[0]) for line in text.splitlines()]


def test_a_value_that_is_missing_is_no_number() -> None:
    assert line_of({"iteration": 1}) == "iteration 1/1"
    assert line_of({"return/step_0": None, "return/step_1": -1.0}) == "iteration 1/1  return nan -> -1"


def test_a_plain_line_says_everything() -> None:
    first, last = run(2).splitlines()
    assert first == "maml on point-goal iteration 1/2  return -41 -> -20.5  2,000 env steps/s  ETA 0:00:00"
    assert last == "maml on point-goal iteration 2/2  return -42 -> -20.5  2,000 env steps/s"


def test_errors_have_four_digits_and_examples_are_counted() -> None:
    line = line_of(lesson(1, **{"mse/step_0": 3.65612, "mse/step_1": 0.0686249}))
    assert line == "iteration 1/1  mse 3.656 -> 0.06862  2,000 examples/s"


def test_accuracy_is_in_percent() -> None:
    line = line_of(lesson(1, **{"accuracy/step_0": 0.2, "accuracy/step_1": 0.98766}))
    assert line == "iteration 1/1  accuracy 20.0 % -> 98.8 %  2,000 examples/s"


def test_the_first_curve_of_a_row_is_the_run_s_own() -> None:
    row = {"success/step_0": 0.125, "success/step_1": 0.5, "return/step_0": 3.0, "return/step_1": 4.0}
    assert line_of(row) == "iteration 1/1  success 12.5 % -> 50.0 %"


def test_eta_counts_the_iterations_that_are_left() -> None:
    assert "ETA 1:06:40" in run(101, start=0, seconds=40.0).splitlines()[0]  # 100 x 40 s
    resumed = run(100, start=79, seconds=0.5).splitlines()[0]  # 80 done, 20 x 0.5 s left
    assert "iteration 80/100" in resumed
    assert "ETA 0:00:10" in resumed


def test_speed_of_a_resumed_run_leaves_out_what_ran_before() -> None:
    lines = run(20, start=10).splitlines()
    assert "env steps/s" not in lines[0]  # 11,000 steps were not made in half a second
    assert "2,000 env steps/s" in lines[1]


def test_a_fast_run_gets_about_twenty_lines_with_the_first_and_the_last() -> None:
    assert shown(run(1000, seconds=0.1)) == [1, *range(50, 1001, 50)]
    assert shown(run(7)) == [1, 2, 3, 4, 5, 6, 7]
    assert shown(run(999, start=990)) == [991, 999]


def test_a_slow_run_gets_a_line_every_ten_seconds() -> None:
    assert shown(run(100, start=0, seconds=4.0))[:8] == [1, 4, 5, 8, 10, 13, 15, 18]
    assert shown(run(100, start=0, seconds=60.0)) == list(range(1, 101))


def test_a_log_file_gets_no_control_characters_and_no_wrapped_lines() -> None:
    stream = io.StringIO()
    with Progress(1, 0, "[bold] " * 30, console=Console(file=stream, width=40)) as progress:
        progress.update(1, row(1, 0.5))
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "[bold]" in text
    assert text.count("\n") == 1


def test_a_terminal_gets_one_bar_and_its_cursor_back() -> None:
    text = run(3, terminal=True)
    assert "3/3" in text
    assert "return -43 -> -20.5" in text
    assert text.count("\n") <= 2
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_ctrl_c_gives_the_cursor_back() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, legacy_windows=False)

    def interrupted() -> None:
        with Progress(5, console=console) as progress:
            progress.update(1, row(1, 0.5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    text = stream.getvalue()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_a_row_without_known_keys_is_no_failure() -> None:
    stream = io.StringIO()
    with Progress(1, 0, console=Console(file=stream)) as progress:
        progress.update(1, {"iteration": 1})
    assert stream.getvalue() == "iteration 1/1\n"
