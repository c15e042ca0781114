import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from metarl.run.log.measures import Measure, measure_of
from metarl.run.report import figures
from metarl.run.report.figures import Band, Gap, differences, training
from metarl.run.report.html import LOOKS, SIGNS, legend, looks
from metarl.run.results.read import Series
from svg_reading import heights, places, texts

NAN = float("nan")
RETURN, MSE, ACCURACY = (measure_of(metric) for metric in ("return", "mse", "accuracy"))


def drawn(*curves, measure=RETURN, half=1.0):
    """The figure of adaptation of curves, each a list of means."""
    means = [np.array(curve, dtype=float) for curve in curves]
    bands = [Band(str(i), mean, mean - half, mean + half) for i, mean in enumerate(means)]
    return figures.adaptation("a", bands, looks(len(bands)), measure, "steps")


def test_looks_differ_in_colour_marker_and_line_and_the_legend_shows_them():
    eight = looks(9)
    for parts in list(zip(*eight[:8], strict=True))[:3]:
        assert len(set(parts)) == 8
    assert eight[8] == eight[0]
    words = legend([("<meta>", LOOKS[0]), ("mine", LOOKS[1])])
    assert "&lt;meta&gt;" in words and "dashed 2px var(--agent-1)" in words and SIGNS["s"] in words


def test_adaptation_draws_each_mean_at_its_height():
    svg = drawn([-40, -20, 0], [-40, -40, -40])
    assert {"mean return", "steps", "0", "1", "2"} <= set(texts(svg))
    (x0, y0), (x1, y1), (x2, y2) = places(svg, "agent-0")[-3:]
    assert x0 < x1 < x2 and y0 > y1 > y2
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.05)  # equal gains, equal heights
    assert [y for _, y in places(svg, "agent-1")[-3:]] == pytest.approx([y0] * 3, abs=0.05)


@pytest.mark.parametrize("means", [[1.0], [1.0, NAN], [NAN, NAN], [0.0] * 13, [1e9, -1e9]])
def test_adaptation_takes_any_number_of_steps_and_holes(means):
    known = int(np.isfinite(means).sum())
    assert len(places(drawn(means, [0.5, 0.6]), "agent-0")) >= known


def test_many_steps_are_numbered_sparsely_and_marked_now_and_then():
    svg = drawn(np.linspace(4, 1, 33), half=0.1)
    numbers = [int(text) for text in texts(svg) if text.isdigit() and int(text) > 4]
    assert numbers == [5, 10, 15, 20, 25, 30]
    assert len(places(svg, "agent-0")[1:]) == 11  # every third of 33; the first is the band


def test_errors_over_more_than_a_decade_stand_on_a_log_axis():
    far = drawn([10, 1, 0.1], measure=MSE, half=0)
    (_, y0), (_, y1), (_, y2) = places(far, "agent-0")[-3:]
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.05)  # a decade each
    assert {"0.1", "0.2", "0.5", "1", "5", "10"} <= set(texts(far))
    near = drawn([4, 2, 1], measure=MSE, half=0)
    (_, y0), (_, y1), (_, y2) = places(near, "agent-0")[-3:]
    assert y1 - y0 == pytest.approx(2 * (y2 - y1), abs=0.1)
    assert "0" in texts(near)[3:]  # an error's axis begins at 0


@pytest.mark.parametrize("means", [[10, 0, 0.1], [10, NAN, 0.1], [NAN, NAN, NAN], [1e-9, 1, 1e19]])
def test_errors_of_any_size_are_drawn(means):
    assert places(drawn(means, [9, 9, 9], measure=MSE, half=0.2), "agent-1")


def test_shares_have_an_axis_in_percent_and_an_unknown_metric_its_name():
    assert {"mean accuracy", "40\u202f%", "80\u202f%"} <= set(
        texts(drawn([0.2, 0.9], measure=ACCURACY, half=0.05))
    )
    before, after = np.array([0.2, 0.2]), np.array([0.9, 0.4])
    tasks = figures.per_task("p", before, after, after > before, ACCURACY)
    assert {"accuracy", "80\u202f%"} <= set(texts(tasks))
    assert "regret" in texts(drawn([1, 2], measure=measure_of("regret")))
    assert measure_of("regret") == Measure("regret", "regret")


