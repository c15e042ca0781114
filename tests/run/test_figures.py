import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from metarl.run import figures
from metarl.run.figures import KNOWN, NARROW, SPARE, WIDE, Curve
from metarl.run.measures import Measure, measure_of
from metarl.run.report_axes import Line
from svg_reading import heights, places, texts

NAN = float("nan")
RETURN, MSE, ACCURACY = (measure_of(metric) for metric in ("return", "mse", "accuracy"))


def curve(name, mean, half=1.0):
    mean = np.array(mean, dtype=float)
    return Curve(name, mean, mean - half, mean + half)


def test_agents_differ_in_colour_marker_and_line():
    names = [*KNOWN, "sb3-pretrained", "sb3-scratch", "sb3-oracle"]
    styles = [figures.agent_style(name, names) for name in names]
    for look in zip(*styles, strict=True):
        assert len(set(look)) == len(names)
    assert (
        figures.agent_style("other", ["meta", "other"]) == SPARE[0]
    )  # known agents leave the spare ones alone


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_adaptation_draws_each_mean_at_its_height_and_names_each_agent(width):
    svg = figures.adaptation(
        "a", [curve("meta", [-40, -20, 0]), curve("mine", [-40, -40, -40])], RETURN, "steps", width
    )
    assert {"meta", "mine", "mean return", "steps", "0", "1", "2"} <= set(texts(svg))
    (x0, y0), (x1, y1), (x2, y2) = places(svg, "agent-0")[-3:]
    assert x0 < x1 < x2 and y0 > y1 > y2
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.05)  # equal gains, equal heights
    flat = [y for _, y in places(svg, "agent-4")[-3:]]
    assert flat == pytest.approx([y0] * 3, abs=0.05)


def test_adaptation_labels_do_not_overlap_where_curves_end_together():
    svg = figures.adaptation(
        "a", [curve(n, [-5.0, -1.0 + i / 1e3]) for i, n in enumerate(KNOWN)], RETURN, "steps"
    )
    labels = [e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("}text") and e.text in KNOWN]
    rows = sorted(float(e.get("y")) for e in labels)
    assert len(rows) == len(KNOWN) and min(np.diff(rows)) >= 14.9


@pytest.mark.parametrize("means", [[1.0], [1.0, NAN], [NAN, NAN], [0.0] * 13, [1e9, -1e9]])
def test_adaptation_takes_any_number_of_steps_and_holes(means):
    svg = figures.adaptation("a", [curve("meta", means), curve("random", [0.5, 0.6])], RETURN, "steps")
    assert ("meta" in texts(svg)) == bool(np.isfinite(means).any())


def test_many_steps_are_numbered_sparsely_and_marked_now_and_then():
    svg = figures.adaptation("a", [curve("meta", np.linspace(4, 1, 33), 0.1)], RETURN, "steps")
    numbers = [int(text) for text in texts(svg) if text.isdigit() and int(text) > 4]
    assert numbers == [5, 10, 15, 20, 25, 30]
    assert len(places(svg, "agent-0")[1:]) == 11  # every third of 33; the first is the band


def test_errors_over_more_than_a_decade_stand_on_a_log_axis():
    far = figures.adaptation("a", [curve("meta", [10, 1, 0.1], 0)], MSE, "steps")
    (_, y0), (_, y1), (_, y2) = places(far, "agent-0")[-3:]
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.05)  # a decade each
    assert {"0.1", "0.2", "0.5", "1", "5", "10"} <= set(texts(far))
    near = figures.adaptation("a", [curve("meta", [4, 2, 1], 0)], MSE, "steps")
    (_, y0), (_, y1), (_, y2) = places(near, "agent-0")[-3:]
    assert y1 - y0 == pytest.approx(2 * (y2 - y1), abs=0.1)
    assert "0" in texts(near)[3:]  # an error's axis begins at 0


@pytest.mark.parametrize("means", [[10, 0, 0.1], [10, NAN, 0.1], [NAN, NAN, NAN], [1e-9, 1, 1e19]])
def test_errors_of_any_size_are_drawn(means):
    svg = figures.adaptation("a", [curve("meta", means, 0.2), curve("random", [9, 9, 9])], MSE, "steps")
    assert "random" in texts(svg)


def test_shares_have_an_axis_in_percent():
    svg = figures.adaptation("a", [curve("meta", [0.2, 0.9], 0.05)], ACCURACY, "steps")
    assert {"mean accuracy", "40\u202f%", "80\u202f%"} <= set(texts(svg))
    tasks = figures.per_task(
        "p", np.array([0.2, 0.2]), np.array([0.9, 0.4]), np.array([True, True]), ACCURACY
    )
    assert {"accuracy", "80\u202f%"} <= set(texts(tasks))


def test_an_unknown_metric_goes_by_its_name():
    svg = figures.adaptation("a", [curve("meta", [1, 2])], measure_of("regret"), "steps")
    assert "regret" in texts(svg) and measure_of("regret") == Measure("regret", "regret")


def test_learning_names_iterations_with_their_environment_steps_and_the_best_checkpoint():
    x = np.arange(1.0, 101)
    steps = [Line("step 0", x, -x), Line("step 1", x, x)]
    validation = Line("validation", x[9::10], x[9::10])
    svg = figures.learning("l", steps, validation, 90, Line("env steps", x, 80_000 * x), RETURN)
    shown = texts(svg)
    assert {"step 0", "step 1", "validation", "best: 90", "iteration, env steps", "40", "3.2M"} <= set(shown)
    without = texts(figures.learning("l", steps, None, None, Line("", x[:0], x[:0]), RETURN))
    assert not {"validation", "best: 90", "3.2M"} & set(without)


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
    assert len(places(svg, "agent-1")) == 1 and {"before", "after"} <= set(texts(svg))
    assert len(svg) < 30_000


def test_the_first_iteration_has_drawn_nothing_yet():
    x = np.arange(1.0, 2001)
    svg = figures.learning("l", [Line("step 0", x, x)], None, None, Line("examples", x, 500 * x), RETURN)
    assert texts(svg)[:4] == ["0", "0", "500", "250k"]


def test_a_long_run_stays_small():
    """A curve of 20,000 iterations is drawn in as many points as the screen can show."""
    x = np.arange(20_000.0)
    svg = figures.small("s", Line("loss", x, np.sin(x / 3000)))
    assert len(svg) < 40_000 and "loss" in texts(svg)


def test_a_long_run_is_drawn_as_the_median_and_the_middle_of_its_neighbours():
    x = np.arange(3000.0)
    noise = np.select([x % 100 == 7, x % 10 < 2, x % 10 < 4], [50.0, 1.0, -1.0], 0.0)  # ±1, and rare spikes
    svg = figures.small("s", Line("loss", x, noise))
    (line,) = heights(svg, "agent-0")
    assert max(line) - min(line) < 1  # of 80 pixels: neither the noise nor the spikes


def test_figures_are_the_same_bytes_again():
    def make():
        return figures.adaptation("a", [curve("meta", [1, 2])], RETURN, "steps")

    assert make() == make()
    assert not re.search(r"20\d\d-\d\d-\d\d", make())
