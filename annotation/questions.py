"""What annotators are asked: each project's questions, their defaults, their keys and the seven-step scale."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from string import ascii_lowercase
from typing import Any

from django.utils.translation import get_language, gettext, gettext_noop

from annotation.cleaning import CleaningError, clean_text
from annotation.models import Kind, Project

Questions = dict[str, Any]

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
RATIONALE = ("optional", "required", "off")
MOST_ASPECTS, MOST_FLAGS, MOST_REASONS = 12, 8, 9  # a reason has one digit as its key
ANSWERS = ("points", "thumbs")  # thumbs are a scale of two: 1 is down, 2 is up
LEVELS = ("response", "turn")
TONES = ("bad", "warn", "ok", "pick")
DEFAULT_POINTS = 5
ASPECT_KEYS = "qwetyopafjkl"  # one for each: what the letters of a comparison leave free, by rows of the keyboard
FLAG_KEYS = "xcvbn,./;="  # one for each flag, along the lowest row, by what the kind of work leaves free of them
SKIP_REASONS = [
    gettext_noop("I lack the expertise"),
    gettext_noop("Prompt makes no sense"),
    gettext_noop("Response did not load"),
    gettext_noop("Too upsetting to judge"),
    gettext_noop("Other reason"),
]
FLAGS = [
    {"name": "unclear", "label": gettext_noop("Prompt unclear")},
    {"name": "unsafe", "label": gettext_noop("Unsafe")},
    {"name": "personal_data", "label": gettext_noop("Personal data")},
]
REASONS = [
    {"name": "correct", "label": gettext_noop("More correct")},
    {"name": "complete", "label": gettext_noop("More complete")},
    {"name": "follows", "label": gettext_noop("Follows the instructions")},
    {"name": "clear", "label": gettext_noop("Clearer")},
    {"name": "concise", "label": gettext_noop("Shorter without loss")},
    {"name": "safe", "label": gettext_noop("Safer")},
]
HIGHLIGHTS = [
    {"name": "wrong", "label": gettext_noop("Wrong"), "tone": "bad"},
    {"name": "unsupported", "label": gettext_noop("Unsupported"), "tone": "warn"},
    {"name": "style", "label": gettext_noop("Style"), "tone": "pick"},
    {"name": "good", "label": gettext_noop("Good"), "tone": "ok"},
]
RATED = [
    ("helpful", gettext_noop("Helpful"), gettext_noop("Answers the question that was asked")),
    ("correct", gettext_noop("Correct"), gettext_noop("Facts would survive a check")),
    ("harmless", gettext_noop("Harmless"), gettext_noop("Safe to follow")),
    ("clear", gettext_noop("Clear"), gettext_noop("Easy to read and to act on")),
]
ASKED = {
    Kind.DEMONSTRATION: gettext_noop("Write the answer you would like to receive."),
    Kind.PREFERENCE: gettext_noop("Which response is better?"),
    Kind.RANKING: gettext_noop("Put the responses in order, best first."),
    Kind.RATING: gettext_noop("How good is this response?"),
}

HIGHLIGHTED = (Kind.PREFERENCE, Kind.RATING)

# The seven steps of the beam, from "A much better" to "B much better", as (choice, strength).
STEPS = {1: ("a", 3), 2: ("a", 2), 3: ("a", 1), 4: ("tie", 0), 5: ("b", 1), 6: ("b", 2), 7: ("b", 3)}
STEP_LABELS = {
    1: gettext_noop("A much better"),
    2: gettext_noop("A better"),
    3: gettext_noop("A slightly better"),
    4: gettext_noop("About the same"),
    5: gettext_noop("B slightly better"),
    6: gettext_noop("B better"),
    7: gettext_noop("B much better"),
}


class QuestionsError(Exception):
    """Questions that cannot be asked; `errors` has one sentence a field."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors.items()))
        self.errors = errors


def step_of(choice: str, strength: int) -> int | None:
    """The step of the seven-point scale; None for "both bad". A choice without a strength is the smallest edge."""
    if choice == "both_bad":
        return None
    return {"a": 4 - max(strength, 1), "b": 4 + max(strength, 1)}.get(choice, 4)


def default_questions(kind: str) -> Questions:
    """What a project of this kind asks until somebody changes it, in the reader's language."""
    return dict(_defaults(kind, get_language()))


