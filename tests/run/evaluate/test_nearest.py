"""Nearest neighbours by hand, and that they are asked about the examples that agents are."""

import numpy as np
import pytest
import torch

from metarl.core.batch import Shots
from metarl.core.errors import RequestError
from metarl.run.evaluate import protocol
from metarl.run.evaluate.nearest import check_classification, measure_nearest, nearest_label
from metarl.run.evaluate.protocol import Protocol
from tiny_runs import IMAGES, agent, measured, pupil, same

PROTOCOL = Protocol(split="test", tasks=5, steps=2, episodes=1, seed=1, deterministic=False)
BLOBS = {"family": "tiny_families:Blobs"}


def test_the_label_is_that_of_the_nearest_example() -> None:
    # Two tasks of 1×2 images. Support of the first at (0, 0), (3, 4), (0, 5) with labels 2, 0, 1; of the
    # second at (1, 1), (−1, −1), (9, 9) with labels 0, 1, 2.
    x = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [0.0, 5.0]], [[1.0, 1.0], [-1.0, -1.0], [9.0, 9.0]]])
    support = Shots(x.reshape(2, 3, 1, 1, 2), torch.tensor([[2, 0, 1], [0, 1, 2]]))
    # (2, 2): 8 from the first, 5 from the second, 13 from the third. (0, 3): 9, 10 and 4. (1, 1): 2, 13, 17.
    asked = torch.tensor([[[2.0, 2.0], [0.0, 3.0], [1.0, 1.0]], [[0.1, 0.0], [-0.1, 0.0], [5.1, 5.0]]])
    assert nearest_label(support, asked.reshape(2, 3, 1, 1, 2)).tolist() == [[0, 1, 2], [0, 1, 2]]
    # Euclidean, not the largest difference: 0.9 in one pixel is nearer than 0.5 in each of four.
    x = torch.tensor([[[[[0.9, 0.0], [0.0, 0.0]]], [[[0.5, 0.5], [0.5, 0.5]]]]])
    assert nearest_label(Shots(x, torch.tensor([[7, 4]])), torch.zeros(1, 1, 1, 2, 2)).tolist() == [[7]]


@pytest.mark.parametrize("options", [BLOBS, IMAGES], ids=["points", "images"])
@pytest.mark.parametrize("block", [2, 50])
def test_it_is_measured_on_the_very_examples_that_agents_are(
    options: dict[str, object], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = pupil(**options)
    theirs = measured(built, built.initial_meta(), [0.1], PROTOCOL).data
    monkeypatch.setattr(protocol, "BLOCK", block)
    found = measure_nearest(built, PROTOCOL)
    assert found.values.shape == (3, 5)
    for k in range(3):  # it does not adapt
        assert torch.equal(found.values[k], found.values[0])
    support, query = theirs.support[0], theirs.query
    for t in range(5):
        distances = ((query.x[t][:, None] - support.x[t][None]) ** 2).flatten(2).sum(-1)
        right = support.y[t][distances.argmin(1)] == query.y[t]
        assert float(found.values[0, t]) == pytest.approx(float(right.float().mean()))
    assert np.unique(found.values[0]).size > 1
    assert float(found.values.mean()) > 0.5  # a third by chance


def test_it_looks_at_all_of_the_support_set_whatever_the_mini_batches() -> None:
    whole, mini = (measure_nearest(pupil(**BLOBS, inner_batch=n), PROTOCOL) for n in (None, 3))
    assert same([whole.values], [mini.values])


def test_what_has_no_labels_is_refused_by_name() -> None:
    for built in (pupil(), agent()):
        with pytest.raises(
            RequestError, match=f"'nearest' needs .* classification, '{built.family.name}' is"
        ):
            check_classification(None, built)
