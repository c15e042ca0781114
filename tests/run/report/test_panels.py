import numpy as np
import pytest

from metarl.run.log.measures import measure_of
from metarl.run.report import panels
from metarl.run.results.pictures import Fit
from svg_reading import heights, places, texts

BOX = np.array([[-1.0, -2.0], [1.0, 2.0]])


def test_trace_puts_goal_start_and_end_where_they_are():
    box = np.array([[-1.0, -1.0], [1.0, 1.0]])
    path = np.stack([np.linspace(0, 0.5, 9), np.linspace(0, -0.5, 9)], axis=1)
    svg = panels.trace("t", [path, path[:1], path[:0]], np.array([0.5, -0.5]), box, "after", "agent-0")
    assert "after" in texts(svg)
    (goal,), ends = places(svg, "goal"), places(svg, "agent-0")
    assert goal == ends[0] and len(ends) == 2  # a path of one point is a dot, an empty one nothing
    assert goal[0] > 132 / 2  # x = 0.5 lies right of the middle


def fit(**predictions):
    x = np.linspace(-1, 1, 5)
    values = {int(step): np.array(value, dtype=float) for step, value in predictions.items()}
    return x, Fit(np.array([[-0.5, -1.0], [0.5, 1.0]]), 2 * x, values)


def test_fit_draws_truth_support_and_each_prediction_at_its_height():
    x, task = fit(**{"0": [0] * 5, "1": [-1, -0.5, 0, 0.5, 1], "10": [-2, -1, 0, 1, 2]})
    svg = panels.fit("f", x, task, BOX)
    (truth,), (before,) = heights(svg, "truth"), heights(svg, "before")
    one, last = heights(svg, "agent-0")
    assert last == pytest.approx(truth, abs=0.02)  # exact, as the truth
    middle = before[0]
    assert before == pytest.approx([middle] * 5, abs=0.02) and truth[0] > middle > truth[-1]
    assert np.subtract(one, middle) == pytest.approx(np.subtract(truth, middle) / 2, abs=0.03)
    (left, low), (right, high) = places(svg, "goal")
    assert (left < right) and [low, high] == pytest.approx([truth[1], truth[3]], abs=0.02)


def test_fit_leaves_a_gap_where_a_prediction_is_no_number_and_does_not_stretch_for_one_that_diverged():
    x, task = fit(**{"0": [0, np.nan, 0, 0, 0], "5": [1e9] * 5})
    svg = panels.fit("f", x, task, BOX)
    assert "0" in texts(svg) and "1G" not in texts(svg)


@pytest.mark.parametrize("curves", [0, 1, 2, 3, 4])
def test_each_number_of_steps_has_a_look(curves):
    looks = panels.fit_looks(curves)
    assert len(looks) == curves
    if curves > 1:
        assert looks[0].role == "before" and looks[-1].dashes == "-" != looks[0].dashes


def test_one_task_is_on_the_axis_of_all():
    values = np.array([[0.0, 1.0], [0.2, 0.8]])
    svg = panels.one_task("o", "task 7", values, (-100.0, 100.0), measure_of("return"))
    assert {"task 7", "100"} <= set(texts(svg)) and svg.count("stroke-opacity: 0.5") == 2
    assert "%" in panels.one_task("s", "task 1", values, (0.0, 1.0), measure_of("success"))