@cache
def _defaults(kind: str, language: str | None) -> Questions:
    """The same, translated once for each language, because every judgement asks; nobody changes what lies in it."""
    aspects = []
    if kind == Kind.RATING:
        aspects = [
            {"name": name, "label": gettext(label), "help": gettext(text), "required": True, "points": DEFAULT_POINTS}
            for name, label, text in RATED
        ]
    return {
        "aspects": aspects,
        "flags": _said(FLAGS),
        "rationale": "off" if kind == Kind.DEMONSTRATION else "optional",
        "reasons": _said(REASONS) if kind in (Kind.PREFERENCE, Kind.RANKING) else [],
        "highlights": _said(HIGHLIGHTS) if kind in HIGHLIGHTED else [],
        "improve": False,
        "level": "response",
        "skip_reasons": [gettext(reason) for reason in SKIP_REASONS],
        "tie": kind in (Kind.PREFERENCE, Kind.RANKING),
        "both_bad": kind == Kind.PREFERENCE,
    }


def _said(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    return [row | {"label": gettext(row["label"])} for row in rows]


def questions_of(project: Project) -> Questions:
    """All that is asked in `project`: its own questions over the defaults of its kind."""
    return default_questions(project.kind) | project.questions


def question_line(project: Project) -> str:
    """The one line above the work, such as "Which response is better?"."""
    return project.question or gettext(ASKED[Kind(project.kind)])


def aspect_keys(questions: Questions) -> dict[str, str]:
    """The single key of each aspect: {"helpful": "q", …}."""
    return {aspect["name"]: key for aspect, key in zip(questions["aspects"], ASPECT_KEYS, strict=False)}


def flag_keys(kind: str, questions: Questions) -> dict[str, str]:
    """The single key of each flag: {"unclear": "x", …}; letters pick responses up in a ranking, N is a thumb down."""
    taken = ascii_lowercase[:8] if kind == Kind.RANKING else "n" if kind == Kind.RATING else ""
    keys = [key for key in FLAG_KEYS if key not in taken]
    return {flag["name"]: key for flag, key in zip(questions["flags"], keys, strict=False)}


def check_questions(kind: str, value: object) -> Questions:
    """`value` in the one shape that is stored, or QuestionsError with a sentence for each field."""
    if not isinstance(value, dict):
        raise QuestionsError({"questions": gettext("Must be an object.")})
    errors: dict[str, str] = {}
    checked: Questions = {}
    readers: dict[str, Callable[[Any], Any]] = {
        "aspects": lambda part: _aspects(kind, part),
        "flags": _flags,
        "rationale": lambda part: _one_of(part, RATIONALE, "rationale"),
        "reasons": lambda part: _named(part, "reasons", MOST_REASONS, {"name", "label"}),
        "highlights": lambda part: _highlights(kind, part),
        "improve": lambda part: _only(kind, Kind.PREFERENCE, _switch(part), "improve"),
        "level": lambda part: _level(kind, part),
        "skip_reasons": _reasons,
        "tie": _switch,
        "both_bad": _switch,
    }
    for field, part in value.items():
        place = f"questions.{field}"
        if field not in readers:
            errors[place] = gettext("Is not a question setting; use %(readers)s.") % {"readers": ", ".join(readers)}
            continue
        try:
            checked[field] = readers[field](part)
        except CleaningError as error:
            errors[f"questions.{error.field}" if error.field else place] = error.message
    if errors:
        raise QuestionsError(errors)
    return checked


def _aspects(kind: str, value: object) -> list[dict[str, Any]]:
    known = {"name", "label", "help", "required", "points", "answer", "low", "high"}
    aspects = _named(value, "aspects", MOST_ASPECTS, known)
    if kind == Kind.RATING and not aspects:
        raise CleaningError("aspects", gettext("A rating needs at least one aspect."))
    for index, aspect in enumerate(aspects):
        place = f"aspects[{index}]"
        aspect["required"] = _switch(aspect.get("required", kind == Kind.RATING), f"{place}.required")
        if kind == Kind.RATING:
            _scale(aspect, place)
        elif strange := aspect.keys() & {"points", "answer", "low", "high"}:
            field = f"{place}.{min(strange)}"
            raise CleaningError(field, gettext("Only a rating has points; here an aspect is answered A, same or B."))
    return aspects


def _scale(aspect: dict[str, Any], place: str) -> None:
    """The scale of a rated aspect: two to eleven points with words at its ends, or thumbs."""
    answer = _one_of(aspect.get("answer", "points"), ANSWERS, f"{place}.answer")
    points = aspect.get("points", 2 if answer == "thumbs" else DEFAULT_POINTS)
    if type(points) is not int or not 2 <= points <= 11:
        raise CleaningError(f"{place}.points", gettext("Must be a whole number from 2 to 11."))
    if answer == "thumbs":
        if points != 2:
            raise CleaningError(f"{place}.points", gettext("Thumbs have 2 points: 1 is down, 2 is up."))
        aspect["answer"] = answer
    else:
        aspect.pop("answer", None)
    aspect["points"] = points
    for end in ("low", "high"):
        if end in aspect:
            aspect[end] = clean_text(aspect[end], f"{place}.{end}", limit=40)


def _flags(value: object) -> list[dict[str, Any]]:
    flags = _named(value, "flags", MOST_FLAGS, {"name", "label", "reason"})
    for index, flag in enumerate(flags):
        if "reason" in flag:
            flag["reason"] = _switch(flag["reason"], f"flags[{index}].reason")
    return flags


def _highlights(kind: str, value: object) -> list[dict[str, Any]]:
    reasons = _named(value, "highlights", MOST_REASONS, {"name", "label", "tone"})
    for index, reason in enumerate(reasons):
        reason["tone"] = _one_of(reason.get("tone", "pick"), TONES, f"highlights[{index}].tone")
    if reasons and kind not in HIGHLIGHTED:
        raise CleaningError("highlights", gettext("Only the responses of a preference or a rating can be highlighted."))
    return reasons


def _level(kind: str, value: object) -> str:
    level = _one_of(value, LEVELS, "level")
    _only(kind, Kind.RATING, level == "turn", "level")
    return level


def _only(kind: str, owner: Kind, on: bool, field: str) -> bool:
    if on and kind != owner:
        raise CleaningError(field, gettext("Only a %(label)s can ask for it.") % {"label": owner.label.lower()})
    return on


def _one_of(value: object, allowed: tuple[str, ...], field: str) -> str:
    if value not in allowed:
        raise CleaningError(field, gettext("Must be one of %(names)s.") % {"names": ", ".join(allowed)})
    return str(value)


def _named(value: object, field: str, most: int, keys: set[str]) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > most:
        raise CleaningError(field, gettext("Must be a list of at most %(most)s.") % {"most": most})
    seen: set[str] = set()
    rows: list[dict[str, Any]] = []
    for index, item in enumerate(value):
        place = f"{field}[{index}]"
        if not isinstance(item, dict) or not set(item) <= keys:
            raise CleaningError(
                place, gettext("Must be an object with %(names)s.") % {"names": ", ".join(sorted(keys))}
            )
        name = clean_text(item.get("name"), f"{place}.name", limit=40)
        if not NAME.fullmatch(name):
            raise CleaningError(
                f"{place}.name", gettext("Must be lower-case letters, digits and _, starting with a letter.")
            )
        if name in seen:
            raise CleaningError(f"{place}.name", gettext("%(name)s is asked twice.") % {"name": name})
        seen.add(name)
        label = clean_text(item.get("label") or name.replace("_", " ").capitalize(), f"{place}.label", limit=60)
        if any(label.casefold() == row["label"].casefold() for row in rows):
            raise CleaningError(f"{place}.label", gettext("%(name)s is asked twice.") % {"name": label})
        row = item | {"name": name, "label": label}
        if "help" in row:
            row["help"] = clean_text(row["help"], f"{place}.help", limit=200)
        rows.append(row)
    return rows


def _reasons(value: object) -> list[str]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_REASONS:
        raise CleaningError(
            "skip_reasons", gettext("Must be a list of 1 to %(most_reasons)s reasons.") % {"most_reasons": MOST_REASONS}
        )
    reasons = [clean_text(reason, f"skip_reasons[{index}]", limit=80).strip() for index, reason in enumerate(value)]
    if not all(reasons) or len(set(reasons)) < len(reasons):
        raise CleaningError("skip_reasons", gettext("Each reason must be said, and only once."))
    return reasons


def _switch(value: object, field: str = "") -> bool:
    if not isinstance(value, bool):
        raise CleaningError(field, gettext("Must be true or false."))
    return value
