"""Bodies of judgements: checked as the annotator sees them, stored with response ids in place of sides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext

from annotation import highlights
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


@dataclasses.dataclass(frozen=True)
class Shown:
    """What the annotator had on display; the texts are read only when a part of the body speaks of them."""

    ids: list[int]  # response ids in the order shown: a, b, …
    texts: Callable[[], dict[int, str]] = dict
    turns: list[int] = dataclasses.field(default_factory=list)  # places of the assistant's messages in the prompt


def check(project: Project, body: object, shown: Shown) -> Body:
    """`body`, given in terms of the sides shown, as it is stored; BodyError names every field that is wrong."""
    if not isinstance(body, dict):
        raise BodyError({"body": gettext("Must be an object, not %(kind)s.") % {"kind": kind_of(body)}})
    questions = questions_of(project)
    readers = READERS[Kind(project.kind)] | COMMON
    errors = {str(field): gettext("Is not asked here.") for field in body if field not in readers}
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
    body = dict(body)
    if "highlights" in body:
        body["highlights"] = highlights.as_shown(body["highlights"], shown)
    if kind != Kind.PREFERENCE:
        return body
    side = {response: SIDES[index] for index, response in enumerate(shown[:2])}
    aspects = {name: side.get(answer, answer) for name, answer in body.get("aspects", {}).items()}
    return body | {"choice": side.get(body["choice"], body["choice"]), "aspects": aspects}


def _choice(body: Body, questions: Questions, shown: Shown) -> Body:
    choice = body.get("choice")
    allowed = [*SIDES, *(word for word in ("tie", "both_bad") if questions[word])]
    if choice not in allowed:
        raise CleaningError("choice", gettext("Must be one of %(names)s.") % {"names": ", ".join(allowed)})
    return {"choice": shown.ids[SIDES.index(choice)] if choice in SIDES else choice}


def _strength(body: Body, questions: Questions, shown: Shown) -> Body:
    strength = body.get("strength", 0)
    if type(strength) is not int or not 0 <= strength <= 3:
        raise CleaningError("strength", gettext("Must be a whole number from 0 to 3."))
    if strength and body.get("choice") in ("tie", "both_bad"):
        raise CleaningError("strength", gettext("Must be 0 when neither response is preferred."))
    return {"strength": strength}


def _aspects(body: Body, questions: Questions, shown: Shown) -> Body:
    given = _answers(body, "aspects", questions)
    for name, answer in given.items():
        if answer not in (*SIDES, "tie"):
            raise CleaningError(f"aspects.{name}", gettext("Must be a, b or tie."))
    return {
        "aspects": {
            name: answer if answer == "tie" else shown.ids[SIDES.index(answer)] for name, answer in given.items()
        }
    }


def _ratings(body: Body, questions: Questions, shown: Shown) -> Body:
    return {"ratings": _rated(body.get("ratings"), "ratings", questions)}


def _turns(body: Body, questions: Questions, shown: Shown) -> Body:
    """The ratings of the assistant's earlier turns, by their place in the prompt, where each turn is rated."""
    given = body.get("turns") or {}
    places = [str(turn) for turn in shown.turns] if questions["level"] == "turn" else []
    if not isinstance(given, dict):
        raise CleaningError("turns", gettext("Must be an object, not %(kind)s.") % {"kind": kind_of(given)})
    for place in given:
        if place not in places:
            raise CleaningError(
                f"turns.{place}",
                gettext("Is not rated here; the turns are %(names)s.") % {"names": ", ".join(places) or "none"},
            )
    rated = {place: _rated(given.get(place), f"turns.{place}", questions) for place in places}
    rated = {place: ratings for place, ratings in rated.items() if ratings}
    return {"turns": rated} if rated else {}


def _rated(given: Any, field: str, questions: Questions) -> dict[str, int]:
    given = _answers({field: given}, field, questions)
    points = {aspect["name"]: aspect["points"] for aspect in questions["aspects"]}
    for name, answer in given.items():
        if type(answer) is not int or not 1 <= answer <= points[name]:
            raise CleaningError(
                f"{field}.{name}", gettext("Must be a whole number from 1 to %(points)s.") % {"points": points[name]}
            )
    return given


def _answers(body: Body, field: str, questions: Questions) -> dict[str, Any]:
    given = body.get(field) or {}
    if not isinstance(given, dict):
        raise CleaningError(field, gettext("Must be an object, not %(kind)s.") % {"kind": kind_of(given)})
    given = {name: answer for name, answer in given.items() if answer is not None}
    names = [aspect["name"] for aspect in questions["aspects"]]
    for name in given:
        if name not in names:
            raise CleaningError(
                f"{field}.{name}",
                gettext("Is not asked here; the aspects are %(names)s.") % {"names": ", ".join(names) or "none"},
            )
    for aspect in questions["aspects"]:
        if aspect["required"] and aspect["name"] not in given:
            raise CleaningError(f"{field}.{aspect['name']}", gettext("Must be answered."))
    return given


