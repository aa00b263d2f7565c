"""Bodies of judgements: checked as the annotator sees them, stored with response ids in place of sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from annotation.cleaning import CleaningError, clean_text, kind_of
from annotation.models import Kind, Project
from annotation.questions import Questions, questions_of

Body = dict[str, Any]

SIDES = ("a", "b")
LONGEST_RATIONALE = 5_000
LONGEST_DEMONSTRATION = 200_000


class BodyError(Exception):
    """A judgement that cannot be stored; `errors` has one sentence a field."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors.items()))
        self.errors = errors


def check(project: Project, body: object, shown: list[int]) -> Body:
    """`body`, given in terms of the sides shown, as it is stored; BodyError names every field that is wrong."""
    if not isinstance(body, dict):
        raise BodyError({"body": f"Must be an object, not {kind_of(body)}."})
    questions = questions_of(project)
    readers = READERS[Kind(project.kind)] | {"flags": _flags, "rationale": _rationale}
    errors = {str(field): "Is not asked here." for field in body if field not in readers}
    stored: Body = {}
    for field, read in readers.items():
        try:
            stored |= read(body, questions, shown)
        except CleaningError as error:
            errors[error.field or field] = error.message
    if errors:
        raise BodyError(errors)
    return stored


def as_shown(kind: str, body: Body, shown: list[int]) -> Body:
    """A stored body back in terms of the sides shown: what this annotator once sent."""
    if kind != Kind.PREFERENCE:
        return dict(body)
    side = {response: SIDES[index] for index, response in enumerate(shown[:2])}
    aspects = {name: side.get(answer, answer) for name, answer in body.get("aspects", {}).items()}
    return dict(body) | {"choice": side.get(body["choice"], body["choice"]), "aspects": aspects}


def _choice(body: Body, questions: Questions, shown: list[int]) -> Body:
    choice = body.get("choice")
    allowed = [*SIDES, *(word for word in ("tie", "both_bad") if questions[word])]
    if choice not in allowed:
        raise CleaningError("choice", f"Must be one of {', '.join(allowed)}.")
    return {"choice": shown[SIDES.index(choice)] if choice in SIDES else choice}


def _strength(body: Body, questions: Questions, shown: list[int]) -> Body:
    strength = body.get("strength", 0)
    if type(strength) is not int or not 0 <= strength <= 3:
        raise CleaningError("strength", "Must be a whole number from 0 to 3.")
    if strength and body.get("choice") in ("tie", "both_bad"):
        raise CleaningError("strength", "Must be 0 when neither response is preferred.")
    return {"strength": strength}


def _aspects(body: Body, questions: Questions, shown: list[int]) -> Body:
    given = _answers(body, "aspects", questions)
    for name, answer in given.items():
        if answer not in (*SIDES, "tie"):
            raise CleaningError(f"aspects.{name}", "Must be a, b or tie.")
    return {
        "aspects": {name: answer if answer == "tie" else shown[SIDES.index(answer)] for name, answer in given.items()}
    }


def _ratings(body: Body, questions: Questions, shown: list[int]) -> Body:
    given = _answers(body, "ratings", questions)
    points = {aspect["name"]: aspect["points"] for aspect in questions["aspects"]}
    for name, answer in given.items():
        if type(answer) is not int or not 1 <= answer <= points[name]:
            raise CleaningError(f"ratings.{name}", f"Must be a whole number from 1 to {points[name]}.")
    return {"ratings": given}


def _answers(body: Body, field: str, questions: Questions) -> dict[str, Any]:
    given = body.get(field) or {}
    if not isinstance(given, dict):
        raise CleaningError(field, f"Must be an object, not {kind_of(given)}.")
    given = {name: answer for name, answer in given.items() if answer is not None}
    names = [aspect["name"] for aspect in questions["aspects"]]
    for name in given:
        if name not in names:
            raise CleaningError(f"{field}.{name}", f"Is not asked here; the aspects are {', '.join(names) or 'none'}.")
    for aspect in questions["aspects"]:
        if aspect["required"] and aspect["name"] not in given:
            raise CleaningError(f"{field}.{aspect['name']}", "Must be answered.")
    return given


def _ranking(body: Body, questions: Questions, shown: list[int]) -> Body:
    places = body.get("ranking")
    if not isinstance(places, list) or not all(isinstance(place, list) and place for place in places):
        raise CleaningError("ranking", "Must be a list of places, best first, each a list of response ids.")
    named = [response for place in places for response in place]
    if any(type(response) is not int for response in named) or sorted(named) != sorted(shown):
        raise CleaningError("ranking", f"Must name each of {', '.join(map(str, sorted(shown)))} once.")
    if not questions["tie"] and len(places) < len(named):
        raise CleaningError("ranking", "Ties are not allowed here; give each response a place of its own.")
    return {"ranking": [sorted(place) for place in places]}


def _text(body: Body, questions: Questions, shown: list[int]) -> Body:
    text = clean_text(body.get("text"), "text", limit=LONGEST_DEMONSTRATION)
    if not text.strip():
        raise CleaningError("text", "Must not be empty.")
    return {"text": text}


def _flags(body: Body, questions: Questions, shown: list[int]) -> Body:
    flags = body.get("flags") or []
    names = [flag["name"] for flag in questions["flags"]]
    if not isinstance(flags, list) or any(flag not in names for flag in flags):
        raise CleaningError("flags", f"Must be a list of {', '.join(names) or 'nothing: no flags are asked here'}.")
    return {"flags": [name for name in names if name in flags]}


def _rationale(body: Body, questions: Questions, shown: list[int]) -> Body:
    rationale = clean_text(body.get("rationale") or "", "rationale", limit=LONGEST_RATIONALE).strip()
    if questions["rationale"] == "required" and not rationale:
        raise CleaningError("rationale", "Must say why.")
    if questions["rationale"] == "off" and rationale:
        raise CleaningError("rationale", "Is not asked here.")
    return {"rationale": rationale}


Reader = Callable[[Body, Questions, list[int]], Body]
READERS: dict[Kind, dict[str, Reader]] = {
    Kind.PREFERENCE: {"choice": _choice, "strength": _strength, "aspects": _aspects},
    Kind.RANKING: {"ranking": _ranking},
    Kind.RATING: {"ratings": _ratings},
    Kind.DEMONSTRATION: {"text": _text},
}
