"""Agreement over time as a line with its band, in percent of the plot and in a box of 1000 by 1000."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import date, datetime
from math import ceil, floor
from typing import Any

from django.utils import dateformat
from django.utils.translation import gettext

BOX = 1000
STEP = 0.2
MOST_LABELS = 5


def of(
    parts: list[dict[str, Any]],
    measure: str,
    versions: Iterable[tuple[int, datetime]] = (),
    *,
    bar: float = 0.0,
    beside: dict[str, float] | None = None,
) -> dict[str, Any] | None:
    """The chart of one measure over weeks or days as the report has them; None where fewer than two have it.

    `versions` are the numbers of guidelines and when they came into force, `bar` is what agreement should not fall
    under (0: nothing is said), and `beside` is what the measure is elsewhere by the days that parts begin with.
    """
    known = [(part, part["measures"][measure]) for part in parts if measure in part["measures"]]
    known = [(part, found) for part, found in known if found["value"] is not None]
    if len(known) < 2:
        return None
    days = [date.fromisoformat(part["from"]) for part, _ in known]
    first, span = days[0], max((days[-1] - days[0]).days, 1)
    others = {date.fromisoformat(day): value for day, value in (beside or {}).items()}
    others = {day: others[day] for day in days if day in others}
    ends = [end for _, found in known for end in (found["low"], found["value"]) if end is not None]
    ends += others.values()
    floor_at = max(-1.0, min(0.0, floor(min(ends) / STEP) * STEP))
    steps = round((1 - floor_at) / STEP)

    def up(value: float) -> float:
        return 1 - (min(max(value, floor_at), 1.0) - floor_at) / (1 - floor_at)

    def across(day: date) -> float:
        return (day - first).days / span

    points = [(across(day), part, found) for day, (part, found) in zip(days, known, strict=True)]
    banded = [(x, found) for x, _, found in points if found["low"] is not None]
    top = [_at(x, up(found["high"])) for x, found in banded]
    bottom = [_at(x, up(found["low"])) for x, found in reversed(banded)]
    last = points[-1]
    daily = known[0][0]["days"] == 1
    every = max(1, ceil((len(points) - 1) / (MOST_LABELS - 1)))
    return {
        "title": gettext("Agreement by day") if daily else gettext("Agreement by week"),
        "since": gettext("Day from") if daily else gettext("Week from"),
        "line": "M" + "L".join(_at(x, up(found["value"])) for x, _, found in points),
        "band": "M" + "L".join([*top, *bottom]) + "Z" if len(banded) > 1 else "",
        "beside": "M" + "L".join(_at(across(day), up(value)) for day, value in others.items()) if others else "",
        "bar": {"y": _percent(up(bar)), "text": f"{bar:g}", "below": bar > 0.9} if bar else None,
        "ticks": [_tick(floor_at + STEP * i, up(floor_at + STEP * i)) for i in range(steps + 1)],
        "labels": _labels(points[::every]),
        "dot": {"x": _percent(last[0]), "y": _percent(up(last[2]["value"]))},
        "hits": _hits(points),
        "rows": [
            (_day(part["from"]), part["tasks"], found, others.get(day))
            for day, (_, part, found) in zip(days, points, strict=True)
        ],
        "versions": _versions(versions, first, span),
        "from": known[0][1]["value"],
        "to": last[2]["value"],
    }


def _versions(versions: Iterable[tuple[int, datetime]], first: date, span: int) -> list[dict[str, Any]]:
    """Where new guidelines came into force, inside of the chart."""
    places = [(number, (when.date() - first).days / span) for number, when in versions]
    inside = [(number, place) for number, place in places if 0 < place <= 1][-2:]
    return [
        {
            "x": _percent(place),
            "text": gettext("guidelines v%(number)s") % {"number": number},
            "end": place > 0.6,
            "y": 10 + 14 * row,
        }
        for row, (number, place) in enumerate(inside)  # one below the other, for they may be close
    ]


def _labels(points: list[tuple[float, Any, Any]]) -> list[dict[str, Any]]:
    return [{"x": _percent(x), "text": _day(part["from"]), "first": x == 0, "last": x > 0.95} for x, part, _ in points]


def _hits(points: list[tuple[float, Any, Any]]) -> list[dict[str, str]]:
    places = [x for x, _, _ in points]
    edges = [0.0, *[(one + other) / 2 for one, other in itertools.pairwise(places)], 1.0]
    hits = []
    for i, (_, part, found) in enumerate(points):
        words = f"{_day(part['from'])}: {found['value']:.2f}"
        if found["low"] is not None:
            words += ", " + gettext("%(low).2f to %(high).2f") % found
        hits.append({"x": _percent(edges[i]), "width": _percent(edges[i + 1] - edges[i]), "title": words})
    return hits


def _tick(value: float, place: float) -> dict[str, str]:
    return {"y": _percent(place), "text": f"{value + 0.0:.1f}"}


def _day(text: str) -> str:
    day = date.fromisoformat(text)
    return dateformat.format(day, "j M")


def _at(x: float, y: float) -> str:
    return f"{x * BOX:.0f} {y * BOX:.0f}"


def _percent(share: float) -> str:
    return f"{share * 100:.2f}%"
