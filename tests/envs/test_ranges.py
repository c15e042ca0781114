"""Distributions of a task's numbers, worked by hand; and what is refused."""

import numpy as np
import pytest

from metarl_envs.any_gym.ranges import Choice, Scale, Uniform, ValueRange, nth

U = np.array([0.0, 0.25, 0.5, 0.75])


def test_uniform_by_hand() -> None:
    one = Uniform(2.0, 4.0, ood=(-1.0, 0.0))
    assert one.draw(U, False).tolist() == [2.0, 2.5, 3.0, 3.5]
    assert one.draw(U, True).tolist() == [-1.0, -0.75, -0.5, -0.25]
    assert one.features(np.array([2.0, 3.0, 4.0, 5.0])).tolist() == [[-1.0], [0.0], [1.0], [2.0]]
    assert (one.shape(None), one.count, one.has_ood, one.relative) == ((), None, True, False)
    assert one.value(np.array(2.5), None) == 2.5 and type(one.value(np.array(2.5), None)) is float
    assert not one.refuse(np.array([99.0]))[0].any()
    two = Uniform([0.0, 1.0], [1.0, 3.0])
    assert two.shape(None) == (2,) and not two.has_ood
    assert two.draw(np.array([[0.5, 0.5]]), False).tolist() == [[0.5, 2.0]]
    assert two.draw(np.array([[0.5, 0.5]]), True).tolist() == [[0.5, 2.0]]  # as in training
    assert two.features(np.array([[0.0, 3.0]])).tolist() == [[-1.0, 1.0]]
    entry = np.array([0.5, 2.0])
    assert two.value(entry, None) is not entry  # environments may write into what they are given


def test_scale_by_hand() -> None:
    one = Scale(0.5, 2.0, ood=(2.0, 8.0))
    assert np.allclose(one.draw(U, False), [0.5, 2**-0.5, 1.0, 2**0.5], rtol=1e-15)
    assert np.allclose(one.draw(U, True), [2.0, 8**0.5, 4.0, 32**0.5], rtol=1e-15)
    assert np.allclose(one.features(np.array([0.5, 1.0, 2.0])), [[-1.0], [0.0], [1.0]])
    assert one.shape(np.zeros((2, 3))) == (2, 3) and one.shape(7.0) == () and one.relative
    assert one.value(np.array([2.0, 3.0]), np.array([5.0, 7.0])).tolist() == [10.0, 21.0]
    assert one.value(np.array(2.0), 5.0) == 10.0
    assert one.refuse(np.array([1.0, 0.0, -1.0]))[0].tolist() == [False, True, True]


def test_choice_by_hand() -> None:
    numbers = Choice([5, 10, 20], ood=[40])
    assert numbers.draw(U, False).tolist() == [5.0, 5.0, 10.0, 20.0]
    assert numbers.draw(U, True).tolist() == [40.0] * 4
    assert numbers.features(np.array([5.0, 12.5, 20.0, 40.0])).ravel().tolist() == [-1, 0, 1, 55 / 15]
    assert numbers.value(np.array(10.0), None) == 10 and type(numbers.value(np.array(10.0), None)) is int
    assert (numbers.count, numbers.has_ood) == (3, True)
    bad, allowed = numbers.refuse(np.array([5.0, 6.0, 40.0]))
    assert bad.tolist() == [False, True, False] and allowed == "5, 10, 20, 40"
    words = Choice(["slow", None], ood=[{"a": 1}])
    assert words.draw(U, False).tolist() == [0.0, 0.0, 1.0, 1.0] and words.draw(U, True).tolist() == [2.0] * 4
    assert [words.value(np.array(i), None) for i in (0.0, 1.0, 2.0)] == ["slow", None, {"a": 1}]
    assert words.features(np.array([1.0, 2.0])).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert Choice([3.0]).features(np.array([3.0])).tolist() == [[0.0]]
    assert Choice(range(3)).fault() == ""


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (Uniform(1.0, 1.0), "is empty; allowed: low < high"),
        (Uniform([0.0, 2.0], [1.0, 2.0]), "is empty; allowed: low < high"),
        (Uniform([0.0, 1.0], 2.0), "shapes (2,), ()"),
        (Uniform("a", 2.0), "has a bound that is no number"),
        (Uniform(0.0, np.inf), "has a bound that is not finite; allowed: finite numbers"),
        (Uniform(0.0, 1.0, ood=(0.5, 2.0)), "has an ood that overlaps the training range; allowed: a range"),
        (Uniform(0.0, 1.0, ood=(3.0, 2.0)), "has an empty ood; allowed: low < high"),
        (Uniform(0.0, 1.0, ood=3.0), "has an ood that is no pair; allowed: ood=(low, high)"),
        (Scale(2.0, 0.5), "is empty; allowed: low < high"),
        (Scale(0.0, 2.0), "has a factor that is not positive; allowed: > 0"),
        (Scale(1.0, 2.0, ood=(-1.0, 0.5)), "has a factor that is not positive; allowed: > 0"),
        (Scale([1.0], [2.0]), "allowed: two factors, for all entries alike"),
        (Choice([]), "is empty; allowed: one value or more"),
        (Choice("abc"), "has no list of values; allowed: Choice([...])"),
        (Choice(3), "has no list of values; allowed: Choice([...])"),
        (Choice([1, 2], ood=[2]), "has a value twice; allowed: each once"),
        (Choice([1, 1.0]), "has a value twice; allowed: each once"),
        (Choice([1, np.nan]), "has a value that is not finite"),
    ],
)
def test_what_is_refused(one: ValueRange, why: str) -> None:
    assert why in one.fault()


def test_what_is_not() -> None:
    good = [Uniform(0, 1, ood=(1, 2)), Uniform([0, 5], [1, 6]), Scale(0.1, 10, ood=(0.01, 0.1)), Choice([0])]
    assert all(one.fault() == "" and isinstance(one, ValueRange) for one in good)


@pytest.mark.parametrize("counts", [[1], [2, 3], [4, 4, 4], [7, 1, 5], [100]])
def test_tasks_by_number_are_each_once(counts: list[int]) -> None:
    choices = [Choice(list(range(count))) for count in counts]
    total = int(np.prod(counts))
    columns = [c.draw(u, False) for c, u in zip(choices, nth(choices, np.arange(total)), strict=True)]
    assert len({tuple(row) for row in np.stack(columns, 1).tolist()}) == total
    few = [c.draw(u, False) for c, u in zip(choices, nth(choices, np.arange(total)[:3]), strict=True)]
    assert all(a.tolist() == b[:3].tolist() for a, b in zip(few, columns, strict=True))


def test_the_first_tasks_by_number_are_spread_over_all() -> None:
    choices = [Choice(list(range(10))) for _ in range(6)]
    columns = [c.draw(u, False) for c, u in zip(choices, nth(choices, np.arange(10)), strict=True)]
    assert all(len(set(column.tolist())) > 3 for column in columns)
