import dataclasses
import re

import numpy as np
import pytest

from metarl.run.report import examples
from metarl.run.results.pictures import Fits, QueryImage, Samples
from metarl.run.results.read import read_run
from svg_reading import heights, texts
from synthetic_run import make_lessons


@pytest.fixture
def run(tmp_path):
    return read_run(make_lessons(tmp_path / "run", "mse"))


def with_pictures(run, **pictures):
    none = {"traces": None, "fits": None, "samples": None}
    evaluation = dataclasses.replace(run.evaluation, **none | pictures)
    return dataclasses.replace(run, evaluation=evaluation)


def panels(section):
    return re.findall(r"<svg.*?</svg>", section, flags=re.DOTALL)


def test_without_pictures_there_are_no_sections(run):
    empty = with_pictures(run)
    assert [section(empty, "k") for section in (examples.paths, examples.curves, examples.images)] == [""] * 3
    no_grid = with_pictures(run, fits=Fits(np.full(3, np.nan), run.evaluation.fits.tasks))
    assert examples.curves(no_grid, "k") == ""
    no_task = with_pictures(run, samples=Samples(np.zeros((1, 2, 2), np.uint8), [], []))
    assert examples.images(no_task, "k") == ""


def test_all_panels_of_fits_have_one_scale(run):
    """The second wave is twice as high as the first, and drawn so."""
    first, second = panels(examples.curves(run, "k"))
    assert texts(first) == texts(second)
    small, large = (max(truth) - min(truth) for svg in (first, second) for truth in heights(svg, "truth"))
    assert large == pytest.approx(2 * small, rel=0.01)


def test_a_prediction_that_diverged_does_not_flatten_the_panels(run):
    fits = run.evaluation.fits
    wild = fits.tasks[0]._replace(predictions={0: np.full(21, 1e6), 10: np.full(21, np.nan)})
    section = examples.curves(with_pictures(run, fits=Fits(fits.x, [wild, fits.tasks[1]])), "k")
    assert "y from −2.6 to 2.6" in section  # the second wave and 15 % of its height on both sides


def test_fits_on_a_single_point(run):
    fits = run.evaluation.fits
    task = fits.tasks[0]
    values = {step: curve[:1] for step, curve in task.predictions.items()}
    point = task._replace(support=np.empty((0, 2)), truth=task.truth[:1], predictions=values)
    assert len(panels(examples.curves(with_pictures(run, fits=Fits(fits.x[:1], [point])), "k"))) == 1


@pytest.mark.parametrize(("width", "shown"), [(28, "56"), (20, "40"), (84, "84"), (1, "56")])
def test_pixels_stay_square(run, width, shown):
    images = np.zeros((2, 2 * width, width), np.uint8)
    found = Samples(images, [[[0]]], [[QueryImage(1, 0, 0, 0)]])
    section = examples.images(with_pictures(run, samples=found), "k")
    size = f'width="{shown}" height="{2 * int(shown)}"'
    assert section.count(size) == 2
