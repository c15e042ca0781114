import itertools
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarl.run.svg import ROLES, colour, draw, plain, spread, tick

MARGINS = (40, 10, 20, 30)


def paint(axes):
    axes.plot([0, 1, 2], [0.00123, 0.00456, 0.1], "o-", color=colour("agent-1"))
    axes.fill_between([0, 1], [0, 0], [0.1, 0.1], color=colour("goal"))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-50, 150), max_size=6))
def test_spread_keeps_the_gap_the_order_and_the_bounds(wanted):
    placed = spread(wanted, 10, 0, 100)
    pairs = sorted(zip(wanted, placed, strict=True))
    assert all(
        after[1] - before[1] >= 10 - 1e-6
        for before, after in itertools.pairwise(sorted(pairs, key=lambda p: p[1]))
    )
    assert all(a[1] <= b[1] + 1e-6 for a, b in itertools.pairwise(pairs) if a[0] < b[0])
    assert all(-1e-6 <= y <= 100 + 1e-6 for y in placed)


def test_spread_moves_as_little_as_it_can():
    assert spread([20, 60, 90], 10, 0, 100) == [20, 60, 90]  # nothing overlaps: nothing moves
    assert spread([50, 50], 10, 0, 100) == [45, 55]  # a pair parts evenly
    assert spread([52, 50, 48], 10, 0, 100) == [60, 50, 40]  # each keeps its place in the order
    assert spread([98, 99], 10, 0, 100) == [90, 100]  # the ceiling pushes the pool down
    assert spread([], 10, 0, 100) == []


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


def test_plain_is_printable_and_short():
    assert plain("a\x00b\nc") == "abc"
    assert plain("x" * 30, 10) == "x" * 9 + "…"


def test_draw_is_one_parsable_element_with_css_colours_and_no_others():
    svg = draw("fig", (200, 100), "value", paint, MARGINS)
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and root.get("viewBox") == "0 0 200 100"
    colours = set(re.findall(r"(?:fill|stroke): ([^;\"]*)", svg))
    assert colours <= {"none", *(f"var(--{role})" for role in ROLES)}
    assert {"var(--agent-1)", "var(--goal)"} <= colours
    assert "font-family" not in svg and "<metadata" not in svg and "<style" not in svg


def test_ids_belong_to_the_figure_and_every_reference_resolves():
    svg = draw("fig", (200, 100), "value", paint, MARGINS)
    ids = re.findall(r' id="([^"]*)"', svg)
    references = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg)
    assert ids and len(ids) == len(set(ids)) and all(name.startswith("fig-") for name in ids)
    assert references and {a or b for a, b in references} <= set(ids)


def test_numbers_on_ticks_keep_their_digits():
    """Coordinates are cut to two decimals, what a reader sees is not."""
    svg = draw("fig", (200, 100), "0.12345", paint, MARGINS)
    assert ">0.12345<" in svg and not re.search(r' d="[^"]*\.\d{3}', svg)


def test_same_bytes_whatever_matplotlibrc_says():
    first = draw("fig", (200, 100), "value", paint, MARGINS)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert draw("fig", (200, 100), "value", paint, MARGINS) == first
        assert matplotlib.rcParams["font.size"] == 30  # and the caller's settings are left as they were


@pytest.mark.parametrize(
    "name", ["<b>&\"'", "$x^2$", "$", "\\frac", 'id="x" d="0.12345"', "漢字", "\x01\x02", "a" * 500]
)
def test_any_text_is_shown_as_it_is(name):
    svg = draw("fig", (200, 100), name, paint, MARGINS)
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]
    assert plain(name, 60) in [text or "" for text in texts] or not plain(name)
