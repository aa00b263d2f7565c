from types import SimpleNamespace

import pytest

from training import reports, schedule
from training.rundir import RunError


def test_the_interval_is_wilsons() -> None:
    # Worked by hand for 8 of 10: centre (0.8 + 0.19207) / 1.38415, half-width 1.95996 / 1.38415 * sqrt(0.025604).
    found = reports.wilson(8, 10)
    assert (found["value"], found["n"]) == (0.8, 10)
    assert (found["low"], found["high"]) == pytest.approx((0.49016, 0.94332), abs=1e-5)
    assert reports.wilson(10, 10)["high"] == pytest.approx(1.0)
    assert reports.wilson(0, 0)["value"] is None


def test_calibration_compares_what_was_claimed_with_what_came_true() -> None:
    error, bins = reports.calibration([0.55, 0.55, 0.95, 0.95], [1.0, 0.0, 1.0, 1.0])
    assert error == pytest.approx(0.5 * 0.05 + 0.5 * 0.05)
    assert [row["n"] for row in bins] == [2, 0, 0, 0, 2]
    assert (bins[0]["predicted"], bins[0]["observed"]) == pytest.approx((0.55, 0.5))
    assert reports.calibration([1.0], [1.0])[1][-1]["n"] == 1


def test_two_judges_of_the_same_rows_are_compared_row_by_row() -> None:
    # Agresti and Min (2005), as 2x2 counts: 40 both right, 30 only the first, 10 only the second, 20 neither.
    first = [1.0] * 70 + [0.0] * 30
    second = [1.0] * 40 + [0.0] * 30 + [1.0] * 10 + [0.0] * 20
    found = reports.paired(first, second)
    middle = (30.5 - 10.5) / 102
    half = 1.959964 * (((30.5 + 10.5) / 102 - middle**2) / 102) ** 0.5
    assert found == {"value": 0.2, "low": pytest.approx(middle - half), "high": pytest.approx(middle + half), "n": 100}
    # Side by side, intervals can overlap where the rows themselves tell the two apart.
    assert reports.wilson(60, 100)["low"] < reports.wilson(50, 100)["high"]
    assert found["low"] > 0


def test_few_rows_prove_no_difference() -> None:
    assert reports.paired([1.0, 1.0], [0.0, 0.0])["low"] < 0 < reports.paired([1.0, 1.0], [0.0, 0.0])["high"]


def test_a_model_that_reloads_otherwise_fails_its_run() -> None:
    assert reports.reload_check([1.0, 2.0], [1.0, 2.00001], tolerance=1e-4)["ok"]
    with pytest.raises(RunError, match=r"by 0\.5 on 2 rows"):
        reports.reload_check([1.0, 2.0], [1.0, 2.5], tolerance=1e-4)
    with pytest.raises(RunError):
        reports.reload_check([1.0], [float("nan")], tolerance=1e-4)


def test_the_learning_rate_rises_and_falls() -> None:
    params = SimpleNamespace(learning_rate=1.0, warmup_ratio=0.2, decay="linear")
    assert [schedule.learning_rate(params, step, 10) for step in (1, 2, 3, 7, 10)] == [0.5, 1.0, 1.0, 0.5, 0.125]
    params.decay = "cosine"
    assert schedule.learning_rate(params, 7, 10) == pytest.approx(0.5)
    params.decay = "constant"
    assert schedule.learning_rate(params, 10, 10) == 1.0
    params.warmup_ratio = 0.0
    assert schedule.learning_rate(params, 1, 10) == 1.0
