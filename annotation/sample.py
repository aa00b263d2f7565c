"""A made-up task of each kind, to show what a project's questions look like before anybody is asked them."""

from __future__ import annotations

from typing import Any

from annotation.models import Kind
from annotation.questions import Questions

PROMPT = [
    {"role": "user", "content": "Which is heavier, a liter of oil or a liter of water?"},
    {"role": "assistant", "content": "Water."},
    {"role": "user", "content": "Why? Explain it to a **ten-year-old**."},
]
ANSWERS = [
    "Pour both into a glass and look: **oil floats** on top. A liter of oil has less in it, about 920 grams.",
    "There are several things to consider when comparing liquids:\n\n- their density\n- their temperature\n\n"
    "In most situations water is heavier than oil.",
    "Because water molecules sit closer together than oil molecules do.",
    "Oil is thicker, so it is heavier.",
]
SHOWN = {Kind.PREFERENCE: 2, Kind.RANKING: 4, Kind.RATING: 1, Kind.DEMONSTRATION: 1}


def leased_task(kind: str, questions: Questions) -> dict[str, Any]:
    """In the shape of `presenting.leased_task`; its id belongs to no task."""
    answers = ANSWERS[: SHOWN[Kind(kind)]]
    return {
        "id": 0,
        "kind": kind,
        "prompt": PROMPT,
        "responses": [{"id": place, "text": text} for place, text in enumerate(answers, start=1)],
        "lease_until": None,
        "draft": None,
        "questions": questions,
    }
