from itertools import product
from math import sqrt

import pytest

from annotation import intervals, reliability
from annotation.agreement import NotComparable, agreement
from annotation.importing import import_records
from annotation.models import Project
from tests import factories

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C: four observers, twelve units.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
UNITS = [[label for label in unit if label is not None] for unit in zip(*OBSERVERS, strict=True)]


def judged(votes: list[dict[str, str]], kind: str = "preference") -> Project:
    project = factories.project(kind)
    records = [
        {
            "id": str(number),
            "prompt": "?",
            "responses": ["x", "y"],
            "annotations": [{"annotator": name, "choice": choice} for name, choice in vote.items()],
        }
        for number, vote in enumerate(votes)
    ]
    assert import_records(project, records).applied
    return project


def test_alpha_is_the_one_worked_out_by_krippendorff() -> None:
    assert reliability.krippendorff_alpha(UNITS) == pytest.approx(0.743, abs=5e-4)
    assert reliability.krippendorff_alpha(UNITS, reliability.interval) == pytest.approx(0.849, abs=5e-4)
    assert reliability.krippendorff_alpha([["a", "a"], ["a", "a"]]) is None


def test_kappa_is_the_textbook_one() -> None:
    # Both yes 20, both no 15, only the first 5, only the second 10: p_o 0.7, p_e 0.5, kappa 0.4.
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert reliability.cohen_kappa(pairs) == pytest.approx(0.4)
    assert reliability.cohen_kappa([]) is None


def test_an_interval_is_wilson_s_and_wider_when_votes_come_in_clusters() -> None:
    found = intervals.wilson(8, 10)
    assert found is not None
    assert (found["low"], found["high"]) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert intervals.wilson(0, 0) is None
    worked = intervals.wilson(81, 263)  # Newcombe (1998), table I, first example
    assert (worked["low"], worked["high"]) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert intervals.wilson(20, 20)["high"] == pytest.approx(1) and 0.8 < intervals.wilson(20, 20)["low"] < 1
    alone = intervals.clustered([(1, 1)] * 60 + [(0, 1)] * 40)
    together = intervals.clustered([(10, 10)] * 6 + [(0, 10)] * 4)
    assert alone == pytest.approx(intervals.wilson(60, 100), rel=0.02)
    assert alone is not None
    assert together is not None
    assert together["value"] == alone["value"]
    ratio = (together["high"] - together["low"]) / (alone["high"] - alone["low"])
    assert 2.5 < ratio < sqrt(10)


@pytest.mark.django_db
def test_pairs_of_votes_are_counted_with_and_without_ties() -> None:
    project = judged(
        [
            {"ann": "a", "ben": "a", "cat": "b"},
            {"ann": "tie", "ben": "both_bad"},
            {"ann": "tie", "ben": "a"},
            {"ann": "a"},
        ]
    )
    found = agreement(project)
    assert (found["percent"]["agree"], found["percent"]["n"]) == (2, 5)
    assert (found["annotators"], found["tasks"], found["kappa"]) == (3, 3, None)
    decided = agreement(project, ties=False)
    assert (decided["percent"]["agree"], decided["percent"]["n"]) == (1, 3)
    assert decided["percent"]["low"] < 1 / 3 < decided["percent"]["high"]


@pytest.mark.django_db
def test_groups_are_compared_within_and_across() -> None:
    project = judged([{"ex_1": "a", "ex_2": "a", "gpt4": "b"}, {"ex_1": "b", "gpt4": "b"}, {"au_1": "a", "gpt4": "a"}])
    within = agreement(project, groups=("ex_*",))["percent"]
    across = agreement(project, groups=("ex_*", "gpt*"))
    assert (within["agree"], within["n"]) == (1, 1)
    assert (across["percent"]["agree"], across["percent"]["n"]) == (1, 3)
    assert across["kappa"] is not None
    assert agreement(project, groups=("nobody*",))["percent"] is None
    with pytest.raises(NotComparable):
        agreement(project, groups=("a", "b", "c"))


@pytest.mark.django_db
def test_ratings_agree_by_aspect_and_rankings_by_pairs() -> None:
    rated = factories.project("rating")
    scores = {"ann": 5, "ben": 4}
    ratings = [{"annotator": name, "ratings": {"helpful": helpful, "clear": 3}} for name, helpful in scores.items()]
    assert import_records(rated, [{"prompt": "?", "responses": ["x"], "annotations": ratings}]).applied
    assert agreement(rated, aspect="helpful")["percent"]["value"] == 0
    assert agreement(rated, aspect="clear")["percent"]["value"] == 1
    with pytest.raises(NotComparable, match="helpful"):
        agreement(rated)
    ranked = factories.project("ranking")
    orders = [{"annotator": "ann", "ranking": ["a", "b", "c"]}, {"annotator": "ben", "ranking": ["b", "a", "c"]}]
    assert import_records(ranked, [{"prompt": "?", "responses": ["x", "y", "z"], "annotations": orders}]).applied
    assert agreement(ranked)["percent"]["value"] == pytest.approx(2 / 3)


@pytest.mark.django_db
def test_turns_are_compared_by_their_place_where_somebody_left_one_out() -> None:
    asked = {"level": "turn", "aspects": [{"name": "clear", "label": "Clear", "points": 5, "required": False}]}
    project = factories.project("rating", questions=asked)
    prompt = [{"role": role, "content": "?"} for role in ("user", "assistant", "user", "assistant", "user")]
    turns = {"ann": {"3": {"clear": 2}}, "ben": {"1": {"clear": 1}, "3": {"clear": 2}}}
    said = [{"annotator": who, "ratings": {"clear": 3}, "turns": given} for who, given in turns.items()]
    assert import_records(project, [{"prompt": prompt, "completion": "x", "annotations": said}]).applied
    percent = agreement(project, aspect="clear")["percent"]
    assert percent is not None and (percent["agree"], percent["n"]) == (2, 2)


@pytest.mark.django_db
def test_written_answers_have_no_agreement() -> None:
    with pytest.raises(NotComparable, match="no two are alike"):
        agreement(factories.project("demonstration"))


def test_alpha_of_two_raters_falls_with_every_disagreement() -> None:
    units = [list(pair) for pair in product("ab", repeat=2)]
    alpha = reliability.krippendorff_alpha(units)
    assert alpha == pytest.approx(1 - 7 * 4 / 32)