def test_learning_numbers_iterations_with_what_was_drawn():
    x = np.arange(1.0, 101)
    steps, validation = [Series(x, -x), Series(x, x)], Series(x[9::10], x[9::10])
    svg = figures.learning("l", steps, validation, 90, Series(x, 80_000 * x), "env steps", RETURN)
    assert {"iteration, env steps", "40", "3.2M"} <= set(texts(svg))
    assert len(places(svg, "agent-1")) == 10 and svg.count("var(--muted)") > 0
    without = figures.learning("l", steps, None, None, Series(x[:0], x[:0]), "", RETURN)
    assert "iteration" in texts(without) and "3.2M" not in texts(without) and not places(without, "agent-1")
    x = np.arange(1.0, 2001)
    first = figures.learning("l", [Series(x, x)], None, None, Series(x, 500 * x), "examples", RETURN)
    assert texts(first)[:4] == ["0", "0", "500", "250k"]  # at the first iteration nothing has been drawn yet


def test_per_task_sets_apart_the_tasks_that_became_worse():
    before, after = np.array([0.0, 0.0, 0.0, 0.0]), np.array([3.0, -1.0, 2.0, NAN])
    svg = figures.per_task("p", before, after, after >= before, RETURN)
    better, worse = places(svg, "agent-0"), places(svg, "agent-1")
    assert len(better) == 2 and len(worse) == 1
    assert worse[0][0] < min(x for x, _ in better)  # in order of the value after adaptation
    assert worse[0][1] > max(y for _, y in better)


def test_many_tasks_are_drawn_as_lines_with_a_mark_for_each_that_became_worse():
    after = np.linspace(1, 2, 400)
    before = np.where(np.arange(400) == 100, 0.5, 3.0)
    svg = figures.per_task("p", before, after, after <= before, MSE)
    (grey,), (line,) = heights(svg, "before"), heights(svg, "agent-0")
    assert max(grey) - min(grey) < 0.1 and line[0] > line[-1] > grey[0]
    assert len(places(svg, "agent-1")) == 1 and len(svg) < 30_000


def test_a_long_run_is_drawn_as_the_median_and_the_middle_of_its_neighbours():
    x = np.arange(20_000.0)
    assert len(figures.small("s", "loss", Series(x, np.sin(x / 3000)))) < 40_000
    x = x[:3000]
    noise = np.select([x % 100 == 7, x % 10 < 2, x % 10 < 4], [50.0, 1.0, -1.0], 0.0)  # ±1, and rare spikes
    (line,) = heights(figures.small("s", "loss", Series(x, noise)), "agent-0")
    assert max(line) - min(line) < 1  # of 80 pixels: neither the noise nor the spikes


def test_figures_are_the_same_bytes_again_without_a_date():
    assert drawn([1, 2]) == drawn([1, 2]) and not re.search(r"20\d\d-\d\d-\d\d", drawn([1, 2]))


def test_each_difference_that_is_known_has_a_mark():
    gap = Gap(np.array([1.0, -2.0, np.nan, 3.0]), 0.7, -1.0, 2.0)
    svg = differences("p", gap, LOOKS[1], "return: reptile less maml", (-3.0, 4.0))
    assert len(places(svg, "agent-1")) == 3
    assert "return: reptile less maml" in texts(svg)


def test_training_shows_each_seed_and_a_band():
    x = np.arange(1.0, 11.0)
    seeds, over = [Series(x, np.sqrt(x) + i) for i in range(3)], Series(x, np.sqrt(x) + 1)
    svg = training("t", seeds, over, np.stack([over.y - 100, over.y + 100], 1), RETURN)
    assert svg.count("stroke-opacity: 0.5") == 3
    assert "−100" not in svg  # the axis is that of the seeds, not of a band that is far wider
    ElementTree.fromstring(training("e", seeds, over, np.stack([over.y, over.y], 1), MSE))
