"""A stored judgement in a few words, as lists and histories show it."""

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from django.utils.translation import gettext

from annotation.models import Annotation, Kind
from annotation.questions import STEP_LABELS, step_of


def answer_in_words(annotation: Annotation) -> tuple[str, str]:
    """The words, and the class that gives them a side's color ("a", "b" or "")."""
    return in_words(annotation.kind, annotation.body, annotation.shown)


def in_words(kind: str, body: dict[str, Any], order: Sequence[int]) -> tuple[str, str]:
    """As `answer_in_words`, for any body; A, B, … are the responses in `order`."""
    if kind == Kind.PREFERENCE:
        if body["choice"] == "both_bad":
            return gettext("Both bad"), ""
        side = "ab"[order.index(body["choice"])] if body["choice"] in order else ""
        step = step_of(side or "tie", body.get("strength", 0))
        return gettext(STEP_LABELS[step or 4]), side
    if kind == Kind.RATING:
        return ", ".join(f"{name} {value}" for name, value in body.get("ratings", {}).items()), ""
    if kind == Kind.RANKING:
        letters = {response: ascii_uppercase[i] for i, response in enumerate(order)}
        places = ("=".join(letters.get(response, "?") for response in tied) for tied in body.get("ranking", []))
        return " > ".join(places), ""
    words = len(str(body.get("text", "")).split())
    return gettext("%(number)s words") % {"number": f"{words:,}"}, ""
