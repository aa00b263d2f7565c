from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation import intervals, reliability
from annotation.quality import bootstrap, breakdown, measures
from annotation.quality.votes import NONE, SIDES, Ballots, Question, Votes

# Krippendorff (2011), section C, and Gwet (2014), table 2.12: four observers, twelve units, gaps.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
FIVE = np.arange(5.0)
# Fleiss (1971), table 1: thirty patients, six psychiatrists each, five diagnoses.
DIAGNOSES = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""


def counts_of(observers: list[list[Any]], k: int) -> Any:
    units = zip(*observers, strict=True)
    return np.array([[sum(label == category + 1 for label in unit) for category in range(k)] for unit in units])


def table(*rows: list[int]) -> Any:
    return np.array(rows, dtype=float)


def each(whole: Any) -> Any:
    """The table as one table for each thing."""
    k = len(whole)
    return np.repeat(np.eye(k * k), whole.reshape(-1).astype(int), axis=0).reshape(-1, k, k)


def test_alpha_is_the_one_worked_out_by_krippendorff() -> None:
    found = measures.all_of(measures.of_counts(counts_of(OBSERVERS, 5)), FIVE)
    assert found["alpha_nominal"] == pytest.approx(0.743, abs=5e-4)
    assert found["alpha_ordinal"] == pytest.approx(0.815, abs=5e-4)
    assert found["alpha_interval"] == pytest.approx(0.849, abs=5e-4)


def test_gaps_are_treated_as_gwet_treats_them() -> None:
    found = measures.all_of(measures.of_counts(counts_of(OBSERVERS, 5)), FIVE)
    assert found["ac1"] == pytest.approx(0.77544, abs=5e-6)
    assert found["fleiss"] == pytest.approx(0.76117, abs=5e-6)


def test_fleiss_kappa_is_the_published_one() -> None:
    found = measures.all_of(measures.of_counts(np.array([list(map(int, row)) for row in DIAGNOSES.split()])), FIVE)
    assert found["fleiss"] == pytest.approx(0.430, abs=5e-4)
    assert found["percent"] == pytest.approx(0.556, abs=5e-4)


def test_two_people_s_measures_are_gwet_s() -> None:
    # Gwet (2014): two abstractors, 100 patients, three kinds of pregnancy.
    abstractors = table([13, 0, 0], [0, 20, 7], [0, 4, 56])
    found = measures.all_of(measures.of_tables(abstractors), np.arange(3.0))
    assert measures.cohen(abstractors) == pytest.approx(0.7964094, abs=5e-8)
    assert found["fleiss"] == pytest.approx(0.7962397, abs=5e-8)  # Scott's pi
    assert found["alpha_nominal"] == pytest.approx(0.7972585, abs=5e-8)
    assert found["ac1"] == pytest.approx(0.8493305, abs=5e-8)
    # By hand: p_a = 0.89 + 0.75 * 0.11, T_w = 6, p_e = Σ π (1 - π) = 0.53985.
    assert found["ac2"] == pytest.approx((0.9725 - 0.53985) / (1 - 0.53985))


def test_cohen_s_own_example_comes_out() -> None:
    # Cohen (1960), table 1, 200 judgements: p_o 0.70, p_e 0.41, kappa 0.492.
    assert measures.cohen(table([88, 14, 18], [10, 40, 10], [2, 6, 12])) == pytest.approx(0.492, abs=5e-4)


def test_high_agreement_on_a_rare_thing_shows_in_ac1_and_not_in_kappa() -> None:
    rare = table([118, 5], [2, 0])  # Gwet (2008): p_o 0.944, kappa below 0, AC1 0.94
    assert measures.cohen(rare) == pytest.approx(-0.0234, abs=5e-5)
    assert measures.all_of(measures.of_tables(rare), np.arange(2.0))["ac1"] == pytest.approx(0.9408, abs=5e-5)


def test_what_does_not_exist_is_not_a_number() -> None:
    same = measures.all_of(measures.of_counts(np.array([[3, 0], [2, 0]])), np.arange(2.0))
    assert np.isnan(same["alpha_nominal"])
    assert np.isnan(same["fleiss"])
    assert (same["percent"], same["ac1"]) == (1, 1)
    alone = measures.all_of(measures.of_counts(np.array([[1, 0], [0, 1]])), np.arange(2.0))
    assert all(np.isnan(value) for value in alone.values())


units = st.lists(st.lists(st.integers(0, 3), max_size=5), min_size=1, max_size=12)


@given(units)
def test_fast_and_plain_ways_agree(given_units: list[list[int]]) -> None:
    counts = np.array([np.bincount(unit, minlength=4) for unit in given_units])
    found = measures.all_of(measures.of_counts(counts), np.arange(4.0))
    pairs = [pair for unit in given_units for pair in combinations(unit, 2)]
    for name, distance in (("alpha_nominal", reliability.nominal), ("alpha_interval", reliability.interval)):
        plain = reliability.krippendorff_alpha(given_units, distance)
        assert found[name] == pytest.approx(float("nan") if plain is None else plain, nan_ok=True)
    if pairs:
        assert found["percent"] == pytest.approx(sum(one == other for one, other in pairs) / len(pairs))
    for name, value in found.items():
        assert np.isnan(value) or value <= 1 + 1e-9, name


