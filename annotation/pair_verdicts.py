"""Who wins a pair of responses, by the votes on it: leads in, verdicts out, and nothing of a row or a database."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

Lead = tuple[int, float]  # which side a vote is for (1 the first, -1 the second, 0 neither) and how strongly
Soft = tuple[float, float, float]  # the chances of the first, of neither, of the second
BOTH_BAD, TIE, LOW = "both bad", "tie", "low agreement"


class LeftOut(Exception):
    """The task yields nothing; the message is the reason, the same words for the same reason."""


class Verdict(NamedTuple):
    winner: int  # 1 the first response, -1 the second
    margin: float
    agreement: float
    weight: float  # 1, or a half for each side of a tie that is kept
    posterior: float | None = None


@lru_cache(maxsize=20_000)  # few judges of a task and a scale of seven points make few different leads
def verdicts(
    leads: tuple[Lead, ...], *, aggregation: str, ties: str, least: float, soft: Soft | None = None
) -> tuple[Verdict, ...]:
    """One verdict, one for each vote, or one for each side of a tie that is kept as half and half.

    `least` is the agreement, or the posterior of a soft label, that a verdict needs. LeftOut where none is left.
    """
    winners = _winners(leads, soft, aggregation)
    if not any(winners):
        neither = [strength for side, strength in leads if not side]
        if sum(1 for strength in neither if strength < 0) * 2 > len(neither):
            raise LeftOut(BOTH_BAD)
        if ties == "drop":
            raise LeftOut(TIE)
    sides = [side for side, _ in leads]
    lead = sum([side * strength for side, strength in leads if side]) / len(leads)
    found = []
    for won in winners:
        if not won and ties == "drop":
            continue
        for winner in (won,) if won else (1, -1):
            share = sides.count(winner) / len(sides) if won else 0.5
            margin, weight = (winner * lead + 0.0, 1.0) if won else (0.0, 0.5)  # + 0.0: no lead at all has no sign
            posterior = soft[1 - winner] + soft[1] / 2 if soft else None
            if (share if posterior is None else posterior) >= least:
                found.append(Verdict(winner, margin, share, weight, posterior))
    if not found:
        raise LeftOut(LOW)
    return tuple(found)


def choice_lead(body: dict[str, Any], first: int) -> Lead:
    """What a preference says of the response `first`."""
    choice = body["choice"]
    if not isinstance(choice, int):
        return 0, -1.0 if choice == "both_bad" else 0.0
    return (1 if choice == first else -1), float(body.get("strength") or 0)


def rank_lead(body: dict[str, Any], first: int, second: int) -> Lead:
    """What a ranking says of two of its responses."""
    place = {response: index for index, tied in enumerate(body["ranking"]) for response in tied}
    return sign(place[second] - place[first]), 0.0


def sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)


def _winners(leads: tuple[Lead, ...], soft: Soft | None, aggregation: str) -> list[int]:
    """Who won (1 the first, -1 the second, 0 neither), once or for each vote."""
    if aggregation == "each":
        return [side for side, _ in leads]
    if aggregation == "posterior" and soft:
        first, neither, second = soft
        return [0] if neither >= max(first, second) or first == second else [1 if first > second else -1]
    if aggregation == "strength":
        # A vote of unknown strength counts as a slight preference.
        return [sign(sum(side * max(strength, 1.0) for side, strength in leads))]
    return [sign(sum([side for side, _ in leads]))]
