"""One step size for each inner step."""

from typing import Any

import pytest

from metarl.core.errors import RequestError
from metarl.run.experience.step_sizes import step_sizes
from tiny_runs import agent, pupil


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
    assert step_sizes(given, steps, agent()) == sizes


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
    assert step_sizes(None, steps, agent(inner_lr=0.2, inner_steps=trained)) == sizes


@pytest.mark.parametrize(
    "given", [0.0, -1.0, float("nan"), float("inf"), [], [0.1, 0.0], [0.1, float("nan")]]
)
def test_what_is_no_step_size_is_refused_in_one_line(given: float | list[float]) -> None:
    with pytest.raises(RequestError, match="inner_lr must be finite numbers above 0, got") as caught:
        step_sizes(given, 2, agent())
    assert "\n" not in str(caught.value)


# Labelled examples, and rules that learn ---------------------------------------------------------


@pytest.mark.parametrize("trained", [0, 1, 5])
def test_on_labelled_examples_no_later_step_is_halved(trained: int) -> None:
    """Gradients there shrink by themselves."""
    built = pupil(inner_lr=0.2, inner_steps=trained)
    assert step_sizes(None, 4, built) == [0.2] * 4
    assert step_sizes([0.5, 0.1], 4, built) == [0.5, 0.1, 0.1, 0.1]
    assert step_sizes(None, 0, built) == []


@pytest.mark.parametrize("make", [agent, pupil])
@pytest.mark.parametrize("algorithm", ["lstm", "meta-sgd"])
def test_a_rule_that_learned_its_steps_is_left_alone(make: Any, algorithm: str) -> None:
    built = make(algorithm=algorithm, inner_lr=None)
    assert built.rule.learns
    assert step_sizes(None, 3, built) == [None] * 3
    assert step_sizes(None, 0, built) == []
    for given in (0.1, [0.1, 0.2]):
        with pytest.raises(RequestError) as caught:
            step_sizes(given, 3, built)
        assert str(caught.value) == (
            f"inner_lr has no meaning for rule {algorithm!r}, whose steps are learned; got {given}"
        )
    assert len(built.adaptations([None] * 3, 3)) == 3


@pytest.mark.parametrize("family", ["point-goal", "tiny_families:Blobs"])
def test_a_rule_without_parameters_of_its_own_has_learned_nothing(family: str) -> None:
    make = agent if family == "point-goal" else pupil
    for rule, own in {"sgd": 0.1, "adam": 0.001}.items():
        built = make(rule=rule, inner_lr=None, family=family)
        assert not built.rule.learns
        assert step_sizes(None, 1, built) == [own]