@given(units, st.permutations(range(4)))
def test_names_of_categories_do_not_matter_to_nominal_measures(given_units: list[list[int]], order: list[int]) -> None:
    counts = np.array([np.bincount(unit, minlength=4) for unit in given_units])
    one = measures.all_of(measures.of_counts(counts), np.arange(4.0))
    other = measures.all_of(measures.of_counts(counts[:, order]), np.arange(4.0))
    for name in ("percent", "fleiss", "alpha_nominal", "ac1"):
        assert one[name] == pytest.approx(other[name], nan_ok=True)


def test_an_interval_holds_the_estimate_repeats_itself_and_narrows_with_more_tasks() -> None:
    patterns = measures.rows_of(np.array([[3, 0], [2, 1], [0, 3]]))
    few = bootstrap.of_tasks(patterns, np.array([10, 8, 10]), np.arange(2.0))
    many = bootstrap.of_tasks(patterns, np.array([1000, 800, 1000]), np.arange(2.0))
    assert few == bootstrap.of_tasks(patterns, np.array([10, 8, 10]), np.arange(2.0))
    for name in ("percent", "fleiss", "alpha_nominal", "ac1"):
        assert few[name]["low"] < few[name]["value"] < few[name]["high"]
        ratio = (few[name]["high"] - few[name]["low"]) / (many[name]["high"] - many[name]["low"])
        assert 7 < ratio < 14  # near the root of a hundred


def test_the_interval_of_a_share_is_close_to_the_known_one() -> None:
    found = bootstrap.of_tables(each(table([30, 10], [10, 50])), np.arange(2.0))["percent"]
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.8, 0.722, 0.878), abs=0.025)


def test_one_task_has_no_interval() -> None:
    found = bootstrap.of_tables(each(table([1, 0], [0, 0])), np.arange(2.0))
    assert found["percent"] == {"value": 1.0, "low": None, "high": None}
    assert found["cohen"]["value"] is None


def test_few_tasks_have_a_wide_interval_and_votes_that_never_differ_have_none() -> None:
    assert [intervals.student(n) for n in (3, 9, 99)] == pytest.approx([3.182, 2.262, 1.984], rel=0.01)
    assert intervals.tail(10**6) == pytest.approx(0.025, abs=1e-4)
    patterns = measures.rows_of(np.array([[2, 0], [1, 1], [0, 2]]))
    eight = bootstrap.of_tasks(patterns, np.array([3, 2, 3]), np.arange(2.0))["percent"]
    exact = intervals.wilson(6, 8)
    assert exact is not None and eight["high"] - eight["low"] > 0.9 * (exact["high"] - exact["low"])
    alike = bootstrap.of_tasks(patterns, np.array([4, 0, 4]), np.arange(2.0))
    assert alike["alpha_nominal"] == {"value": 1.0, "low": None, "high": None}


def ballots(tasks: int, *, things: int = 1) -> Ballots:
    """Three of six people on each thing, reliable to different degrees."""
    random = np.random.default_rng(7)
    thing = np.repeat(np.arange(tasks * things), 3)
    person = np.concatenate([random.permutation(6)[:3] for _ in range(tasks * things)])
    truth = random.integers(3, size=tasks * things)
    right = random.random(len(thing)) < np.linspace(0.4, 0.95, 6)[person]
    label = np.where(right, truth[thing], random.integers(3, size=len(thing)))
    of_thing = np.arange(tasks * things) // things
    question = Question("verdict", "Verdict", "ordinal", SIDES)
    return Ballots(question, thing, person, label, of_thing, np.full((tasks * things, 2), NONE))


def test_tasks_drawn_in_groups_have_the_interval_of_tasks_drawn_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, together = [], []
    for found, groups, single in ((alone, 10_000, 10_000), (together, 100, 10)):
        monkeypatch.setattr(bootstrap, "GROUPS", groups)
        monkeypatch.setattr(breakdown, "MOST_SINGLE", single)
        measured = breakdown.overall(ballots(400, things=2), part=True)
        assert measured is not None
        found += [measured["measures"][name] for name in ("cohen", "alpha_nominal", "percent")]
    for one, other in zip(alone, together, strict=True):
        assert one["value"] == other["value"]
        assert (one["high"] - one["low"]) / (other["high"] - other["low"]) == pytest.approx(1, abs=0.3)


def test_two_groups_of_one_person_each_agree_as_the_two_people_do() -> None:
    voted = ballots(60)
    people = np.arange(6)
    votes = Votes(list(range(6)), [], *(np.empty(0) for _ in range(8)))
    pairs = breakdown.by_people(voted, votes)
    for pair in pairs[:2]:
        found = breakdown.between(voted, people == pair["a"], people == pair["b"])
        assert found is not None
        assert found["cohen"]["value"] == pair["measures"]["cohen"]["value"]
        assert found["percent"]["low"] < found["percent"]["value"] < found["percent"]["high"]
    assert breakdown.between(voted, people == 0, people == 0) is None
