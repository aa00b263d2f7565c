"""A stored judgement in a few words, as lists and histories show it."""

from string import ascii_uppercase

from annotation.models import Annotation, Kind
from annotation.questions import STEP_LABELS, step_of


def answer_in_words(annotation: Annotation) -> tuple[str, str]:
    """The words, and the class that gives them a side's color ("a", "b" or "")."""
    body, shown = annotation.body, annotation.shown
    if annotation.kind == Kind.PREFERENCE:
        if body["choice"] == "both_bad":
            return "Both bad", ""
        side = "ab"[shown.index(body["choice"])] if body["choice"] in shown else ""
        step = step_of(side or "tie", body.get("strength", 0))
        return STEP_LABELS[step or 4], side
    if annotation.kind == Kind.RATING:
        return ", ".join(f"{name} {value}" for name, value in body.get("ratings", {}).items()), ""
    if annotation.kind == Kind.RANKING:
        letters = {response: ascii_uppercase[i] for i, response in enumerate(shown)}
        places = ("=".join(letters.get(response, "?") for response in tied) for tied in body.get("ranking", []))
        return " > ".join(places), ""
    words = len(str(body.get("text", "")).split())
    return f"{words:,} words", ""
