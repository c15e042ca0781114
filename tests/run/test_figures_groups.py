"""Figures of groups draw what they are given: points where the values are, nothing where they are not."""

import xml.etree.ElementTree as ElementTree

import numpy as np

from metarl.run.figures import GROUPS
from metarl.run.figures_groups import Gap, one_task, paired, training
from metarl.run.measures import measure_of
from metarl.run.report_axes import Line


def count(svg: str, what: str) -> int:
    ElementTree.fromstring(svg)
    return svg.count(what)


def test_each_task_has_a_mark_and_each_group_a_panel() -> None:
    gaps = [
        Gap("reptile", np.array([1.0, -2.0, np.nan, 3.0]), 0.7, -1.0, 2.0, GROUPS[1]),
        Gap("lstm", np.array([4.0, 5.0, 6.0, 7.0]), 5.5, 5.0, 6.0, GROUPS[2]),
    ]
    svg = paired("p", gaps, "return less that of maml", 360)
    assert count(svg, "<use ") >= 3 + 4  # the task that has no value has no mark
    assert "reptile" in svg and "lstm" in svg
    assert "var(--agent-1)" in svg and "var(--agent-2)" in svg
    (height,) = (float(ElementTree.fromstring(svg).attrib["viewBox"].split()[3]),)
    assert height > float(ElementTree.fromstring(paired("q", gaps[:1], "", 360)).attrib["viewBox"].split()[3])


def test_training_shows_each_seed_and_a_band() -> None:
    x = np.arange(1.0, 11.0)
    seeds = [Line(str(i), x, np.sqrt(x) + i) for i in range(3)]
    over = Line("mean", x, np.sqrt(x) + 1)
    svg = training("t", seeds, over, np.stack([over.y - 100, over.y + 100], 1), measure_of("return"))
    assert count(svg, "stroke-opacity: 0.5") == 3
    assert "−100" not in svg  # the axis is that of the seeds, not of a band that is far wider
    ElementTree.fromstring(training("e", seeds, over, np.stack([over.y, over.y], 1), measure_of("mse")))


def test_one_task_is_on_the_axis_of_all() -> None:
    values = np.array([[0.0, 1.0], [0.2, 0.8]])
    svg = one_task("o", "task 7", values, (-100.0, 100.0), measure_of("return"))
    assert "task 7" in svg and "100" in svg
    assert count(svg, "stroke-opacity: 0.5") == 2
    assert "%" in one_task("s", "task 1", values, (0.0, 1.0), measure_of("success"))
