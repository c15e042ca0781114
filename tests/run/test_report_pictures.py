import numpy as np
import pytest

from metarl.run.report_pictures import Query, read_pictures
from synthetic_run import make_fits, make_samples


def test_reads_fits():
    fits = read_pictures({"fits": make_fits(3)}, "meta").fits
    assert len(fits.x) == 21 and len(fits.tasks) == 3
    third = fits.tasks[2]
    assert list(third.predictions) == [0, 1, 10] and third.support.shape == (3, 2)
    assert np.allclose(third.truth, 3 * np.sin(fits.x)) and np.allclose(third.predictions[1], third.truth / 2)


def test_steps_are_in_order_and_what_is_no_number_is_unknown():
    data = make_fits(1)
    task = data["tasks"][0]
    task["predictions"] = {step: [None, *[1.0] * 20] for step in ("10", "2", "0")}
    task["support"].append([1.0, None])
    found = read_pictures({"fits": data}, "meta").fits.tasks[0]
    assert list(found.predictions) == [0, 2, 10] and np.isnan(found.predictions[2][0])
    assert len(found.support) == 3  # a point without a y is none


def test_reads_samples():
    samples = read_pictures({"samples": make_samples()}, "meta").samples
    assert samples.images.shape == (6, 2, 4) and samples.images[5].tolist() == [[5] * 4] * 2
    assert samples.support == [[[0, 1], [2]]]
    assert samples.queries[0][1] == Query(image=4, label=1, before=0, after=1)


def damaged(data, *keys, value):
    """The same with one entry replaced, or taken away by `...`."""
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return data


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("x",), [[1.0]]),
        (("x",), [1.0, 2.0]),
        (("tasks", 0, "truth"), [1.0]),
        (("tasks", 0, "predictions", "1"), [1.0]),
        (("tasks", 0, "predictions", "one"), [0.0] * 21),
        (("tasks", 0, "support"), ...),
        (("tasks", 0), 3),
    ],
)
def test_damaged_fits_are_refused(keys, value):
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_pictures({"fits": damaged(make_fits(), *keys, value=value)}, "meta")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("images",), "not base64"),
        (("images",), "AAAA"),  # three bytes, an image has eight
        (("height",), 0),
        (("width",), ...),
        (("tasks", 0, "support"), [[6]]),
        (("tasks", 0, "queries", 0, "image"), -1),
        (("tasks", 0, "queries", 0, "after"), ...),
    ],
)
def test_damaged_samples_are_refused(keys, value):
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_pictures({"samples": damaged(make_samples(), *keys, value=value)}, "meta")
