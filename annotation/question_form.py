"""The questions of a project as rows of a plain HTML form, and back."""

from __future__ import annotations

import re
from typing import Any

from django.utils.translation import gettext, gettext_noop

from annotation.models import Kind
from annotation.questions import (
    DEFAULT_POINTS,
    HIGHLIGHTED,
    MOST_ASPECTS,
    MOST_FLAGS,
    MOST_REASONS,
    RATIONALE,
    TONES,
    Questions,
    QuestionsError,
    aspect_keys,
    flag_keys,
)

SPARE = 2  # empty rows for what is to be added
TONE_WORDS = {
    "bad": gettext_noop("Red"),
    "warn": gettext_noop("Yellow"),
    "ok": gettext_noop("Green"),
    "pick": gettext_noop("Blue"),
}
WORDS = {
    "optional": gettext_noop("Optional"),
    "required": gettext_noop("Always required"),
    "off": gettext_noop("Not asked"),
}
PLACES = {
    "aspects": gettext_noop("Aspect"),
    "flags": gettext_noop("Flag"),
    "reasons": gettext_noop("Quick reason"),
    "highlights": gettext_noop("Reason for highlights"),
    "skip_reasons": gettext_noop("Reason for skipping"),
    "rationale": gettext_noop("Rationale"),
}
PLACE = re.compile(r"questions\.(\w+)(?:\[(\d+)\])?")


def told(error: QuestionsError) -> list[str]:
    """What is wrong, by the rows of the form: "Aspect 2: …"."""
    said = []
    for field, sentence in error.errors.items():
        found = PLACE.match(field)
        place = gettext(PLACES[found[1]]) if found and found[1] in PLACES else ""
        if found and found[2]:
            place += f" {int(found[2]) + 1}"
        said.append(f"{place}: {sentence}" if place else sentence)
    return said


def rows(kind: str, questions: Questions) -> dict[str, Any]:
    """Template context: the aspects and flags with empty rows at the end, and the other settings."""
    aspects, flags = questions.get("aspects", []), questions.get("flags", [])
    keys, letters = aspect_keys({"aspects": aspects}), flag_keys(kind, {"flags": flags})
    spare = [{"points": DEFAULT_POINTS, "required": kind == Kind.RATING}] * min(SPARE, MOST_ASPECTS - len(aspects))
    return {
        "aspects": [
            {"points": DEFAULT_POINTS, **aspect, "key": keys.get(aspect.get("name", ""), "").upper()}
            for aspect in aspects
        ]
        + spare,
        "flags": [{**flag, "key": letters.get(flag.get("name", ""), "").upper()} for flag in flags]
        + [{}] * min(SPARE, MOST_FLAGS - len(flags)),
        "highlights": _with_spare(questions.get("highlights", [])) if kind in HIGHLIGHTED else [],
        "reasons": _with_spare(questions.get("reasons", [])),
        "tones": [(tone, gettext(TONE_WORDS[tone])) for tone in TONES],
        "uses_aspects": kind in (Kind.PREFERENCE, Kind.RATING),
        "has_points": kind == Kind.RATING,
        "rationale": questions.get("rationale", "optional"),
        "rationales": [(value, gettext(WORDS[value])) for value in RATIONALE],
        "skip_reasons": "\n".join(questions.get("skip_reasons", [])),
        "questions": questions,
    }


def _with_spare(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*given, *([{}] * min(SPARE, MOST_REASONS - len(given)))]


def read(kind: str, sent: Any) -> Questions:
    """The questions a form sent, unchecked; rows whose label is empty are gone."""
    flags = [
        {"name": name, "label": label} | ({"reason": True} if f"{place}-reason" in sent else {})
        for place, name, label in _labelled(sent, "flag", MOST_FLAGS)
    ]
    questions: Questions = {
        "aspects": [_aspect(kind, sent, *row) for row in _labelled(sent, "aspect", MOST_ASPECTS)],
        "flags": flags,
        "rationale": sent.get("rationale", "optional"),
        "reasons": [{"name": name, "label": label} for _, name, label in _labelled(sent, "reason", MOST_REASONS)],
        "highlights": [
            {"name": name, "label": label, "tone": sent.get(f"{place}-tone", "pick")}
            for place, name, label in _labelled(sent, "highlight", MOST_REASONS)
        ],
        "skip_reasons": [line.strip() for line in sent.get("skip_reasons", "").splitlines() if line.strip()],
    }
    questions |= {name: name in sent for name in ("tie", "both_bad", "improve")}
    return questions | {"level": "turn" if "by_turn" in sent else "response"}


def _aspect(kind: str, sent: Any, place: str, name: str, label: str) -> dict[str, Any]:
    aspect: dict[str, Any] = {"name": name, "label": label, "required": f"{place}-required" in sent}
    for part in ("help", "low", "high") if kind == Kind.RATING else ("help",):
        if text := sent.get(f"{place}-{part}", "").strip():
            aspect[part] = text
    if kind == Kind.RATING:
        points = sent.get(f"{place}-points", "")
        if points == "thumbs":
            return aspect | {"answer": "thumbs", "points": 2}
        aspect["points"] = int(points) if points.isdecimal() and len(points) < 3 else points
    return aspect


def consequence(kind: str, questions: Questions) -> str:
    """What the questions mean for the speed of judging, in a few words."""
    required = [aspect["label"] for aspect in questions["aspects"] if aspect["required"]]
    if kind != Kind.PREFERENCE:
        return gettext("%(count)s answers required") % {"count": len(required)} if required else ""
    if questions["rationale"] == "required":
        required.append(gettext("a reason"))
    if not required:
        return gettext("One key submits")
    return gettext("One key does not submit: %(what)s required") % {"what": ", ".join(required)}


def _labelled(sent: Any, what: str, most: int) -> list[tuple[str, str, str]]:
    """(prefix of the row, name, label) of each row with a label; a new row gets a name from its label."""
    found: list[tuple[str, str, str]] = []
    for number in range(most):
        label = str(sent.get(f"{what}-{number}-label", "")).strip()
        if label:
            name = str(sent.get(f"{what}-{number}-name", "")) or _name(label, {row[1] for row in found})
            found.append((f"{what}-{number}", name, label))
    return found


def _name(label: str, taken: set[str]) -> str:
    base = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")[:36] or "question"
    base = base if base[0].isalpha() else f"q_{base}"[:36]
    return next(name for name in (base, *(f"{base}_{n}" for n in range(2, 99))) if name not in taken)
