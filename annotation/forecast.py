"""When a project is done at the pace of the last weeks, with how sure that is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil, sqrt
from statistics import fmean, pstdev

DAYS = 14  # that tell the pace: two weeks, so that week-ends count for what they are
REPLICATES = 1000
SEED = 20_111
FARTHEST = 3650  # days; beyond, no date means anything
FEWEST = 3  # days with work, or there is no pace to speak of


@dataclass(frozen=True)
class Forecast:
    """The day on which the rest is done, and the days between which it is in 19 of 20 cases."""

    done_by: date
    earliest: date
    latest: date | None  # None: perhaps never at this pace


def of(per_day: Sequence[int], left: int, today: date) -> Forecast | None:
    """The forecast from judgements on each of the last days, oldest first; None where there is no pace.

    Days are drawn again (Efron and Tibshirani 1993) for what is not known of the pace, and the days to come vary as
    the drawn ones do: left / m days, give or take s sqrt(left / m) / m, for a pace of m with deviation s.
    """
    recent = list(per_day[-DAYS:])
    while recent and not recent[0]:
        recent.pop(0)  # the project had not begun
    rate = fmean(recent) if recent else 0.0
    if left <= 0 or sum(1 for count in recent if count) < FEWEST or left / rate > FARTHEST:
        return None
    chance = random.Random(SEED)
    drawn = sorted(_days(chance.choices(recent, k=len(recent)), left, chance) for _ in range(REPLICATES))
    low, high = drawn[int(0.025 * REPLICATES)], drawn[int(0.975 * REPLICATES)]
    latest = today + timedelta(days=ceil(high)) if high <= FARTHEST else None
    return Forecast(today + timedelta(days=ceil(left / rate)), today + timedelta(days=ceil(low)), latest)


def _days(drawn: list[int], left: int, chance: random.Random) -> float:
    pace = fmean(drawn)
    if not pace:
        return float("inf")
    needed = left / pace
    return max(0.0, needed + chance.gauss(0, 1) * pstdev(drawn) * sqrt(needed) / pace)
