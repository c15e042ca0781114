"""One step size for each inner step."""

import pytest

from metarl.core.errors import RequestError
from metarl.run.resolve import resolved
from metarl.run.step_sizes import step_sizes
from tiny_runs import tiny


@pytest.mark.parametrize(
    ("given", "steps", "sizes"),
    [
        (0.1, 3, [0.1, 0.1, 0.1]),
        (1.0, 2, [1.0, 1.0]),
        ([0.5], 2, [0.5, 0.5]),
        ((0.5, 0.25), 4, [0.5, 0.25, 0.25, 0.25]),
        ([0.3, 0.2, 0.1], 2, [0.3, 0.2]),
        (0.1, 0, []),
        ([0.5, 0.25], 0, []),
    ],
)
def test_a_number_serves_all_and_the_last_of_several_the_rest(
    given: float | list[float], steps: int, sizes: list[float]
) -> None:
    assert step_sizes(given, steps, resolved(tiny())) == sizes


@pytest.mark.parametrize(
    ("trained", "steps", "sizes"),
    [
        (1, 3, [0.2, 0.1, 0.1]),
        (2, 3, [0.2, 0.2, 0.1]),
        (3, 2, [0.2, 0.2]),
        (0, 2, [0.2, 0.1]),  # a baseline, which was trained without any: as MAML with one
        (1, 0, []),
    ],
)
def test_unset_they_are_training_s_and_half_of_it_beyond(
    trained: int, steps: int, sizes: list[float]
) -> None:
    assert step_sizes(None, steps, resolved(tiny(inner_lr=0.2, inner_steps=trained))) == sizes


@pytest.mark.parametrize(
    "given", [0.0, -1.0, float("nan"), float("inf"), [], [0.1, 0.0], [0.1, float("nan")]]
)
def test_what_is_no_step_size_is_refused_in_one_line(given: float | list[float]) -> None:
    with pytest.raises(RequestError, match="inner_lr must be finite numbers above 0, got") as caught:
        step_sizes(given, 2, resolved(tiny()))
    assert "\n" not in str(caught.value)
