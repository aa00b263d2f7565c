"""How far verdicts lie apart, and what lies in the middle of them."""

import pytest

from annotation import verdicts

IDS = [10, 20]
A3, A2, A1 = ({"choice": 10, "strength": n} for n in (3, 2, 1))
B3, B2, B1 = ({"choice": 20, "strength": n} for n in (3, 2, 1))
TIE, BAD = {"choice": "tie", "strength": 0}, {"choice": "both_bad", "strength": 0}


@pytest.mark.parametrize(
    ("bodies", "spread"),
    [([A2], 0), ([A2, A2], 0), ([A3, A1], 2), ([A3, B2, A2], 5), ([A3, B3], 6), ([TIE, BAD], 1), ([A1, TIE], 1)],
)
def test_the_spread_of_a_comparison_is_in_steps(bodies, spread):
    assert verdicts.spread("preference", bodies, IDS) == spread


def test_the_spread_of_a_rating_is_that_of_its_most_disputed_aspect():
    bodies = [{"ratings": {"clear": 4, "true": 1}}, {"ratings": {"clear": 5, "true": 5}}]
    assert verdicts.spread("rating", bodies, []) == 4


def test_the_spread_of_rankings_is_the_share_of_pairs_ordered_differently():
    ids = [1, 2, 3]
    bodies = [{"ranking": [[1], [2], [3]]}, {"ranking": [[2], [1], [3]]}, {"ranking": [[1, 2], [3]]}]
    assert verdicts.spread("ranking", bodies, ids) == 33
    assert verdicts.spread("ranking", [bodies[0], {"ranking": [[3], [2], [1]]}], ids) == 100


@pytest.mark.parametrize(
    ("bodies", "choice", "strength"),
    [
        ([A3, A2, B2], 10, 2),
        ([A2, B2], "tie", 0),
        ([A3, A2], 10, 2),
        ([B1, B2], 20, 1),
        ([BAD, BAD, A3], "both_bad", 0),
        ([BAD, A3, A3], 10, 3),
    ],
)
def test_the_middle_of_a_comparison_is_the_median_step(bodies, choice, strength):
    middle = verdicts.middle("preference", bodies, IDS)
    assert (middle["choice"], middle["strength"]) == (choice, strength)


def test_an_even_split_has_no_middle_where_ties_are_not_allowed():
    assert verdicts.middle("preference", [A2, B2], IDS, ties=False) is None


def test_the_middle_keeps_what_most_said_of_aspects_and_flags():
    bodies = [
        A2 | {"aspects": {"true": 10}, "flags": ["unsafe"]},
        A2 | {"aspects": {"true": 10}, "flags": ["unsafe", "unclear"]},
        A2 | {"aspects": {"true": 20}, "flags": []},
    ]
    middle = verdicts.middle("preference", bodies, IDS)
    assert middle["aspects"] == {"true": 10} and middle["flags"] == ["unsafe"]


def test_ratings_and_rankings_have_a_middle_and_texts_have_none():
    ratings = [{"ratings": {"clear": value}} for value in (1, 4, 5)]
    assert verdicts.middle("rating", ratings, [])["ratings"] == {"clear": 4}
    rankings = [{"ranking": [[1], [2], [3]]}, {"ranking": [[2], [1], [3]]}]
    assert verdicts.middle("ranking", rankings, [1, 2, 3])["ranking"] == [[1, 2], [3]]
    assert verdicts.middle("demonstration", [{"text": "x"}], []) is None


def test_who_stands_apart_is_found():
    assert verdicts.farthest("preference", [A2, B2, A3], IDS) == 1
    assert verdicts.farthest("preference", [A2, B2], IDS) is None