def _ranking(body: Body, questions: Questions, shown: Shown) -> Body:
    places = body.get("ranking")
    if not isinstance(places, list) or not all(isinstance(place, list) and place for place in places):
        raise CleaningError("ranking", gettext("Must be a list of places, best first, each a list of response ids."))
    named = [response for place in places for response in place]
    if any(type(response) is not int for response in named) or sorted(named) != sorted(shown.ids):
        raise CleaningError(
            "ranking", gettext("Must name each of the %(count)s responses once.") % {"count": len(shown.ids)}
        )
    if not questions["tie"] and len(places) < len(named):
        raise CleaningError("ranking", gettext("Ties are not allowed here; give each response a place of its own."))
    return {"ranking": [sorted(place) for place in places]}


def _text(body: Body, questions: Questions, shown: Shown) -> Body:
    text = clean_text(body.get("text"), "text", limit=LONGEST_DEMONSTRATION)
    if not text.strip():
        raise CleaningError("text", gettext("Must not be empty."))
    return {"text": text}


def _flags(body: Body, questions: Questions, shown: Shown) -> Body:
    return {"flags": _chosen(body, "flags", questions, "flags")}


def _reasons(body: Body, questions: Questions, shown: Shown) -> Body:
    reasons = _chosen(body, "reasons", questions, "quick reasons")
    return {"reasons": reasons} if reasons else {}


def _chosen(body: Body, field: str, questions: Questions, called: str) -> list[str]:
    """Those of the names asked that the body lists, in the order asked."""
    given, names = body.get(field) or [], [one["name"] for one in questions[field]]
    if not isinstance(given, list) or any(name not in names for name in given):
        raise CleaningError(
            field,
            gettext("Must be a list of %(names)s.")
            % {"names": ", ".join(names) or f"nothing: no {called} are asked here"},
        )
    return [name for name in names if name in given]


def _rationale(body: Body, questions: Questions, shown: Shown) -> Body:
    rationale = clean_text(body.get("rationale") or "", "rationale", limit=LONGEST_RATIONALE).strip()
    said = rationale or body.get("reasons")
    if questions["rationale"] == "required" and not said:
        raise CleaningError("rationale", gettext("Must say why."))
    if questions["rationale"] == "off" and rationale:
        raise CleaningError("rationale", gettext("Is not asked here."))
    given = body.get("flags")
    flags = given if isinstance(given, list) and not said else []
    for flag in questions["flags"]:
        if flag.get("reason") and flag["name"] in flags:
            raise CleaningError("rationale", gettext('Must say why "%(label)s" is set.') % {"label": flag["label"]})
    return {"rationale": rationale}


def _highlights(body: Body, questions: Questions, shown: Shown) -> Body:
    if not body.get("highlights"):
        return {}
    reasons = [reason["name"] for reason in questions["highlights"]]
    return {"highlights": highlights.check(body["highlights"], reasons, shown.ids, shown.texts())}


def _improved(body: Body, questions: Questions, shown: Shown) -> Body:
    """The winner rewritten; nothing where the text is the winner's own."""
    if not body.get("improved"):
        return {}
    text, choice = clean_text(body["improved"], "improved", limit=LONGEST_DEMONSTRATION), body.get("choice")
    if not questions["improve"]:
        raise CleaningError("improved", gettext("Is not asked here."))
    if choice not in SIDES:
        raise CleaningError("improved", gettext("Must improve the better response, so choose one."))
    if not text.strip():
        raise CleaningError("improved", gettext("Must not be empty."))
    winner = shown.texts().get(shown.ids[SIDES.index(choice)], "")
    return {"improved": text} if text.split() != winner.split() else {}


Reader = Callable[[Body, Questions, Shown], Body]
READERS: dict[Kind, dict[str, Reader]] = {
    Kind.PREFERENCE: {"choice": _choice, "strength": _strength, "aspects": _aspects, "improved": _improved},
    Kind.RANKING: {"ranking": _ranking},
    Kind.RATING: {"ratings": _ratings, "turns": _turns},
    Kind.DEMONSTRATION: {"text": _text},
}
COMMON: dict[str, Reader] = {
    "flags": _flags,
    "reasons": _reasons,
    "highlights": _highlights,
    "rationale": _rationale,
}
