"""An evaluation as a file and as a table."""

from metarl.run.results import aligned, shown_steps


def test_cells_stand_under_one_another() -> None:
    rows = [["", "step 1", "rates"], ["meta", "-1.5", "0.1"], ["a", "-10.25", "0.1 0.05"]]
    assert aligned(rows, left=(0, 2)) == [
        "       step 1   rates",
        "meta     -1.5   0.1",
        "a      -10.25   0.1 0.05",
    ]


def test_a_table_of_many_steps_shows_some() -> None:
    assert shown_steps(5) == [0, 1, 2, 3, 4, 5]
    assert shown_steps(30) == [0, 1, 2, 5, 10, 20, 30]
