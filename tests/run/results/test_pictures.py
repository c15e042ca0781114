"""Pictures as values: what is read, and what is refused."""

import numpy as np
import pytest

from metarl.run.results.pictures import Fits, QueryImage, Samples, Traces
from synthetic_run import make_evaluation, make_fits, make_samples


def test_traces_are_the_ends_of_what_was_kept():
    data = make_evaluation()["traces"]
    traces = Traces.read(data)
    assert traces.steps == 3 and len(traces.before) == len(traces.after) == len(traces.goals) == 2
    for task, goal in zip(traces.after, traces.goals, strict=True):
        assert [len(path) for path in task] == [5, 6, 7]
        assert np.allclose(task[0][-1], goal, atol=1e-4)
    assert traces.as_dict() == data
    data["agents"]["meta"].pop("0")
    assert Traces.read(data) is None and Traces.read(data, "random") is None


def test_fits_are_in_order_and_what_is_no_number_is_unknown():
    third = Fits.read(make_fits(3)).tasks[2]
    assert list(third.predictions) == [0, 1, 10] and third.support.shape == (3, 2)
    assert np.allclose(third.predictions[1], third.truth / 2)
    data = make_fits(1)
    task = data["tasks"][0]
    task["predictions"] = {step: [None, *[1.0] * 20] for step in ("10", "2", "0")}
    task["support"].append([1.0, None])
    fit = Fits.read(data).tasks[0]
    assert list(fit.predictions) == [0, 2, 10] and np.isnan(fit.predictions[2][0])
    assert len(fit.support) == 3  # a point without a y is none


def test_reads_samples():
    samples = Samples.read(make_samples())
    assert samples.images.shape == (6, 2, 4) and samples.images[5].tolist() == [[5] * 4] * 2
    assert samples.support == [[[0, 1], [2]]]
    assert samples.queries[0][1] == QueryImage(image=4, label=1, before=0, after=1)


FITS, SAMPLES = (Fits, make_fits), (Samples, make_samples)


@pytest.mark.parametrize(
    ("kind", "keys", "value"),
    [
        (FITS, ("x",), [[1.0]]),
        (FITS, ("x",), [1.0, 2.0]),
        (FITS, ("tasks", 0, "truth"), [1.0]),
        (FITS, ("tasks", 0, "predictions", "1"), [1.0]),
        (FITS, ("tasks", 0, "predictions", "one"), [0.0] * 21),
        (FITS, ("tasks", 0, "support"), ...),
        (FITS, ("tasks", 0), 3),
        (SAMPLES, ("images",), "not base64"),
        (SAMPLES, ("images",), "AAAA"),  # three bytes, an image has eight
        (SAMPLES, ("height",), 0),
        (SAMPLES, ("width",), ...),
        (SAMPLES, ("tasks", 0, "support"), [[6]]),
        (SAMPLES, ("tasks", 0, "queries", 0, "image"), -1),
        (SAMPLES, ("tasks", 0, "queries", 0, "after"), ...),
    ],
)
def test_damaged_pictures_are_refused(kind, keys, value):
    read, make = kind
    data = entry = make()
    for key in keys[:-1]:
        entry = entry[key]
    if value is ...:
        del entry[keys[-1]]
    else:
        entry[keys[-1]] = value
    with pytest.raises((ValueError, KeyError, TypeError)):
        read.read(data)
