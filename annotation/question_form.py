"""The questions of a project as rows of a plain HTML form, and back."""

from __future__ import annotations

import re
from typing import Any

from annotation.models import Kind
from annotation.questions import (
    DEFAULT_POINTS,
    MOST_ASPECTS,
    MOST_FLAGS,
    RATIONALE,
    Questions,
    aspect_keys,
    flag_keys,
)

SPARE = 2  # empty rows for what is to be added
WORDS = {"optional": "Optional", "required": "Always required", "off": "Not asked"}


def rows(kind: str, questions: Questions) -> dict[str, Any]:
    """Template context: the aspects and flags with empty rows at the end, and the other settings."""
    aspects, flags = questions.get("aspects", []), questions.get("flags", [])
    keys, letters = aspect_keys({"aspects": aspects}), flag_keys({"flags": flags})
    uses_aspects = kind in (Kind.PREFERENCE, Kind.RATING)
    spare_aspects = min(SPARE, MOST_ASPECTS - len(aspects))
    spare_flags = min(SPARE, MOST_FLAGS - len(flags))
    return {
        "aspects": [
            {"points": DEFAULT_POINTS, **aspect, "key": keys.get(aspect.get("name", ""), "").upper()}
            for aspect in aspects
        ]
        + [{"points": DEFAULT_POINTS, "required": kind == Kind.RATING}] * spare_aspects,
        "flags": [{**flag, "key": letters.get(flag.get("name", ""), "").upper()} for flag in flags]
        + [{}] * spare_flags,
        "uses_aspects": uses_aspects,
        "has_points": kind == Kind.RATING,
        "rationale": questions.get("rationale", "optional"),
        "rationales": [(value, WORDS[value]) for value in RATIONALE],
        "skip_reasons": "\n".join(questions.get("skip_reasons", [])),
        "questions": questions,
    }


def read(kind: str, sent: Any) -> Questions:
    """The questions a form sent, unchecked; rows whose label is empty are gone."""
    questions: Questions = {
        "flags": [{"name": name, "label": label} for _, name, label in _labelled(sent, "flag", MOST_FLAGS)],
        "rationale": sent.get("rationale", "optional"),
        "skip_reasons": [line.strip() for line in sent.get("skip_reasons", "").splitlines() if line.strip()],
        "tie": "tie" in sent,
        "both_bad": "both_bad" in sent,
    }
    aspects = []
    for place, name, label in _labelled(sent, "aspect", MOST_ASPECTS):
        aspect: dict[str, Any] = {"name": name, "label": label, "required": f"{place}-required" in sent}
        if text := sent.get(f"{place}-help", "").strip():
            aspect["help"] = text
        if kind == Kind.RATING:
            points = sent.get(f"{place}-points", "")
            aspect["points"] = int(points) if points.isdigit() else points
        aspects.append(aspect)
    questions["aspects"] = aspects
    return questions


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
