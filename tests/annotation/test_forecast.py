from datetime import date, timedelta

from annotation import forecast

TODAY = date(2026, 11, 23)


def test_a_steady_pace_gives_the_day_and_nearly_no_doubt() -> None:
    found = forecast.of([10] * 14, 55, TODAY)
    assert found is not None
    assert found.done_by == found.earliest == found.latest == TODAY + timedelta(days=6)


def test_an_unsteady_pace_gives_a_wide_interval_around_the_day() -> None:
    found = forecast.of([0, 40, 5, 0, 30, 10, 20, 0, 35, 3, 0, 25, 12, 20], 400, TODAY)
    assert found is not None
    assert found.latest is not None
    assert found.earliest + timedelta(days=7) < found.done_by < found.latest - timedelta(days=7)
    assert found == forecast.of([0, 40, 5, 0, 30, 10, 20, 0, 35, 3, 0, 25, 12, 20], 400, TODAY)


def test_days_before_the_project_began_do_not_slow_it_down() -> None:
    found = forecast.of([0] * 9 + [10] * 5, 100, TODAY)
    assert found is not None
    assert found.done_by == TODAY + timedelta(days=10)


def test_without_a_pace_or_without_work_left_there_is_no_forecast() -> None:
    assert forecast.of([10] * 14, 0, TODAY) is None
    assert forecast.of([0] * 14, 10, TODAY) is None
    assert forecast.of([], 10, TODAY) is None
    assert forecast.of([5, 5], 10, TODAY) is None
    assert forecast.of([1, 1, 1], 100_000, TODAY) is None


def test_a_pace_that_may_stop_has_no_latest_day() -> None:
    found = forecast.of([1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1], 600, TODAY)
    assert found is not None
    assert found.latest is None
