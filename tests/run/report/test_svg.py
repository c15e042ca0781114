import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest

from metarl.run.report.svg import ROLES, colour, draw, plain
from svg_reading import texts


def paint(axes):
    axes.plot([0, 1, 2], [0.00123, 0.00456, 0.1], "o-", color=colour("agent-1"))
    axes.fill_between([0, 1], [0, 0], [0.1, 0.1], color=colour("goal"))


def drawn(title="value", name="fig"):
    return draw(name, (200, 100), title, paint)


def test_plain_is_printable_and_short():
    assert plain("a\x00b\nc", 22) == "abc"
    assert plain("x" * 30, 10) == "x" * 9 + "…"


def test_draw_is_one_parsable_element_with_css_colours_and_no_others():
    svg = drawn()
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and root.get("viewBox") == "0 0 200 100"
    colours = set(re.findall(r"(?:fill|stroke): ([^;\"]*)", svg))
    assert colours <= {"none", *(f"var(--{role})" for role in ROLES)}
    assert {"var(--agent-1)", "var(--goal)"} <= colours
    assert "<metadata" not in svg and "<style" not in svg


def test_ids_belong_to_the_figure_and_every_reference_resolves():
    ids, others = (re.findall(r' id="([^"]*)"', drawn(name=name)) for name in ("fig", "other"))
    references = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', drawn())
    assert ids and len(ids) == len(set(ids)) and not set(ids) & set(others)
    assert references and {a or b for a, b in references} <= set(ids)


def test_numbers_on_ticks_keep_their_digits():
    """Coordinates are cut to two decimals, what a reader sees is not."""
    svg = drawn("0.12345")
    assert ">0.12345<" in svg and not re.search(r' d="[^"]*\.\d{3}', svg)


def test_same_bytes_whatever_matplotlibrc_says():
    first = drawn()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert drawn() == first
        assert matplotlib.rcParams["font.size"] == 30  # and the caller's settings are left as they were


@pytest.mark.parametrize(
    "title", ["<b>&\"'", "$x^2$", "$", "\\frac", 'id="x" d="0.12345"', "漢字", "\x01\x02", "a" * 500]
)
def test_any_text_is_shown_as_it_is(title):
    assert plain(title, 60) in texts(drawn(title)) or not plain(title, 60)
