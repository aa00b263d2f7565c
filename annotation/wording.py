"""A stored judgement in a few words, as lists and histories show it."""

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from django.utils.translation import gettext

from annotation.models import Annotation, Kind
from annotation.questions import STEP_LABELS, Questions, step_of

QUOTED = 120  # characters of a highlight


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


def details(body: dict[str, Any], order: Sequence[int], questions: Questions) -> list[tuple[str, str]]:
    """What a judgement says besides verdict and rationale, as (what, words); A, B, … are the responses in `order`."""
    label = {
        part: {one["name"]: one["label"] for one in questions[part]}
        for part in ("aspects", "flags", "reasons", "highlights")
    }
    letter = {response: ascii_uppercase[place] for place, response in enumerate(order)}
    told = [
        (label["aspects"].get(name, name), letter.get(side) or gettext(STEP_LABELS[4]))
        for name, side in (body.get("aspects") or {}).items()
    ]
    for part, what in (("flags", gettext("Flagged")), ("reasons", gettext("Reasons"))):
        if said := body.get(part):
            told.append((what, ", ".join(label[part].get(name, name) for name in said)))
    for one in body.get("highlights") or []:
        text = one["text"] if len(one["text"]) <= QUOTED else one["text"][:QUOTED] + "…"
        told.append(
            (
                f"{label['highlights'].get(one['reason'], one['reason'])}, {letter.get(one['response'], '?')}",
                f"“{text}”",
            )
        )
    if improved := body.get("improved"):
        told.append((gettext("Improved"), str(improved)))
    return told
