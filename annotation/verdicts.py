"""Several people's verdicts on one task: how far apart they are, and the one in the middle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from statistics import median, median_low
from typing import Any

from django.utils.translation import gettext_noop

from annotation.models import Kind
from annotation.questions import STEPS, step_of

Body = dict[str, Any]
SAME = 4  # the middle step of the beam
UNITS = {
    Kind.PREFERENCE: gettext_noop("steps"),
    Kind.RATING: gettext_noop("points"),
    Kind.RANKING: gettext_noop("percent of pairs"),
    Kind.DEMONSTRATION: "",
}


def step(body: Body, ids: Sequence[int]) -> int | None:
    """The step of the seven-point scale on which `ids[0]` is A; None for "both bad"."""
    choice = body.get("choice")
    side = "ab"[ids.index(choice)] if choice in ids[:2] else str(choice)
    return step_of(side, int(body.get("strength") or 0))


def spread(kind: str, bodies: Sequence[Body], ids: Sequence[int]) -> int:
    """How far the verdicts lie apart; 0 when all say the same.

    Preference: steps between the outermost two. Rating: points, of the aspect that is rated most differently. Ranking:
    the share of pairs of responses, in percent, that two of the rankings order differently. Demonstration: 1 when the
    answers are not all equal.
    """
    if len(bodies) < 2:
        return 0
    if kind == Kind.PREFERENCE:
        steps = [step(body, ids) or SAME for body in bodies]
        differ = len({str(body.get("choice")) for body in bodies}) > 1
        return max(max(steps) - min(steps), int(differ))
    if kind == Kind.RATING:
        return max((max(one) - min(one) for one in _all_ratings(bodies).values()), default=0)
    if kind == Kind.RANKING:
        orders = [_signs(body, ids) for body in bodies]
        pairs = max(len(orders[0]), 1)
        apart = max(sum(a != b for a, b in zip(*two, strict=True)) for two in combinations(orders, 2))
        return round(100 * apart / pairs)
    return int(len({str(body.get("text")) for body in bodies}) > 1)


def middle(kind: str, bodies: Sequence[Body], ids: Sequence[int], *, ties: bool = True) -> Body | None:
    """The median verdict as a body of its own, or None where there is no such thing.

    Preference: the median step, of two the one nearer to "about the same", which is no verdict where ties are not
    allowed. Rating: the lower median of each aspect. Ranking: by mean place.
    """
    if not bodies or kind == Kind.DEMONSTRATION:
        return None
    answer: Body | None
    if kind == Kind.PREFERENCE:
        answer = _middle_preference(bodies, ids)
        allowed = ties or answer["choice"] != "tie"
    elif kind == Kind.RATING:
        answer = {"ratings": _middle_ratings([body.get("ratings") or {} for body in bodies])}
        turns = sorted({turn for body in bodies for turn in body.get("turns") or {}}, key=int)
        told = {turn: _middle_ratings([(body.get("turns") or {}).get(turn) or {} for body in bodies]) for turn in turns}
        answer |= {"turns": told} if told else {}
        allowed = True
    else:
        answer = {"ranking": _mean_order(bodies, ids)}
        allowed = ties or len(answer["ranking"]) == len(ids)
    if not allowed:
        return None
    said = Counter(flag for body in bodies for flag in body.get("flags") or [])
    flags = [flag for flag, count in said.items() if 2 * count > len(bodies)]
    return answer | {"flags": flags, "rationale": ""}


def farthest(kind: str, bodies: Sequence[Body], ids: Sequence[int]) -> int | None:
    """The index of the verdict that is farthest from all the others together; None when nobody stands apart."""
    distances = [
        sum(spread(kind, [body, other], ids) for place, other in enumerate(bodies) if place != index)
        for index, body in enumerate(bodies)
    ]
    if not distances or len(set(distances)) == 1:
        return None
    return distances.index(max(distances))


def _middle_preference(bodies: Sequence[Body], ids: Sequence[int]) -> Body:
    aspects: dict[str, list[int]] = {}
    for body in bodies:
        for name, given in (body.get("aspects") or {}).items():
            aspects.setdefault(name, []).append({ids[0]: -1, ids[1]: 1}.get(given, 0))
    sides = {-1: ids[0], 0: "tie", 1: ids[1]}
    told = {name: sides[_toward(0, median(given))] for name, given in aspects.items()}
    if 2 * sum(body.get("choice") == "both_bad" for body in bodies) > len(bodies):
        return {"choice": "both_bad", "strength": 0, "aspects": told}
    side, strength = STEPS[_toward(SAME, median(step(body, ids) or SAME for body in bodies))]
    choice = {"a": ids[0], "b": ids[1]}.get(side, side)
    return {"choice": choice, "strength": strength, "aspects": told}


def _toward(center: int, value: float) -> int:
    """A half is rounded toward the center."""
    return int(value) if value == int(value) else int(value + (0.5 if value < center else -0.5))


def _middle_ratings(given: Sequence[dict[str, int]]) -> dict[str, int]:
    names = sorted({name for ratings in given for name in ratings})
    return {name: median_low([ratings[name] for ratings in given if name in ratings]) for name in names}


def _all_ratings(bodies: Sequence[Body]) -> dict[tuple[str, str], list[int]]:
    """What each aspect was given, of the response ("") and of each earlier turn that is rated."""
    found: dict[tuple[str, str], list[int]] = {}
    for body in bodies:
        for turn, ratings in ({"": body.get("ratings") or {}} | (body.get("turns") or {})).items():
            for name, given in ratings.items():
                found.setdefault((turn, name), []).append(given)
    return found


def _places(body: Body) -> dict[int, int]:
    return {response: place for place, tied in enumerate(body.get("ranking") or []) for response in tied}


def _signs(body: Body, ids: Sequence[int]) -> list[int]:
    place = _places(body)
    return [(place.get(b, 0) > place.get(a, 0)) - (place.get(b, 0) < place.get(a, 0)) for a, b in combinations(ids, 2)]


def _mean_order(bodies: Sequence[Body], ids: Sequence[int]) -> list[list[int]]:
    sums: dict[int, float] = dict.fromkeys(ids, 0.0)
    for body in bodies:
        taken = 0
        for tied in body.get("ranking") or []:
            for response in tied:
                if response in sums:
                    sums[response] += taken + (len(tied) + 1) / 2
            taken += len(tied)
    return [sorted(r for r, total in sums.items() if total == place) for place in sorted(set(sums.values()))]


def alike(kind: str, body: Body, other: Body, ids: Sequence[int], *, within: int = 0) -> tuple[int, int]:
    """In how many of how many comparisons two verdicts agree.

    Preference: one, the choice. Rating: one for each aspect that both rate, alike `within` points. Ranking: one for
    each pair of responses, alike when both order it in the same way.
    """
    if kind == Kind.PREFERENCE:
        return int(body.get("choice") == other.get("choice")), 1
    if kind == Kind.RATING:
        mine, theirs = body.get("ratings") or {}, other.get("ratings") or {}
        both = mine.keys() & theirs.keys()
        return sum(abs(mine[name] - theirs[name]) <= within for name in both), len(both)
    if kind == Kind.RANKING:
        pairs = list(zip(_signs(body, ids), _signs(other, ids), strict=True))
        return sum(a == b for a, b in pairs), len(pairs)
    return 0, 0
