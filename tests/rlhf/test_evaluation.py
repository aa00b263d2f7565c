import pytest

from rlhf.evaluation import wilson


def test_the_interval_agrees_with_a_worked_example():
    """Newcombe (1998), table I, first example: 81 of 263 gives 0.2553 to 0.3662."""
    rate = wilson(81, 263)
    assert (rate["low"], rate["high"]) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert (rate["value"], rate["n"]) == (pytest.approx(0.308, abs=5e-4), 263)


def test_all_wins_still_leave_doubt_and_nothing_leaves_none():
    assert wilson(20, 20)["high"] == 1.0 and 0.8 < wilson(20, 20)["low"] < 1.0
    assert wilson(0, 0) == {"value": None, "low": None, "high": None, "n": 0}
