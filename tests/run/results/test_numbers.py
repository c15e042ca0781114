"""Numbers, steps and tables as text."""

import pytest

from metarl.run.log.measures import measure_of
from metarl.run.results.numbers import (
    aligned,
    decimals,
    form_of,
    number,
    rates,
    shown_steps,
    significant,
    tick,
    written,
)

NAN = float("nan")


def test_numbers_have_a_minus_sign_and_no_negative_zero():
    assert [number(v, 1) for v in (-40.06, -0.04, 12345.67)] == ["−40.1", "0.0", "12\u202f345.7"]
    assert number(NAN, 1) == "–"


@pytest.mark.parametrize(
    ("values", "places"), [([0.4], 3), ([-9.9], 2), ([82.7, 0.1], 1), ([1e4], 0), ([], 3)]
)
def test_decimals_follow_the_largest(values, places):
    assert decimals([*values, NAN]) == places


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (3.976, "3.98"),
        (0.4331, "0.433"),
        (0.0506, "0.051"),
        (0.00042, "0.00042"),
        (0.00004217, "4.22e−5"),
        (12.34, "12.3"),
        (-1.887, "−1.89"),
        (4321.0, "4\u202f321"),
        (3.9566e18, "3.96e18"),
        (float("inf"), "–"),
    ],
)
def test_significant_digits(value, text):
    assert significant(value) == text


def test_an_agent_that_diverged_does_not_take_the_digits_of_the_others():
    """Decimals that suit 1e18 would show 0.433 as 0."""
    values = [0.433, 4e18]
    assert form_of(measure_of("mse"), values)(0.433) == "0.433"
    assert form_of(measure_of("return"), values)(0.433) == "0"


def test_shares_are_in_percent_and_their_changes_in_points():
    form = form_of(measure_of("accuracy"), [0.2])
    assert form(0.9734) == "97.3\u202f%" and form.change(-0.5) == "−50.0 points"
    assert form.interval(0.5, 1.0) == "50.0 to 100.0"  # beneath a value, which has the sign
    assert form(NAN) == form.change(NAN) == "–"
    error = form_of(measure_of("mse"), [1.0])
    assert error.interval(0.25, 1) == "0.250 to 1.00" and error.change(-0.5) == "−0.500"


@pytest.mark.parametrize(
    ("last", "steps"),
    [
        (0, [0]),
        (6, [0, 1, 2, 3, 4, 5, 6]),
        (7, [0, 1, 2, 5, 7]),
        (10, [0, 1, 2, 5, 10]),
        (32, [0, 1, 2, 5, 10, 20, 32]),
        (50, [0, 1, 2, 5, 10, 20, 50]),
    ],
)
def test_a_table_shows_about_seven_steps_with_the_last(last, steps):
    assert shown_steps(last) == steps


def test_step_sizes_that_only_repeat_are_left_out():
    assert rates((0.5, 0.25, 0.25)) == (0.5, 0.25)
    assert rates((0.1,) * 32) == (0.1,)
    assert rates((0.1, 0.2, 0.1)) == (0.1, 0.2, 0.1) and rates(()) == ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-40, "−40"),
        (0.25, "0.25"),
        (2e-5, "2e−5"),
        (9999, "9999"),
        (12_000, "12k"),
        (-8e6, "−8M"),
        (2.5e9, "2.5G"),
        (46_703, "46.7k"),
        (999_900, "999.9k"),
        (1_250_000, "1.25M"),
    ],
)
def test_tick(value, text):
    assert tick(value) == text


def test_cells_stand_under_one_another():
    rows = [["", "step 1", "rates"], ["meta", "-1.5", "0.1"], ["a", "-10.25", "0.1 0.05"]]
    assert aligned(rows, left=(0, 2)) == [
        "       step 1   rates",
        "meta     -1.5   0.1",
        "a      -10.25   0.1 0.05",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [({"b": 1, "c": "x"}, "b:1,c:x"), ({}, "none"), ([64, 64], "64,64"), (None, "unset"), (0.5, "0.5")],
)
def test_values_are_written_without_spaces(value, text):
    assert written(value) == text
