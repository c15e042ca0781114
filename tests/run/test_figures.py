import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from metarl.run import figures
from metarl.run.figures import KNOWN, NARROW, SPARE, WIDE, Curve, Line

NAN = float("nan")


def texts(svg):
    return [e.text for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("}text")]


def places(svg, role, tag="use"):
    """Where the markers of one colour stand: [(x, y)], y growing downwards."""
    found = [e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith(f"}}{tag}")]
    mine = [e for e in found if f"var(--{role})" in e.get("style", "")]
    return [(float(e.get("x")), float(e.get("y"))) for e in mine]


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
        "a", [curve("meta", [-40, -20, 0]), curve("mine", [-40, -40, -40])], "return", "steps", width
    )
    assert {"meta", "mine", "return", "steps", "0", "1", "2"} <= set(texts(svg))
    (x0, y0), (x1, y1), (x2, y2) = places(svg, "agent-0")[-3:]
    assert x0 < x1 < x2 and y0 > y1 > y2
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.05)  # equal gains, equal heights
    flat = [y for _, y in places(svg, "agent-4")[-3:]]
    assert flat == pytest.approx([y0] * 3, abs=0.05)


def test_adaptation_labels_do_not_overlap_where_curves_end_together():
    svg = figures.adaptation(
        "a", [curve(n, [-5.0, -1.0 + i / 1e3]) for i, n in enumerate(KNOWN)], "return", "steps"
    )
    labels = [e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("}text") and e.text in KNOWN]
    heights = sorted(float(e.get("y")) for e in labels)
    assert len(heights) == 4 and min(np.diff(heights)) >= 14.9


@pytest.mark.parametrize("means", [[1.0], [1.0, NAN], [NAN, NAN], [0.0] * 13, [1e9, -1e9]])
def test_adaptation_takes_any_number_of_steps_and_holes(means):
    svg = figures.adaptation("a", [curve("meta", means), curve("random", [0.5, 0.6])], "return", "steps")
    assert ("meta" in texts(svg)) == bool(np.isfinite(means).any())


def test_learning_names_iterations_with_their_environment_steps_and_the_best_checkpoint():
    x = np.arange(1.0, 101)
    steps = [Line("step 0", x, -x), Line("step 1", x, x)]
    validation = Line("validation", x[9::10], x[9::10])
    svg = figures.learning("l", steps, validation, 90, Line("", x, 80_000 * x), "return")
    shown = texts(svg)
    assert {"step 0", "step 1", "validation", "best: 90", "40", "3.2M"} <= set(shown)
    without = texts(figures.learning("l", steps, None, None, Line("", x[:0], x[:0]), "return"))
    assert not {"validation", "best: 90", "3.2M"} & set(without)


def test_per_task_sets_apart_the_tasks_that_became_worse():
    before, after = np.array([0.0, 0.0, 0.0, 0.0]), np.array([3.0, -1.0, 2.0, NAN])
    svg = figures.per_task("p", before, after, after >= before, "return")
    better, worse = places(svg, "agent-0"), places(svg, "agent-1")
    assert len(better) == 2 and len(worse) == 1
    assert worse[0][0] < min(x for x, _ in better)  # in order of the value after adaptation
    assert worse[0][1] > max(y for _, y in better)


def test_trace_puts_goal_start_and_end_where_they_are():
    box = np.array([[-1.0, -1.0], [1.0, 1.0]])
    path = np.stack([np.linspace(0, 0.5, 9), np.linspace(0, -0.5, 9)], axis=1)
    svg = figures.trace(
        "t", [path], [path, path[:1], path[:0]], np.array([0.5, -0.5]), box, ("before", "after")
    )
    assert {"before", "after"} <= set(texts(svg))
    goals, ends = places(svg, "goal"), places(svg, "agent-0")
    assert len(goals) == 2 and goals[1] == ends[0]  # the first path ends on the goal
    assert len(ends) == 2  # a path of one point is a dot, an empty one nothing
    middle = sum(e for e, _ in (goals[0], goals[0])) / 2
    assert middle > 132 / 2  # x = 0.5 lies right of the middle


def test_a_long_run_stays_small():
    """A curve of 20,000 iterations is drawn in as many points as the screen can show."""
    x = np.arange(20_000.0)
    svg = figures.small("s", Line("loss", x, np.sin(x / 3000)))
    assert len(svg) < 40_000 and "loss" in texts(svg)


def test_a_long_run_is_drawn_as_the_median_and_the_middle_of_its_neighbours():
    x = np.arange(3000.0)
    noise = np.select([x % 100 == 7, x % 10 < 2, x % 10 < 4], [50.0, 1.0, -1.0], 0.0)  # ±1, and rare spikes
    svg = figures.small("s", Line("loss", x, noise))
    drawn = [e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("}path")]
    (line,) = [
        e for e in drawn if "stroke: var(--agent-0)" in e.get("style", "") and "fill: none" in e.get("style")
    ]
    heights = {float(word) for word in re.findall(r"[ML] \S+ (\S+)", line.get("d"))}
    assert max(heights) - min(heights) < 1  # of 80 pixels: neither the noise nor the spikes


def test_figures_are_the_same_bytes_again():
    def make():
        return figures.adaptation("a", [curve("meta", [1, 2])], "return", "steps")

    assert make() == make()
    assert not re.search(r"20\d\d-\d\d-\d\d", make())
