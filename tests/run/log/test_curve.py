"""The adaptation curve and its columns in a row."""

from metarl.run.log.curve import VALIDATION, Curve

ROW = {
    "iteration": 3,
    "success/step_0": 0.1,
    "success/step_1": 0.5,
    "return/step_0": -9.0,
    "return/step_1": -4.0,
}
HELD_OUT = {"validation/return/step_0": -8.0, "validation/return/step_1": -5.0, "step_size/mean": 0.1}


def test_a_curve_is_written_as_columns_and_read_again() -> None:
    curve = Curve("return", [-9.0, -4.0])
    assert curve.to_row() == {"return/step_0": -9.0, "return/step_1": -4.0}
    assert Curve.from_row(ROW, "return") == curve
    validation = Curve("return", [-8.0, -5.0], VALIDATION)
    assert Curve.from_row(ROW | HELD_OUT, "return", VALIDATION) == validation
    assert validation.to_row().items() <= HELD_OUT.items()


def test_a_row_without_the_metric_has_no_curve_and_a_gap_ends_one() -> None:
    assert Curve.from_row(ROW, "mse") is None
    assert Curve.from_row(ROW | {"return/step_3": 1.0}, "return") == Curve("return", [-9.0, -4.0])


def test_the_curves_of_a_row_come_in_its_order_and_only_those_of_the_prefix() -> None:
    assert [curve.metric for curve in Curve.all_from_row(ROW | HELD_OUT)] == ["success", "return"]
    assert Curve.all_from_row(ROW | HELD_OUT, VALIDATION) == [Curve("return", [-8.0, -5.0], VALIDATION)]
    assert Curve.all_from_row({"iteration": 1}) == []
