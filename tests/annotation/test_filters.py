"""Numbers as pages tell them."""

import pytest

from annotation.templatetags.hone import compact, pace


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (1204, "1,204"),
        (0.5, "0.50"),
        (12.3, "12.30"),
        (579.4, "579"),
        (12_345.6, "12,346"),
        (4.5e6, "4.5M"),
        (None, "–"),
    ],
)
def test_a_number_is_told_no_more_exactly_than_it_says_something(value: float | None, told: str) -> None:
    assert compact(value) == told


@pytest.mark.parametrize(("value", "told"), [(0.44, "0.4"), (12, "12"), (12.5, "12.5"), (1833.1, "1,833")])
def test_so_many_a_day(value: float, told: str) -> None:
    assert pace(value) == told
