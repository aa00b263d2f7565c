"""Highlights: a span of a response with a reason, counted in code points of the text as sent."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

from django.utils.translation import gettext

from annotation.cleaning import CleaningError

Highlight = dict[str, Any]

MOST_HIGHLIGHTS = 50
NEEDED = {"start", "end", "reason"}
KNOWN = NEEDED | {"side", "response", "text"}


def check(value: Any, reasons: list[str], shown: list[int], texts: dict[int, str]) -> list[Highlight]:
    """The spans as they are stored, in reading order: with a response id in place of the side, and the words."""
    if not isinstance(value, list) or len(value) > MOST_HIGHLIGHTS:
        raise CleaningError(
            "highlights",
            gettext("Must be a list of at most %(most_highlights)s spans.") % {"most_highlights": MOST_HIGHLIGHTS},
        )
    if not reasons:
        raise CleaningError("highlights", gettext("Is not asked here."))
    found = [_span(one, f"highlights[{index}]", reasons, shown, texts) for index, one in enumerate(value)]
    distinct = {(one["response"], one["start"], one["end"], one["reason"]): one for one in found}
    return [distinct[key] for key in sorted(distinct, key=lambda key: (shown.index(key[0]), *key[1:]))]


def _span(given: Any, place: str, reasons: list[str], shown: list[int], texts: dict[int, str]) -> Highlight:
    if not isinstance(given, dict) or not NEEDED <= given.keys() <= KNOWN:
        raise CleaningError(place, gettext("Must be an object with side, start, end and reason."))
    if given["reason"] not in reasons:
        raise CleaningError(f"{place}.reason", gettext("Must be one of %(names)s.") % {"names": ", ".join(reasons)})
    response = _response(given, place, shown)
    text, start, end = texts[response], given["start"], given["end"]
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        raise CleaningError(
            place,
            gettext("Must have 0 ≤ start < end ≤ %(length)s, in characters of the response.") % {"length": len(text)},
        )
    if not text[start:end].strip():
        raise CleaningError(place, gettext("Must hold more than spaces."))
    if given.get("text", text[start:end]) != text[start:end]:
        raise CleaningError(f"{place}.text", gettext("Is not what the response says there."))
    return {"response": response, "start": start, "end": end, "reason": given["reason"], "text": text[start:end]}


def _response(given: dict[str, Any], place: str, shown: list[int]) -> int:
    """The response meant: by its side, by its id, or the first one."""
    if "response" in given:
        if type(given["response"]) is not int or given["response"] not in shown:
            raise CleaningError(f"{place}.response", gettext("Must be the id of a response of this task."))
        return int(given["response"])
    side, sides = given.get("side", "a"), ascii_lowercase[: len(shown)]
    if not isinstance(side, str) or len(side) != 1 or side not in sides:
        raise CleaningError(f"{place}.side", gettext("Must be one of %(names)s.") % {"names": ", ".join(sides)})
    return shown[sides.index(side)]


def as_shown(stored: list[Highlight], shown: list[int]) -> list[Highlight]:
    """Stored spans in terms of the sides shown, as they were sent."""
    side = dict(zip(shown, ascii_lowercase, strict=False))
    return [
        {"side": side[one["response"]], "start": one["start"], "end": one["end"], "reason": one["reason"]}
        for one in stored
        if one["response"] in side
    ]
