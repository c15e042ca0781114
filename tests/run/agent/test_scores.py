"""Scores by hand, and what a meta-learner reports of them."""

import pytest
import torch

from metarl.core.batch import Shots
from metarl.core.errors import RequestError
from metarl.core.params import Params
from metarl.learn.problem import TaskData
from metarl.run.agent.scores import accuracy, mse, report, score, scores
from metarl.run.log.measures import MEASURES


def test_mean_squared_error_is_each_task_s_own() -> None:
    # Errors (1, 2), (0, 3) of the first task: 14 / 4. The second's are all 1/2.
    y = torch.zeros(2, 2, 2)
    outputs = torch.tensor([[[1.0, 2.0], [0.0, -3.0]], [[0.5, 0.5], [-0.5, 0.5]]])
    assert mse(outputs, y).tolist() == [3.5, 0.25]
    assert mse(outputs[:, :, :1], y[:, :, :1]).tolist() == [0.5, 0.25]


def test_accuracy_is_the_share_of_labels_with_the_largest_logit() -> None:
    logits = torch.tensor(
        [
            [[0.1, 0.2, -5.0], [9.0, 8.0, 8.5], [-1.0, -3.0, -2.0], [0.0, 0.0, 1.0]],  # says 1, 0, 0, 2
            [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]],  # says 1 always
        ]
    )
    labels = torch.tensor([[1, 0, 2, 2], [0, 0, 0, 2]])
    found = accuracy(logits, labels)
    assert found.tolist() == [0.75, 0.0]
    assert found.dtype == logits.dtype


def test_every_score_has_a_direction() -> None:
    assert set(scores.names()) == MEASURES.keys()
    assert [name for name, measure in MEASURES.items() if measure.lower_is_better] == ["mse"]


def scaled(params: Params, x: torch.Tensor) -> torch.Tensor:
    """Each task's inputs times its own number."""
    return params["scale"][:, None, None] * x


def shots(targets: list[float]) -> Shots:
    """x is 1 for both shots of each task; the labels are given."""
    return Shots(torch.ones(len(targets), 2, 1), torch.tensor(targets).reshape(-1, 1, 1).expand(-1, 2, 1))


def test_a_score_is_that_of_each_task_s_parameters_on_its_shots() -> None:
    params = {"scale": torch.tensor([1.0, 2.0])}
    assert score("mse", scaled, params, shots([1.0, 5.0])).tolist() == [0.0, 9.0]
    with pytest.raises(RequestError, match="unknown metric 'luck'"):
        score("luck", scaled, params, shots([1.0, 5.0]))


def test_a_report_goes_along_the_path_and_looks_at_the_query() -> None:
    path = [{"scale": torch.tensor([k + 1.0, k + 2.0])} for k in range(3)]
    data = TaskData((shots([100.0, 100.0]),) * 2, shots([1.0, 4.0]))
    found = report("mse", scaled)(path, data)
    assert {name: x.tolist() for name, x in found.items()} == {
        "mse/step_0": [0.0, 4.0],
        "mse/step_1": [1.0, 1.0],
        "mse/step_2": [4.0, 0.0],
    }
